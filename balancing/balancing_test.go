package balancing_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/balancingtest"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

var approx = cmpopts.EquateApprox(0, 1e-9)

func server(name string, cores, use float64, watts ...power.Watts) *scoring.Node {
	c, err := power.EvenPiecewise(watts...)
	if err != nil {
		panic(err)
	}
	return &scoring.Node{Name: name, Capacity: power.Capacity{Cores: cores}, State: power.State{Node: name, Utilization: use}, Predictor: c}
}

func on(nodes ...*scoring.Node) []balancing.Endpoint {
	var out []balancing.Endpoint
	for i, n := range nodes {
		out = append(out, balancing.Endpoint{ID: fmt.Sprint("e", i), Node: n})
	}
	return out
}

func weigh(t testing.TB, w balancing.Weigher, services ...balancing.Service) [][]float64 {
	t.Helper()
	out, err := w.Weigh(t.Context(), services)
	if err != nil {
		t.Fatal(err)
	}
	if err := balancingtest.Valid(services, out); err != nil {
		t.Fatal(err)
	}
	values := make([][]float64, len(out))
	for i, row := range out {
		for _, s := range row {
			values[i] = append(values[i], s.Value)
		}
	}
	return values
}

// WAO's documented example: added watts of 200, 250 and 300 weigh 100, 80 and 67 of 100.
func TestInverseIsWAOsFormula(t *testing.T) {
	s := balancing.Service{Name: "s", CPU: 1, Endpoints: on(
		server("a", 10, 0, 100, 2100), server("b", 10, 0, 100, 2600), server("c", 10, 0, 100, 3100))}
	got := weigh(t, balancing.Inverse{}, s)[0]
	want := []float64{1, 201. / 251, 201. / 301}
	sum := want[0] + want[1] + want[2]
	for i := range want {
		want[i] /= sum
	}
	if d := cmp.Diff(want, got, approx); d != "" {
		t.Error(d)
	}
	// Where WAO's integers tie, floats do not: 0.03 W and 0.7 W.
	s.CPU = 0.1
	s.Endpoints = on(server("a", 100, 0, 100, 130), server("b", 100, 0, 100, 800))
	if got := weigh(t, balancing.Inverse{}, s)[0]; !(got[0] > got[1]) {
		t.Errorf("the cheap server gets %v, the dear one %v", got[0], got[1])
	}
}

func TestInverseDoesNotPreferAFullServer(t *testing.T) {
	s := balancing.Service{Name: "s", CPU: 1, Endpoints: on(server("full", 10, 1, 100, 300), server("free", 10, 0, 100, 290))}
	if got := weigh(t, balancing.Inverse{}, s)[0]; got[0] > got[1] {
		t.Errorf("the full server gets %v, the free one %v", got[0], got[1])
	}
}

func TestOptimalFillsTheCheapestFirst(t *testing.T) {
	cheap, dear := server("cheap", 10, 0.2, 100, 150), server("dear", 10, 0, 50, 150)
	w := &balancing.Optimal{Limit: 0.8, Floor: -1}
	s := balancing.Service{Name: "s", Rate: 4, CPU: 1, Endpoints: on(cheap, dear)}
	if d := cmp.Diff([]float64{1, 0}, weigh(t, w, s)[0], approx); d != "" {
		t.Error("fits on the cheap server:", d)
	}
	s.Rate = 8
	if d := cmp.Diff([]float64{0.75, 0.25}, weigh(t, w, s)[0], approx); d != "" {
		t.Error("up to the limit:", d)
	}
	s.Rate = 40 // 20 cores in all: both end at the same utilization
	if d := cmp.Diff([]float64{19. / 40, 21. / 40}, weigh(t, w, s)[0], cmpopts.EquateApprox(0, 0.05)); d != "" {
		t.Error("overload:", d)
	}
}

func TestOptimalCountsItsOwnLoadOnce(t *testing.T) {
	a, b := server("a", 10, 0.6, 100, 150), server("b", 10, 0, 50, 150)
	s := balancing.Service{Name: "s", Rate: 6, CPU: 1, Endpoints: on(a, b)}
	s.Endpoints[0].Load = 6 // all that a does is this Service's
	if d := cmp.Diff([]float64{1, 0}, weigh(t, &balancing.Optimal{Floor: -1}, s)[0], approx); d != "" {
		t.Error(d)
	}
}

