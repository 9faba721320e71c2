package batch

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// TestRebalancerObeysTheLaws: the budget is kept, moves fit in order, what must not move stays, the cluster is left as it was, and
// the power after the moves is lower.
func TestRebalancerObeysTheLaws(t *testing.T) {
	moved := 0
	for seed := range uint64(20) {
		for _, off := range []bool{false, true} {
			r := rand.New(rand.NewPCG(seed, 1))
			c, err := NewCluster(t.Context(), mixed(t, r, 12), ClusterOptions{SwitchOff: off})
			if err != nil {
				t.Fatal(err)
			}
			var running []Running
			for k := range 60 {
				j := job(fmt.Sprint(k), float64(1+r.IntN(6)))
				j.Pinned = k%5 == 0
				j.Demand.Lifetime = time.Duration(1+r.IntN(20)) * time.Hour
				i := r.IntN(c.Len())
				if c.Fits(i, &j) {
					c.Reserve(i, &j, 0)
					running = append(running, Running{Job: j, Node: i})
				}
			}
			watts := func() float64 {
				var sum float64
				for i := range c.Len() {
					if c.Jobs(i) > 0 || !off {
						sum += float64(c.curve[i].At(c.use[i] / c.work[i]))
					}
				}
				return sum
			}
			before := watts()
			state := func() []any {
				var s []any
				for i := range c.Len() {
					s = append(s, c.Free(i), c.Use(i), c.Jobs(i), c.until[i], c.nodes[i].Off)
				}
				return s
			}
			s := state()
			rb := NewRebalancer(RebalanceOptions{Share: 0.1})
			if m, err := rb.Plan(t.Context(), 0, running, c); err != nil || len(m) != 0 {
				t.Fatalf("moves before any time has passed: %v, %v", m, err)
			}
			moves, err := rb.Plan(t.Context(), time.Hour, running, c)
			if err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(s, state()) {
				t.Fatal("the plan has changed the cluster")
			}
			if len(moves) > len(running)/10 {
				t.Errorf("%d moves of %d jobs with a budget of a tenth", len(moves), len(running))
			}
			if again, err := rb.Plan(t.Context(), time.Hour, running, c); err != nil || len(again)+len(moves) > len(running)/10 {
				t.Errorf("the budget was spent twice: %d and %d", len(moves), len(again))
			}
			for _, m := range moves {
				k := &running[m.Running]
				if k.Job.Pinned {
					t.Error("a pinned job moves")
				}
				c.Release(k.Node, &k.Job)
				if !c.Fits(m.To, &k.Job) || m.Saves <= 0 {
					t.Errorf("the move %+v does not fit or saves nothing", m)
				}
				c.Reserve(m.To, &k.Job, time.Hour)
				k.Node = m.To
				moved++
			}
			if after := watts(); after > before*(1+1e-9) {
				t.Errorf("off=%v: %v W before, %v W after", off, before, after)
			}
		}
	}
	if moved == 0 {
		t.Error("nothing ever moved")
	}
}

// TestReplacement: jobs on a server that draws much go to one that is off and draws little, but not where waking it costs more than it saves, and not to
// one that draws more or takes no jobs.
func TestReplacement(t *testing.T) {
	for _, c := range []struct {
		name      string
		wake      time.Duration
		peak      float64
		down      bool
		lifetime  time.Duration
		wantMoves int
	}{
		{name: "efficient", peak: 100, lifetime: time.Hour, wantMoves: 3},
		{name: "with a wake-up", wake: 2 * time.Minute, peak: 100, lifetime: time.Hour, wantMoves: 3},
		{name: "not worth the wake-up", wake: 2 * time.Hour, peak: 100, lifetime: time.Hour},
		{name: "dearer", peak: 900, lifetime: time.Hour},
		{name: "down", peak: 100, down: true, lifetime: time.Hour},
	} {
		nodes := []Node{node("dear", 16, curve(t, 200, 400)), node("off", 16, curve(t, power.Watts(c.peak/2), power.Watts(c.peak)))}
		nodes[1].Off, nodes[1].Wake, nodes[1].Down = true, c.wake, c.down
		cl, err := NewCluster(t.Context(), nodes, ClusterOptions{SwitchOff: true})
		if err != nil {
			t.Fatal(err)
		}
		var running []Running
		for k := range 3 {
			j := job(fmt.Sprint(k), 2)
			j.Demand.Lifetime = c.lifetime
			cl.Reserve(0, &j, 0)
			running = append(running, Running{Job: j})
		}
		rb := NewRebalancer(RebalanceOptions{Share: 1})
		if _, err := rb.Plan(t.Context(), 0, running, cl); err != nil {
			t.Fatal(err)
		}
		moves, err := rb.Plan(t.Context(), time.Hour, running, cl)
		if err != nil {
			t.Fatal(err)
		}
		if len(moves) != c.wantMoves {
			t.Errorf("%s: %d moves, want %d: %+v", c.name, len(moves), c.wantMoves, moves)
		}
		for _, m := range moves {
			if m.To != 1 || !(m.Saves > 0) {
				t.Errorf("%s: %+v", c.name, m)
			}
		}
		if !cl.nodes[1].Off || cl.Jobs(1) != 0 {
			t.Errorf("%s: the plan has changed the cluster", c.name)
		}
	}
}
