package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// plainRule is a strategy's formula, without any of the shortcuts that the strategies take: the cost of each node where the job fits; NaN is
// not known. The least wins, the earlier name among equals, and the first unknown node where nothing is known.
type plainRule func(c *Cluster, j *Job, fits []int) []float64

func each(f func(c *Cluster, j *Job, i int) float64) plainRule {
	return func(c *Cluster, j *Job, fits []int) []float64 {
		var out []float64
		for _, i := range fits {
			out = append(out, f(c, j, i))
		}
		return out
	}
}

func plainShares(c *Cluster, j *Job, i int) (cpu, mem float64) {
	a := c.Node(i).Allocatable
	f := c.Free(i)
	if a.CPU > 0 {
		cpu = 1 - (f.CPU-j.Requests.CPU)*(1/a.CPU)
	}
	if a.Memory > 0 {
		mem = 1 - (f.Memory-j.Requests.Memory)*(1/a.Memory)
	}
	return cpu, mem
}

func plainLeast(cpu, mem float64) float64 {
	return math.Trunc((math.Trunc(100*(1-cpu)+1e-9) + math.Trunc(100*(1-mem)+1e-9)) / 2)
}

// plainRise is what a job adds along the curve, as the cluster computes it.
func plainRise(c *Cluster, cores float64, i int) float64 {
	if c.curve[i] == nil {
		return math.NaN()
	}
	return c.riseOf(&c.curveAt[i], c.curve[i], i, cores)
}

// plainRequest is what a job requests, in cores of speed 1.
func plainRequest(c *Cluster, j *Job, i int) float64 {
	if s := c.Node(i).Capacity.Speed; s > 0 {
		return j.Requests.CPU * s
	}
	return j.Requests.CPU
}

func plainDot(c *Cluster, j *Job, i int) float64 {
	l, f := c.Largest(), c.Free(i)
	return j.Requests.CPU/l.CPU*(f.CPU/l.CPU) + j.Requests.Memory/l.Memory*(f.Memory/l.Memory)
}

// The marks of WAO's failures; its scores in integers are in waoNormalize.
const (
	waoFailed = math.MinInt64 + 1 + iota
	waoOver
)

// waoNormalize maps integer watts to WAO's scores: [0, 50, 100] gives [100, 60, 20].
func waoNormalize(watts, lo, hi int64) int64 {
	switch {
	case watts == waoFailed:
		return 0
	case watts == waoOver:
		return 1
	case lo == hi:
		return 20
	}
	return 100 - 80*(watts-lo)/(hi-lo)
}

func plainWAO(c *Cluster, j *Job, fits []int) []float64 {
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	var watts []int64
	for _, i := range fits {
		v := int64(waoFailed)
		if c.curve[i] != nil {
			v = waoOver
			if d := plainRequest(c, j, i); c.Use(i)+d <= c.work[i]*(1+1e-9) {
				v = int64(plainRise(c, d, i))
				lo, hi = min(lo, v), max(hi, v)
			}
		}
		watts = append(watts, v)
	}
	var out []float64
	for _, v := range watts {
		out = append(out, -float64(waoNormalize(v, lo, hi)))
	}
	return out
}

func plainPEAKS(c *Cluster, j *Job, fits []int) []float64 {
	lo, hi := math.Inf(1), math.Inf(-1)
	var watts []float64
	for _, i := range fits {
		v := math.NaN()
		if c.curve[i] != nil {
			e := FitExponential(c.curve[i])
			x := 100 * c.use[i] / c.work[i]
			v = e.Rise(x, x+100*plainRequest(c, j, i)/c.work[i])
			lo, hi = min(lo, v), max(hi, v)
		}
		watts = append(watts, v)
	}
	var out []float64
	for _, v := range watts {
		switch {
		case v != v:
		case hi > lo:
			v = -(100 - math.Trunc(100*(v-lo)/(hi-lo)))
		default:
			v = -100
		}
		out = append(out, v)
	}
	return out
}

func plainCompletion(c *Cluster, j *Job, i int) float64 {
	n := c.Node(i)
	t := max(j.Demand.Lifetime.Seconds(), 1)
	if n.Capacity.Speed > 0 {
		t /= n.Capacity.Speed
	}
	if n.Off {
		t += n.Wake.Seconds()
	}
	return t
}

// plainRules has the strategies that score every node, for one job at a time.
func plainRules() map[string]plainRule {
	return map[string]plainRule{
		"leastallocated": each(func(c *Cluster, j *Job, i int) float64 { return -plainLeast(plainShares(c, j, i)) }),
		"mostallocated": each(func(c *Cluster, j *Job, i int) float64 {
			cpu, mem := plainShares(c, j, i)
			return -math.Trunc((math.Trunc(100*cpu+1e-9) + math.Trunc(100*mem+1e-9)) / 2)
		}),
		"kubernetes": each(func(c *Cluster, j *Job, i int) float64 {
			cpu, mem := plainShares(c, j, i)
			return -(plainLeast(cpu, mem) + math.Trunc(100*(1-math.Abs(min(cpu, 1)-min(mem, 1))/2)+1e-9))
		}),
		"minmin":  each(plainCompletion),
		"maxmin":  each(plainCompletion),
		"tetris":  each(func(c *Cluster, j *Job, i int) float64 { return -plainDot(c, j, i) }),
		"ecsched": each(func(c *Cluster, j *Job, i int) float64 { return -plainDot(c, j, i) }),
		"ecsched-mostloaded": each(func(c *Cluster, j *Job, i int) float64 {
			f := c.Free(i)
			return -(j.Requests.CPU/f.CPU + j.Requests.Memory/f.Memory)
		}),
		"energyaware": each(func(c *Cluster, j *Job, i int) float64 {
			if p := c.curve[i]; p != nil && c.SwitchOff() && c.Jobs(i) == 0 {
				return float64(p.At((c.Use(i)+j.Demand.CPU)/c.work[i]) - c.Node(i).OffPower)
			}
			return plainRise(c, j.Demand.CPU, i)
		}),
		"wao":   plainWAO,
		"peaks": plainPEAKS,
	}
}