func TestOptimalSpreadsEquals(t *testing.T) {
	var nodes []*scoring.Node
	for i := range 7 {
		nodes = append(nodes, server(fmt.Sprint(i), 10, 0, 100, 110, 130, 170))
	}
	w := &balancing.Optimal{Floor: -1}
	for _, rate := range []float64{0.5, 10, 30, 50, 200} {
		s := balancing.Service{Name: "s", Rate: rate, CPU: 1, Endpoints: on(nodes...)}
		other := balancing.Service{Name: "t", Rate: rate / 10, CPU: 1, Endpoints: on(nodes...)}
		for _, services := range [][]balancing.Service{{s}, {s, other}} {
			got := weigh(t, w, services...)
			load := make([]float64, 7)
			for i := range got {
				for j := range got[i] {
					load[j] += got[i][j] * services[i].Rate / rate
				}
			}
			even := 1e-6
			if len(services) > 1 || rate > 56 {
				even = 0.1 // filled together in steps
			}
			for _, v := range load[1:] {
				if math.Abs(v-load[0]) > even*load[0] {
					t.Errorf("rate %v, %d services: equal servers get %v", rate, len(services), load)
					break
				}
			}
		}
	}
}

func TestOptimalSeveralEndpointsOnOneServer(t *testing.T) {
	cheap, dear := server("cheap", 10, 0, 100, 150), server("dear", 10, 0, 50, 150)
	s := balancing.Service{Name: "s", Rate: 10, CPU: 1, Endpoints: on(cheap, dear, cheap, cheap, cheap)}
	if d := cmp.Diff([]float64{0.2, 0.2, 0.2, 0.2, 0.2}, weigh(t, &balancing.Optimal{Floor: -1}, s)[0], approx); d != "" {
		t.Error("8 of 10 cores on four endpoints of the cheap server:", d)
	}
}

// Two Services share a server that one of them could leave: in one call it does.
func TestOptimalWeighsServicesTogether(t *testing.T) {
	shared, own := server("shared", 10, 0, 100, 110), server("own", 10, 0, 100, 120)
	stuck := balancing.Service{Name: "stuck", Rate: 8, CPU: 1, Endpoints: on(shared)}
	free := balancing.Service{Name: "free", Rate: 4, CPU: 1, Endpoints: on(shared, own)}
	w := &balancing.Optimal{Floor: -1}
	for _, services := range [][]balancing.Service{{stuck, free}, {free, stuck}} {
		got := weigh(t, w, services...)
		if d := balancing.Predict(services, shares(got)); d.Busiest > 0.8+1e-9 {
			t.Errorf("%s first: the busiest server is at %v", services[0].Name, d.Busiest)
		}
	}
}

func shares(values [][]float64) [][]balancing.Share {
	out := make([][]balancing.Share, len(values))
	for i := range values {
		for _, v := range values[i] {
			out[i] = append(out[i], balancing.Share{Value: v})
		}
	}
	return out
}

func TestFloor(t *testing.T) {
	s := balancing.Service{Name: "s", Rate: 4, CPU: 1, Endpoints: on(server("cheap", 10, 0, 100, 150), server("dear", 10, 0, 50, 150))}
	if d := cmp.Diff([]float64{0.9, 0.1}, weigh(t, &balancing.Optimal{Floor: 0.2}, s)[0], approx); d != "" {
		t.Error(d)
	}
	if d := cmp.Diff([]float64{0.5, 0.5}, weigh(t, &balancing.Optimal{Floor: 1}, s)[0], approx); d != "" {
		t.Error("a floor of the whole neutral share:", d)
	}
	for _, bad := range []*balancing.Optimal{{Floor: 1.5}, {Floor: math.NaN()}, {Limit: 2}, {Limit: -1}, {Limit: math.NaN()}} {
		if _, err := bad.Weigh(t.Context(), nil); err == nil {
			t.Errorf("floor %v, limit %v: no error", bad.Floor, bad.Limit)
		}
	}
}

func TestUnknownGetsTheNeutralShareAtMost(t *testing.T) {
	var nodes []*scoring.Node
	for i := range 4 {
		nodes = append(nodes, server(fmt.Sprint(i), 10, 0, 100, 200))
	}
	s := balancing.Service{Name: "s", Rate: 4, CPU: 1, Endpoints: append(on(nodes...), balancing.Endpoint{ID: "u"})}
	if d := cmp.Diff([]float64{0.2, 0.2, 0.2, 0.2, 0.2}, weigh(t, &balancing.Optimal{}, s)[0], approx); d != "" {
		t.Error("among equals:", d)
	}
	nodes[0].Predictor = server("dear", 10, 0, 100, 900).Predictor
	got := weigh(t, &balancing.Optimal{}, s)[0]
	if got[4] > got[0]+1e-12 || got[4] < 0.01-1e-12 {
		t.Errorf("beside a dear server at its floor: %v", got)
	}
}

