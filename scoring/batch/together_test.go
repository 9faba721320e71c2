package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// envelopes is the sum of what all nodes draw along their envelopes.
func envelopes(c *Cluster) float64 {
	var sum float64
	for i := range c.nodes {
		sum += float64(c.env[i].At(c.Use(i) / c.work[i]))
	}
	return sum
}

func fresh(t *testing.T, nodes []Node, off bool) *Cluster {
	t.Helper()
	c, err := NewCluster(t.Context(), nodes, ClusterOptions{SwitchOff: off})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// TestTogetherAgainstBruteForce: jobs that come together end near the best of all ways to place them, never below it, and in the mean nearer
// than the same jobs one after the other.
func TestTogetherAgainstBruteForce(t *testing.T) {
	for _, off := range []bool{false, true} {
		var together, single float64
		const cases = 60
		for n := range cases {
			r := rand.New(rand.NewPCG(uint64(n), 1))
			nodes := mixed(t, r, 4)
			var jobs []Job
			for k := range 6 {
				jobs = append(jobs, job(fmt.Sprint(k), float64(1+r.IntN(7))))
			}
			c := fresh(t, nodes, off)
			best := math.Inf(1)
			var try func(k int)
			try = func(k int) {
				if k == len(jobs) {
					best = min(best, envelopes(c))
					return
				}
				for i := range c.nodes {
					if c.Fits(i, &jobs[k]) {
						c.Reserve(i, &jobs[k], 0)
						try(k + 1)
						c.Release(i, &jobs[k])
					}
				}
			}
			try(0)
			p, err := newLeastwatt(DefaultWeights()).Plan(t.Context(), 0, jobs, c)
			if err != nil || len(p.Waiting) > 0 {
				t.Fatal(err, p.Waiting)
			}
			got := envelopes(c)
			if got < best-1e-6 {
				t.Fatalf("case %d: %v is below the best, %v", n, got, best)
			}
			one := fresh(t, nodes, off)
			l := newLeastwatt(DefaultWeights())
			for k := range jobs {
				if _, err := l.Plan(t.Context(), 0, jobs[k:k+1], one); err != nil {
					t.Fatal(err)
				}
			}
			together, single = together+(got/best-1)/cases, single+(envelopes(one)/best-1)/cases
		}
		t.Logf("off %v: together %.3f %% above the best, one by one %.3f %%", off, 100*together, 100*single)
		if together > 0.01 || together > single {
			t.Errorf("off %v: together %v above the best, one by one %v", off, together, single)
		}
	}
}

// TestTogetherLeavesTheClusterAsPlanned: after a plan of many jobs the cluster is as if each had been reserved where the plan says, and nothing
// else had been tried.
func TestTogetherLeavesTheClusterAsPlanned(t *testing.T) {
	for n := range 40 {
		r := rand.New(rand.NewPCG(uint64(n), 2))
		nodes := mixed(t, r, 5)
		got, want := fresh(t, nodes, n%2 == 0), fresh(t, nodes, n%2 == 0)
		for i := range nodes {
			if r.IntN(2) == 0 {
				continue
			}
			x := job("before", 2)
			for _, c := range []*Cluster{got, want} {
				c.Reserve(i, &x, 0)
				c.SetUse(i, 1.25)
				c.SetUntil(i, 7*time.Minute)
			}
		}
		var jobs []Job
		for k := range 2 + r.IntN(30) { // now and then more than fit
			jobs = append(jobs, job(fmt.Sprint(k), 1+11*r.Float64()))
			jobs[k].Priority = r.IntN(2)
		}
		p, err := newLeastwatt(DefaultWeights()).Plan(t.Context(), time.Minute, jobs, got)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Assigned)+len(p.Waiting) != len(jobs) {
			t.Fatalf("%d assigned, %d wait of %d", len(p.Assigned), len(p.Waiting), len(jobs))
		}
		for _, a := range p.Assigned {
			want.Reserve(a.Node, &jobs[a.Job], time.Minute)
		}
		for i := range nodes {
			a, b := got.Free(i), want.Free(i)
			if math.Abs(a.CPU-b.CPU) > 1e-9 || a.CPU < -1e-9 || math.Abs(a.Memory-b.Memory) > 1 || math.Abs(got.Use(i)-want.Use(i)) > 1e-9 ||
				got.Jobs(i) != want.Jobs(i) || got.until[i] != want.until[i] || got.nodes[i].Off != want.nodes[i].Off {
				t.Errorf("case %d, node %d: free %v, use %v, jobs %d, until %v, off %v; want %v, %v, %d, %v, %v", n, i, a, got.Use(i), got.Jobs(i), got.until[i], got.nodes[i].Off,
					b, want.Use(i), want.Jobs(i), want.until[i], want.nodes[i].Off)
			}
		}
	}
}

// TestTogetherKeepsTheOrder: where not all fit, the first ones get the room, not the largest ones.
func TestTogetherKeepsTheOrder(t *testing.T) {
	c := fresh(t, []Node{node("a", 8, curve(t, 50, 100))}, false)
	jobs := []Job{job("first", 2), job("large", 7), job("last", 3)}
	p, err := newLeastwatt(DefaultWeights()).Plan(t.Context(), 0, jobs, c)
	if err != nil || len(p.Waiting) != 1 || p.Waiting[0].Job != 1 {
		t.Errorf("%+v, %v: want job 1 to wait", p, err)
	}
}

// TestPriceIsTheBoundsSlope: the price is the slope of the bound at the same load.
func TestPriceIsTheBoundsSlope(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	nodes := mixed(t, r, 20)
	b, err := NewBound(t.Context(), nodes, false)
	if err != nil {
		t.Fatal(err)
	}
	c := fresh(t, nodes, false)
	var p price
	p.look(c, 0)
	for use := 1.5; use < 500; use += 7.3 {
		if got, want := p.of(use), b.Slope(Load{Use: use}); math.Abs(got-want) > 1e-6*want {
			t.Errorf("%v cores: price %v, slope of the bound %v", use, got, want)
		}
	}
}