func plainChoice(rule plainRule, c *Cluster, j *Job) int {
	var fits []int
	for i := range c.Len() {
		if c.Fits(i, j) {
			fits = append(fits, i)
		}
	}
	best, cost, unknown := -1, math.Inf(1), -1
	for k, v := range rule(c, j, fits) {
		if v < cost {
			best, cost = fits[k], v
		} else if unknown < 0 && (v != v || math.IsInf(v, 1)) {
			unknown = fits[k]
		}
	}
	if best < 0 {
		return unknown
	}
	return best
}

// motley is a cluster with everything in it that a shortcut could stumble over: identical servers, servers without a model, models that
// fall or that no exponential fits, servers that are down, faster ones and such without memory to give.
func motley(t testing.TB, r *rand.Rand, n int, off bool) *Cluster {
	t.Helper()
	nodes := mixed(t, r, n)
	for i := range nodes {
		d := &nodes[i]
		switch r.IntN(8) {
		case 0:
			d.Predictor = nil
		case 1:
			d.Predictor = curve(t, power.Watts(200+r.IntN(3)), 150, 300)
		case 2:
			d.Predictor = curve(t, 50, 60, 70, 60, 50, 200)
		case 3, 4:
			d.Predictor, d.Capacity.Cores, d.Allocatable = curve(t, 40, 90, 100), 16, Resources{CPU: 16, Memory: 64 << 30}
		}
		if r.IntN(3) == 0 {
			d.Capacity.Speed = 0.5 + r.Float64()
		}
		d.OffPower, d.Wake = power.Watts(r.IntN(5)), time.Duration(r.IntN(3))*time.Minute
		d.Down = r.IntN(20) == 0
	}
	c, err := NewCluster(t.Context(), nodes, ClusterOptions{SwitchOff: off})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// usedRanking tells whether the last choice, for j, was made from a ranking.
func usedRanking(s Strategy, j *Job) bool {
	var r *repeated
	switch s := s.(type) {
	case *greedy:
		switch rule := s.rule.(type) {
		case *ranked:
			r = &rule.repeated
		case *wao:
			r = &rule.repeated
		case *peaks:
			r = &rule.repeated
		}
	case *completion:
		r = &s.repeated
	case *tetris:
		r = &s.repeated
	case *ecsched:
		r = &s.repeated
	}
	t := r.sizes[r.size(j)]
	return t != nil && t.built && j.Node == ""
}

// TestAgainstPlainFormulas: with all their shortcuts the strategies decide as their formulas do, to the last bit, over long histories of
// arrivals, ends, measurements, relearned models, failures and switching.
func TestAgainstPlainFormulas(t *testing.T) {
	steps := 4000
	if testing.Short() {
		steps = 400
	}
	for name, rule := range plainRules() {
		for _, off := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/off=%v", name, off), func(t *testing.T) {
				r := rand.New(rand.NewPCG(5, 11))
				c := motley(t, r, 40, off)
				s, err := New(name, Options{})
				if err != nil {
					t.Fatal(err)
				}
				type placed struct {
					job  Job
					node int
				}
				var live []placed
				choices := map[int]bool{}
				ranked := 0
				var last Job
				for step := range steps {
					j := job("j", 0.25*float64(1+r.IntN(40)))
					if r.IntN(4) == 0 { // continuous sizes
						j.Requests = Resources{CPU: 8 * r.Float64(), Memory: r.Float64() * (32 << 30)}
					}
					j.Demand.CPU = j.Requests.CPU * float64(r.IntN(3)) / 2
					j.Demand.Lifetime = time.Duration(r.IntN(3)) * time.Hour
					if r.IntN(30) == 0 {
						j.Node = c.Node(r.IntN(c.Len())).Name
					}
					if r.IntN(2) == 0 { // what was asked for just now, so that what is kept of it serves
						j = last
					}
					last = j
					want := plainChoice(rule, c, &j)
					p, err := s.Plan(t.Context(), 0, []Job{j}, c)
					if err != nil {
						t.Fatal(err)
					}
					got := -1
					if len(p.Assigned) == 1 {
						got = p.Assigned[0].Node
						live = append(live, placed{j, got})
						choices[got] = true
					}
					if usedRanking(s, &j) {
						ranked++
					}
					if got != want {
						t.Fatalf("step %d: job %+v goes to node %d, the formula says %d", step, j, got, want)
					}
					for len(live) > 0 && (r.IntN(3) == 0 || got < 0 && r.IntN(3) > 0) {
						k := r.IntN(len(live))
						c.Release(live[k].node, &live[k].job)
						live[k] = live[len(live)-1]
						live = live[:len(live)-1]
					}
					i := r.IntN(c.Len())
					switch r.IntN(12) {
					case 0:
						c.SetUse(i, c.work[i]*1.2*r.Float64())
					case 1:
						c.SetModel(i, curve(t, power.Watts(r.IntN(90)), power.Watts(100+r.IntN(90)), power.Watts(200+r.IntN(90))))
					case 2:
						c.SetDown(i, !c.nodes[i].Down && r.IntN(4) == 0)
					case 3:
						c.SetOff(i, off && r.IntN(2) == 0)
					}
				}
				if len(choices) < 3 {
					t.Errorf("only the nodes %v were ever chosen", choices)
				}
				if ranked < steps/10 {
					t.Errorf("%d of %d choices were made from a ranking", ranked, steps)
				}
			})
		}
	}
}