func TestObjective(t *testing.T) {
	// Fewer watts here, fewer grams there.
	frugal, green := server("frugal", 10, 0, 100, 150), server("green", 10, 0, 100, 200)
	s := balancing.Service{Name: "s", Rate: 4, CPU: 1, Endpoints: on(frugal, green)}
	grams := &balancing.Optimal{Floor: -1, PerWatt: func(n *scoring.Node) (float64, error) {
		return map[string]float64{"frugal": 0.4, "green": 0.1}[n.Name], nil
	}}
	if d := cmp.Diff([]float64{0, 1}, weigh(t, grams, s)[0], approx); d != "" {
		t.Error("grams:", d)
	}
	if d := cmp.Diff([]float64{1, 0}, weigh(t, &balancing.Optimal{Floor: -1}, s)[0], approx); d != "" {
		t.Error("watts:", d)
	}
	why := errors.New("no forecast")
	blind := &balancing.Optimal{PerWatt: func(n *scoring.Node) (float64, error) {
		if n.Name == "green" {
			return 0, why
		}
		return 1, nil
	}}
	out, err := blind.Weigh(t.Context(), []balancing.Service{s})
	if err != nil || !errors.Is(out[0][1].Err, why) || out[0][1].Value > out[0][0].Value {
		t.Errorf("a node without a price: %v, %v", out, err)
	}
	// Grams that nobody knows decide nothing, and watts still do.
	none := &balancing.Optimal{Floor: -1, PerWatt: func(*scoring.Node) (float64, error) { return 0, why }}
	if d := cmp.Diff([]float64{1, 0}, weigh(t, none, s)[0], approx); d != "" {
		t.Error("no node has a price:", d)
	}
	// An objective of package scoring is one: grams per hour of a watt, with the building's overhead.
	objective := scoring.Objective{Unit: scoring.GramsPerHour, Tariff: func(n *scoring.Node) scoring.Tariff {
		return scoring.Tariff{Intensity: map[string]float64{"frugal": 400, "green": 100}[n.Name], PUE: 1.5}
	}}
	if v, err := objective.PerWatt(frugal); err != nil || math.Abs(v-0.6) > 1e-12 {
		t.Errorf("a watt of frugal: %v g/h, %v", v, err)
	}
	if d := cmp.Diff([]float64{0, 1}, weigh(t, &balancing.Optimal{Floor: -1, PerWatt: objective.PerWatt}, s)[0], approx); d != "" {
		t.Error("an objective:", d)
	}
}

func TestDamped(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	nodes := fleet(r, 10)
	services := spread(r, nodes, 3, 6, 0.4)
	const step = 0.03
	w := balancing.NewDamped(&balancing.Optimal{}, step)
	last := weigh(t, w, services...)
	for range 200 {
		for _, n := range nodes { // every reading is noise
			n.State.Utilization = 0.5 * r.Float64()
		}
		now := weigh(t, w, services...)
		for i := range now {
			for j := range now[i] {
				if moved := math.Abs(now[i][j] - last[i][j]); moved > step+1e-9 {
					t.Fatalf("a share moved by %v: the step is %v", moved, step)
				}
			}
		}
		last = now
	}
	// With readings at rest it arrives.
	want := weigh(t, &balancing.Optimal{}, services...)
	for range 100 {
		last = weigh(t, w, services...)
	}
	if d := cmp.Diff(want, last, cmpopts.EquateApprox(0, 1e-6)); d != "" {
		t.Error("it never arrives:", d)
	}
}

func TestDampedEndpointsComeAndGo(t *testing.T) {
	a, b, c := server("a", 10, 0, 100, 150), server("b", 10, 0, 100, 180), server("c", 10, 0, 100, 110)
	w := balancing.NewDamped(&balancing.Optimal{Floor: -1}, 0.1)
	s := balancing.Service{Name: "s", Rate: 4, CPU: 1, Endpoints: on(a, b)}
	weigh(t, w, s)
	s.Endpoints = append(s.Endpoints, balancing.Endpoint{ID: "new", Node: c})
	if got := weigh(t, w, s)[0]; got[2] > 1./3+0.1+1e-9 || got[2] == 0 {
		t.Errorf("a new endpoint starts at %v", got[2])
	}
	s.Endpoints = s.Endpoints[2:]
	if got := weigh(t, w, s)[0]; got[0] != 1 {
		t.Errorf("the only endpoint that is left gets %v", got[0])
	}
	c.Err = errors.New("sensor is gone")
	s.Endpoints = append(s.Endpoints, on(a)...)
	for range 3 {
		weigh(t, w, s) // Valid checks that the endpoint whose sensor is gone does not win
	}
}

