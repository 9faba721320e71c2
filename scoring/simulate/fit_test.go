package simulate

import (
	"errors"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// TestFit: what a generator was told is found again in what it made, and a swing that is not there is not.
func TestFit(t *testing.T) {
	for _, want := range []Generator{
		{Rate: 0.05},
		{Rate: 0.05, Daily: 0.6, Peak: 15 * time.Hour},
		{Rate: 0.05, Daily: 0.3, Peak: 2 * time.Hour, Burst: 4},
	} {
		want.Shapes, want.Until, want.Seed = someShapes(), 30*24*time.Hour, 8
		var jobs []Job
		for j, err := range want.Workload() {
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, j)
		}
		got, err := Fit(jobs)
		if err != nil {
			t.Fatal(err)
		}
		// The standard deviation of an amplitude is √(2·burst/n): a fiftieth at most here.
		if math.Abs(got.Rate/want.Rate-1) > 0.05 || math.Abs(got.Daily-want.Daily) > 0.06 || math.Abs(got.Burst/max(1, want.Burst)-1) > 0.05 {
			t.Errorf("rate %v, daily %v, burst %v; want %v, %v, %v", got.Rate, got.Daily, got.Burst, want.Rate, want.Daily, want.Burst)
		}
		if off := math.Abs((got.Peak - want.Peak).Hours()); want.Daily > 0 && off > 1 {
			t.Errorf("peak at %v, want %v", got.Peak, want.Peak)
		}
		if len(got.Shapes) != len(jobs) {
			t.Errorf("%d shapes of %d jobs", len(got.Shapes), len(jobs))
		}
	}
	for what, jobs := range map[string][]Job{"none": nil, "one": {{}}, "one instant": {{}, {}}} {
		if _, err := Fit(jobs); err == nil {
			t.Errorf("%s passes", what)
		}
	}
	if _, err := Fit([]Job{{Arrival: 2}, {Arrival: 1}}); !errors.Is(err, ErrOrder) {
		t.Errorf("a clock that goes backwards: %v", err)
	}
}

// TestMix: shares, sizes and lifetimes are those asked for.
func TestMix(t *testing.T) {
	jobs, err := Mix(SmallMediumLarge(), 10_000, 3)
	if err != nil {
		t.Fatal(err)
	}
	count, logs := map[string]float64{}, map[string]float64{}
	for _, j := range jobs {
		count[j.Class]++
		logs[j.Class] += math.Log(j.Duration.Minutes())
		if j.Requests.Memory != j.Requests.CPU*(2<<30) {
			t.Fatalf("%+v", j)
		}
	}
	for _, k := range SmallMediumLarge() {
		median := math.Exp(logs[k.Class] / count[k.Class])
		if count[k.Class] != float64(int(10_000*k.Share)) || math.Abs(median/k.Median.Minutes()-1) > 0.15 {
			t.Errorf("%s: %v jobs with a median of %v minutes, want a share of %v and %v", k.Class, count[k.Class], median, k.Share, k.Median)
		}
	}
	for _, bad := range []Kind{{}, {Cores: []float64{1}, Share: 2}, {Cores: []float64{math.NaN()}, Share: 1}, {Cores: []float64{1}, Share: 1, Sigma: math.NaN()}} {
		if _, err := Mix([]Kind{bad}, 10, 1); err == nil {
			t.Errorf("%+v passes", bad)
		}
	}
}

// TestKubeEnergyMix: sizes and lifetimes of KubeEnergyScheduler's generator, to their bounds and not beyond.
func TestKubeEnergyMix(t *testing.T) {
	const n = 40_000
	jobs := KubeEnergyMix(n, 3)
	if diff := cmp.Diff(jobs, KubeEnergyMix(n, 3)); diff != "" {
		t.Error("the same seed gives other shapes")
	}
	type span struct{ least, most [3]float64 }
	got, count := map[string]span{}, map[string]int{}
	for _, j := range jobs {
		v := [3]float64{j.Requests.CPU, j.Requests.Memory / (1 << 30), j.Duration.Seconds()}
		s, ok := got[j.Class]
		if !ok {
			s = span{v, v}
		}
		for i := range v {
			s.least[i], s.most[i] = min(s.least[i], v[i]), max(s.most[i], v[i])
			if v[i] != math.Trunc(v[i]) {
				t.Fatalf("%+v", j)
			}
		}
		got[j.Class] = s
		count[j.Class]++
	}
	want := map[string]span{
		"tiny":         {[3]float64{1, 1, 30}, [3]float64{1, 1, 59}},
		"batch":        {[3]float64{4, 4, 300}, [3]float64{8, 16, 600}},
		"memory-heavy": {[3]float64{2, 16, 120}, [3]float64{2, 32, 180}},
		"periodic":     {[3]float64{8, 8, 200}, [3]float64{16, 12, 400}},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(span{})); diff != "" {
		t.Error(diff)
	}
	for class, k := range count {
		if k < n/4-500 || k > n/4+500 { // more than five standard deviations
			t.Errorf("%d of %d jobs are %s", k, n, class)
		}
	}
	if len(KubeEnergyMix(-1, 0)) != 0 {
		t.Error("fewer than no jobs")
	}
}
