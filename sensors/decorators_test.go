package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/sensors"
)

func TestLimitSpacesTheReadsOfANode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var began []time.Duration
		start := time.Now()
		s := sensors.Limit(sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) {
			began = append(began, time.Since(start))
			return watts(1), nil
		}), time.Second)
		for range 3 {
			if _, err := s.Read(t.Context(), "a"); err != nil {
				t.Error(err)
			}
		}
		if want := []time.Duration{0, time.Second, 2 * time.Second}; !slices.Equal(began, want) {
			t.Errorf("reads began at %v, want %v", began, want)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		now := time.Now()
		_, err := s.Read(ctx, "a")
		if !errors.Is(err, sensors.ErrThrottled) || time.Since(now) != 0 {
			t.Errorf("a read whose turn comes after its deadline: %v after %v, want ErrThrottled at once", err, time.Since(now))
		}
		if after, ok := errors.AsType[interface {
			error
			RetryAfter() time.Duration
		}](err); !ok || after.RetryAfter() != time.Second {
			t.Errorf("the error %v does not say when to come back", err)
		}
		if _, err := s.Read(ctx, "b"); err != nil {
			t.Errorf("another node: %v, want no limit", err)
		}
	})
}

func TestBreakerLeavesAFailingNodeAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads, fails := 0, error(sensors.ErrUnreachable)
		b := sensors.NewBreaker(sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
			reads++
			if fails == nil {
				return watts(1), nil
			}
			return nil, &sensors.Error{Source: "bmc", Node: node, Err: fails}
		}), sensors.BreakerOptions{Failures: 3, Pause: 10 * time.Second, MaxPause: 40 * time.Second})
		reg := prometheus.NewPedanticRegistry()
		if err := b.Register(reg); err != nil {
			t.Fatal(err)
		}
		open := func() (n int) {
			families, err := reg.Gather()
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range families {
				n += len(f.Metric)
			}
			return n
		}
		poll := func(seconds int) int { // one read a second
			before := reads
			for range seconds {
				if _, err := b.Read(t.Context(), "a"); (fails == nil) != (err == nil) || fails != nil && !errors.Is(err, fails) {
					t.Errorf("error %v, want what the device says: %v", err, fails)
				}
				time.Sleep(time.Second)
			}
			return reads - before
		}
		if n := poll(10); n != 3 || open() != 1 {
			t.Errorf("%d reads of a failing node in 10 s and %d open, want 3 and 1", n, open())
		}
		if n := poll(100); n > 5 { // pauses of 10, 20, 40, 40 s
			t.Errorf("%d trials in 100 s, want at most 5", n)
		}
		fails = nil
		time.Sleep(time.Minute)
		if n := poll(10); n != 10 || open() != 0 {
			t.Errorf("%d of 10 reads of a node that is well again, %d open", n, open())
		}
		fails = sensors.ErrUnauthorized
		if n := poll(200); n != 2 {
			t.Errorf("%d tries with wrong credentials in 200 s, want 2: more could lock the account", n)
		}
	})
}

func TestPlausible(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for name, c := range map[string]struct {
		check  sensors.Check
		values []float64 // one in ten seconds
		good   []bool
	}{
		"range":                      {sensors.Check{Min: new(5.0), Max: new(45.0)}, []float64{20, 4, 46, 45}, []bool{true, false, false, true}},
		"a spike":                    {sensors.Check{MaxPerSecond: 1}, []float64{20, 25, 60, 26}, []bool{true, true, false, true}},
		"a step that stays":          {sensors.Check{MaxPerSecond: 1}, []float64{20, 60, 60.5, 61, 61.5}, []bool{true, false, false, true, true}},
		"stuck":                      {sensors.Check{StuckAfter: 15 * time.Second}, []float64{20, 20, 20, 20, 21}, []bool{true, true, false, false, true}},
		"no check":                   {sensors.Check{}, []float64{20, 79, -39, 20}, []bool{true, true, true, true}},
		"impossible without a check": {sensors.Check{}, []float64{20, 300}, []bool{true, false}},
	} {
		i := 0
		s := sensors.Plausible(sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) {
			return []sensors.Reading{{Kind: sensors.InletTemp, Value: c.values[i], At: start.Add(time.Duration(i) * 10 * time.Second), Source: "x"},
				{Kind: sensors.Power, Value: 1, At: start, Source: "x"}}, nil
		}), map[sensors.Kind]sensors.Check{sensors.InletTemp: c.check})
		for i = range c.values {
			got, err := s.Read(t.Context(), "n")
			if good := err == nil; good != c.good[i] || len(got) != map[bool]int{true: 2, false: 1}[good] {
				t.Errorf("%s: value %d, %v: %v, %v, want it believed: %v", name, i, c.values[i], got, err, c.good[i])
			}
			if err != nil && !errors.Is(err, sensors.ErrImplausible) {
				t.Errorf("%s: error %v, want ErrImplausible", name, err)
			}
		}
	}
}