// However often a loop asks, one noisy reading moves no share by more than a step in the time that is set.
func TestDampedOverTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := server("a", 10, 0, 100, 150), server("b", 10, 0, 100, 180)
		w := balancing.NewDamped(&balancing.Optimal{Floor: -1}, 0.1)
		w.Every = 15 * time.Second
		s := balancing.Service{Name: "s", Rate: 4, CPU: 1, Endpoints: on(a, b)}
		other := balancing.Service{Name: "other", Endpoints: on(b)}
		weigh(t, w, s, other)
		a.State.Utilization = 0.8 // one reading, which stays for half a minute
		for i := range 300 {
			time.Sleep(100 * time.Millisecond)
			other.Endpoints = on(b, a)[:1+i%2] // an endpoint of another Service flaps
			if got, want := weigh(t, w, s, other)[0][0], 1-0.1*float64(1+i/150); math.Abs(got-want) > 1e-9 && math.Abs(got-want-0.1) > 1e-9 {
				t.Fatalf("after %d calls in %v: %v, want %v", i+1, time.Duration(i+1)*100*time.Millisecond, got, want)
			}
		}
		time.Sleep(15 * time.Second)
		if got := weigh(t, w, s, other)[0][0]; got > 0.8 {
			t.Errorf("after 45 s: %v", got)
		}
	})
}

// A process that begins has rules to write before its sensors were read. What it then knows first counts at once; from then
// on a reading that goes and comes is noise.
func TestDampedStartsWhenSomethingIsKnown(t *testing.T) {
	a, b := server("a", 10, 0, 100, 150), server("b", 10, 0, 100, 180)
	w := balancing.NewDamped(&balancing.Optimal{Floor: -1}, 0.1)
	s := balancing.Service{Name: "s", Rate: 4, CPU: 1, Endpoints: on(a, b)}
	know := func(err error) { a.Err, b.Err = err, err }
	know(errors.New("not read yet"))
	for range 3 {
		weigh(t, w, s)
	}
	for range 8 { // what is remembered is made anew
		s.Endpoints = append(s.Endpoints, balancing.Endpoint{ID: fmt.Sprint("u", len(s.Endpoints))})
		weigh(t, w, s)
	}
	s.Endpoints = append(s.Endpoints[:2], on(server("c", 10, 0, 100, 120), server("d", 10, 0, 100, 120))...)
	s.Endpoints[2].ID, s.Endpoints[3].ID = "c", "d"
	s.Endpoints[3].Node.Err = errors.New("not read yet")
	weigh(t, w, s)
	if got := weigh(t, w, s)[0]; got[2] > 0.46 { // c alone is known: no reason to send it all
		t.Errorf("a quarter is known: %v", got)
	}
	know(nil)
	if got := weigh(t, w, s)[0]; got[2] != 1 {
		t.Errorf("three quarters are known: %v", got)
	}
	s.Endpoints = s.Endpoints[:2]
	if got := weigh(t, w, s)[0]; got[0] < 0.5 {
		t.Errorf("without c and d: %v", got)
	}
	know(errors.New("stale"))
	weigh(t, w, balancing.Service{Name: "s", Endpoints: on(a, b, a, b, a, b, a, b)}) // what is remembered is made anew
	weigh(t, w, s)
	know(nil)
	if got := weigh(t, w, s)[0]; math.Abs(got[0]-0.6) > 1e-9 {
		t.Errorf("back after a moment: %v, want a step from 0.5", got)
	}
}

// Sensors may go at any moment; the next division is valid and ends uniform.
func TestSensorsGoOneByOne(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	nodes := fleet(r, 8)
	services := spread(r, nodes, 4, 5, 0.5)
	w := balancing.NewDamped(&balancing.Optimal{}, 0.1)
	for _, n := range nodes {
		weigh(t, w, services...)
		n.Err = errors.New("stale")
	}
	for i, row := range weigh(t, w, services...) {
		for _, v := range row {
			if math.Abs(v-0.2) > 1e-12 {
				t.Errorf("service %d, nobody known: %v", i, row)
			}
		}
	}
}

func TestManyEndpointsAndDuplicates(t *testing.T) {
	r := rand.New(rand.NewPCG(13, 14))
	nodes := fleet(r, 300)
	s := balancing.Service{Name: "s", Rate: 1000, CPU: 1}
	for i := range 5000 {
		s.Endpoints = append(s.Endpoints, balancing.Endpoint{ID: fmt.Sprint(i / 2), Node: nodes[i%300]})
	}
	weigh(t, &balancing.Optimal{}, s)
	weigh(t, balancing.NewDamped(&balancing.Optimal{}, 0), s)
}

func TestTinyBesideHuge(t *testing.T) {
	r := rand.New(rand.NewPCG(15, 16))
	nodes := fleet(r, 5)
	for _, n := range nodes {
		n.Capacity.Cores = 1e6
	}
	services := []balancing.Service{{Name: "huge", Rate: 1e6, CPU: 1, Endpoints: on(nodes...)},
		{Name: "tiny", Rate: 1e-12, CPU: 1e-9, Endpoints: on(nodes[1:]...)}, {Name: "nothing", Rate: 1e-300, CPU: 1e-300, Endpoints: on(nodes...)}}
	weigh(t, &balancing.Optimal{}, services...)
}
