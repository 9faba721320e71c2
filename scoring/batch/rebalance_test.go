package batch

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
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
				if !c.Fits(m.To, &k.Job) || off && c.Jobs(m.To) == 0 || m.Saves <= 0 {
					t.Errorf("the move %+v does not fit, wakes a server or saves nothing", m)
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