func TestDerive(t *testing.T) {
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	i := 0
	in := []map[sensors.Kind]float64{
		{sensors.Energy: 1000, sensors.CPUTime: 50, sensors.InletTemp: 22, sensors.ExhaustTemp: 35, sensors.CPUEnergy: 5, sensors.CPUPower: 7},
		{sensors.Energy: 4000, sensors.CPUTime: 70, sensors.InletTemp: 22, sensors.ExhaustTemp: 37, sensors.CPUEnergy: 9, sensors.CPUPower: 8},
		{sensors.Energy: 10, sensors.CPUTime: 200, sensors.PressureInlet: 12, sensors.PressureExhaust: 4}, // the energy counter was reset
	}
	want := []map[sensors.Kind]float64{
		{sensors.DeltaT: 13},
		{sensors.DeltaT: 15, sensors.Power: 300, sensors.CPUUsed: 2, sensors.CPUUtilization: 0.25},
		{sensors.PressureDelta: 8, sensors.CPUUsed: 13, sensors.CPUUtilization: 1}, // never above 1
	}
	s := sensors.Derive(sensors.SourceFunc(func(context.Context, string) (rs []sensors.Reading, _ error) {
		for k, v := range in[i] {
			rs = append(rs, sensors.Reading{Kind: k, Value: v, At: start.Add(time.Duration(i) * 10 * time.Second), Source: "x"})
		}
		return rs, nil
	}), sensors.DeriveOptions{Cores: func(string) float64 { return 8 }})
	for i = range in {
		rs, err := s.Read(t.Context(), "n")
		got := map[sensors.Kind]float64{}
		for _, r := range rs {
			if _, given := in[i][r.Kind]; !given {
				got[r.Kind] = r.Value
				if r.Source != "x|derived" {
					t.Errorf("%s has the source %q", r.Kind, r.Source)
				}
			} else if r.Value != in[i][r.Kind] {
				t.Errorf("%s was %v and is %v: what is measured goes before what is derived", r.Kind, in[i][r.Kind], r.Value)
			}
		}
		if d := cmp.Diff(want[i], got, cmpopts.EquateApprox(1e-12, 0)); d != "" || err != nil {
			t.Errorf("read %d: %v (-want +got):\n%s", i, err, d)
		}
	}
}

// A bad reading becomes an error with its reason, and the others stay.
func ExamplePlausible() {
	source := sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) {
		return []sensors.Reading{
			{Kind: sensors.InletTemp, Value: 78, At: time.Now(), Source: "bmc"},
			{Kind: sensors.Power, Value: 240, At: time.Now(), Source: "bmc"},
		}, nil
	})
	checked := sensors.Plausible(source, map[sensors.Kind]sensors.Check{sensors.InletTemp: {Min: new(5.0), Max: new(45.0)}})
	readings, err := checked.Read(context.Background(), "worker-1")
	fmt.Println(readings[0].Kind, len(readings))
	fmt.Println(err)
	// Output:
	// power_watts 1
	// bmc: node "worker-1": inlet_temp_celsius: implausible reading: 78 is more than 45
}
