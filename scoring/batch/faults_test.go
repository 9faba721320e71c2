package batch

import (
	"context"
	"math"
	"reflect"
	"testing"

	"github.com/leastwatt/leastwatt/scoring"
)

// oracle is a scorer that says what it was told to say.
type oracle []float64

func (o oracle) Score(_ context.Context, _ scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	costs := make([]scoring.Cost, len(nodes))
	for i, n := range nodes {
		costs[i] = scoring.Cost{Node: n.Name, Value: o[i], Unit: scoring.Watts}
	}
	return costs, nil
}

// TestCostsThatAreNoNumbers: whatever a scorer answers, a cost that is a number wins, and the job is placed even where none is.
func TestCostsThatAreNoNumbers(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	p := curve(t, 10, 20)
	for _, c := range []struct {
		costs oracle
		want  int
	}{{oracle{nan, 7, inf}, 1}, {oracle{-inf, inf, 9}, 2}, {oracle{nan, nan, nan}, 0}, {oracle{inf, -inf, nan}, 0}} {
		cl, err := NewCluster(t.Context(), []Node{node("a", 8, p), node("b", 8, p), node("c", 8, p)}, ClusterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := FromScorer("oracle", c.costs).Plan(t.Context(), 0, []Job{job("1", 1)}, cl)
		if err != nil || len(got.Assigned) != 1 || got.Assigned[0].Node != c.want {
			t.Errorf("costs %v: %+v, %v; want node %d", c.costs, got, err, c.want)
		}
	}
}

// TestServersThatOthersFilled: a server whose requests leave room, but which is measured at full use, draws no more with a job. It is
// not the cheapest for that.
func TestServersThatOthersFilled(t *testing.T) {
	p := curve(t, 100, 120, 180)
	for _, switchOff := range []bool{false, true} {
		for _, use := range []float64{7.5, 8, 80} {
			cl := fresh(t, []Node{node("a", 8, p), node("b", 8, p)}, switchOff)
			for i := range 2 { // neither is off
				running := job("running", 1)
				cl.Reserve(i, &running, 0)
			}
			cl.SetUse(0, use)
			grid := Options{Grid: hourly{"": {100, 100, 100}}}
			for _, name := range []string{"energyaware", "leastwatt", "spacetime"} {
				s, err := New(name, grid)
				if err != nil {
					t.Fatal(err)
				}
				cl.SetUse(1, 1)
				if p := plan(t, s, 0, cl, job("j", 2)); len(p.Assigned) != 1 || p.Assigned[0].Node != 1 {
					t.Errorf("%s: with %v of 8 cores in use: %+v", name, use, p)
				}
			}
			j := job("j", 2)
			if w, err := cl.Estimate(t.Context(), &j, 8); err != nil || !(w[0] > 0) || w[7] < w[6]+20 {
				t.Errorf("estimate with %v of 8 cores in use: %v, %v", use, w, err)
			}
		}
	}
}

// TestNoiseIsNotOthers: a server that its own jobs nearly fill costs what its curve says, though it is measured a little above what they asked for.
func TestNoiseIsNotOthers(t *testing.T) {
	p := curve(t, 100, 120, 180)
	cl := fresh(t, []Node{node("a", 8, p)}, false)
	running := job("running", 7)
	cl.Reserve(0, &running, 0)
	for use, others := range map[float64]bool{7.7: false, 7.9: true} { // a tenth of the server is 0.8
		cl.SetUse(0, use)
		if got, along := cl.added(0, 1), float64(p.Rise(use/8, (use+1)/8)); (got > along+1e-9) != others {
			t.Errorf("with %v of 8 cores in use and 7 booked one more adds %v W, along the curve %v", use, got, along)
		}
	}
}

// TestPEAKSBeyondItsFit: an exponential that overflows on an overloaded server ranks that server last, and blocks nothing.
func TestPEAKSBeyondItsFit(t *testing.T) {
	steep, flat := curve(t, 0, 0, 0, 0, 0, 0, 0, 0, 0, 10, 1000), curve(t, 100, 900)
	for _, c := range []struct {
		nodes []Node
		want  int
	}{
		{[]Node{node("a", 8, steep)}, 0},
		{[]Node{node("a", 8, steep), node("b", 8, flat)}, 1},
	} {
		cl := fresh(t, c.nodes, false)
		cl.SetUse(0, 8e5)
		p := plan(t, &greedy{name: "peaks", rule: newPEAKS()}, 0, cl, job("j", 1))
		if len(p.Assigned) != 1 || p.Assigned[0].Node != c.want {
			t.Errorf("%d nodes: %+v, want node %d", len(c.nodes), p, c.want)
		}
	}
}

// TestPEAKSKnowsASizeAgain: what it keeps of a server is of that server's size, not of another cluster's with the same curve.
func TestPEAKSKnowsASizeAgain(t *testing.T) {
	p := curve(t, 100, 120, 200)
	s := &greedy{name: "peaks", rule: newPEAKS()}
	for _, cores := range [][2]float64{{4, 64}, {64, 4}} {
		c := fresh(t, []Node{node("a", cores[0], p), node("b", cores[1], p)}, false)
		want := plan(t, &greedy{name: "peaks", rule: newPEAKS()}, 0, fresh(t, []Node{node("a", cores[0], p), node("b", cores[1], p)}, false), job("j", 0.25))
		if got := plan(t, s, 0, c, job("j", 0.25)); !reflect.DeepEqual(got, want) {
			t.Errorf("%v cores: %+v, want %+v", cores, got, want)
		}
	}
}

// TestPEAKSAfterManyChanges: a change is seen however many others have come since the last choice.
func TestPEAKSAfterManyChanges(t *testing.T) {
	nodes := []Node{node("a", 8, curve(t, 100, 110, 200)), node("b", 8, curve(t, 100, 120, 200)), node("c", 8, curve(t, 100, 400, 900))}
	c := fresh(t, nodes, false)
	s := &greedy{name: "peaks", rule: newPEAKS()}
	if p := plan(t, s, 0, c, job("first", 0.5)); p.Assigned[0].Node != 0 {
		t.Fatalf("%+v: want a, where it costs the least", p)
	}
	c.SetUse(0, 7)
	for k := range 3 * len(c.touched.last) {
		c.SetUse(2, 0.001*float64(k%7))
	}
	if p := plan(t, s, 0, c, job("second", 0.25)); p.Assigned[0].Node != 1 {
		t.Errorf("%+v: want b, since a is nearly full", p)
	}
}

// TestReadingsThatAreNoNumbers: what a sensor says that is no number changes nothing of what is believed, and a model that is taken away makes its node
// the last choice.
func TestReadingsThatAreNoNumbers(t *testing.T) {
	for _, name := range Names() {
		s, err := New(name, Options{})
		if err != nil {
			t.Fatal(err)
		}
		c := fresh(t, []Node{node("a", 8, curve(t, 100, 200)), node("b", 8, curve(t, 10, 20))}, false)
		for i := range c.Len() {
			c.SetUse(i, 2)
			for _, v := range []float64{math.NaN(), math.Inf(1), math.Inf(-1)} {
				if c.SetUse(i, v); c.Use(i) != 2 {
					t.Fatalf("a reading of %v becomes %v", v, c.Use(i))
				}
			}
		}
		if p := plan(t, s, 0, c, job("j", 1)); len(p.Assigned) != 1 {
			t.Errorf("%s: %+v", name, p)
		}
	}
	s := newLeastwatt(DefaultWeights())
	c := fresh(t, []Node{node("a", 8, curve(t, 100, 200)), node("b", 8, curve(t, 10, 20))}, false)
	c.SetModel(1, nil)
	if p := plan(t, s, 0, c, job("j", 1)); len(p.Assigned) != 1 || p.Assigned[0].Node != 0 {
		t.Errorf("without a model: %+v", p)
	}
}

// TestAlmostNoWork: a demand so small that no number is one over its price still finds a node.
func TestAlmostNoWork(t *testing.T) {
	j := job("j", 1)
	j.Demand.CPU = 5e-324
	full := node("a", 8, curve(t, 0, 100))
	full.Allocatable.CPU = 0.5
	c := fresh(t, []Node{full, node("b", 8, curve(t, 100, 100))}, false)
	c.SetUse(1, 8.5)
	p := plan(t, newLeastwatt(DefaultWeights()), 0, c, j)
	if len(p.Assigned) != 1 {
		t.Errorf("%+v: want it placed", p)
	}
}
