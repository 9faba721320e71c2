package simulate

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// patchy is a provider that is away for hours or a day at a time, tells nothing of one site, ends early, leaves gaps, and says what is absurd. What it says of
// a slot it says for all of it.
type patchy struct {
	seed  uint64
	truth map[string][]float64
}

func (patchy) Slot() time.Duration { return time.Hour }

func (g patchy) Ahead(dst []float64, site string, now time.Duration, n int) []float64 {
	slot := int(now / time.Hour)
	if rand.New(rand.NewPCG(g.seed, uint64(slot/24))).IntN(3) == 0 { // a day without the provider
		return dst
	}
	r := rand.New(rand.NewPCG(g.seed+uint64(site[0]), uint64(slot)))
	switch r.IntN(8) {
	case 0:
		return dst
	case 1:
		n = min(n, 1+r.IntN(4))
	}
	for k := slot; k < slot+n; k++ {
		v := math.NaN()
		if k < len(g.truth[site]) {
			v = g.truth[site][k] * 2 * r.Float64()
		}
		switch r.IntN(40) {
		case 0:
			v = math.NaN()
		case 1:
			v = []float64{0, -5, 1e9, math.Inf(1), math.Inf(-1)}[r.IntN(5)]
		}
		dst = append(dst, v)
	}
	return dst
}

// known tells whether anything is told of the slot that holds now, or of any after it.
func (g patchy) known(now time.Duration) bool {
	for site := range g.truth {
		for _, v := range g.Ahead(nil, site, now, 96) {
			if !math.IsNaN(v) && !math.IsInf(v, 0) {
				return true
			}
		}
	}
	return false
}

// watched looks at what a strategy holds. There is room for all work at any time, so that whatever waits is held on purpose.
type watched struct {
	batch.Strategy
	t    *testing.T
	grid patchy
	held int
}

func (w *watched) Plan(ctx context.Context, now time.Duration, jobs []batch.Job, c *batch.Cluster) (batch.Plan, error) {
	p, err := w.Strategy.Plan(ctx, now, jobs, c)
	for _, x := range p.Waiting {
		j := &jobs[x.Job]
		latest := j.Deadline - time.Duration(1.1*float64(j.Demand.Lifetime))
		w.held++
		switch until := x.Reason.Until; {
		case !w.grid.known(now):
			w.t.Errorf("seed %d, %s, %v: %s is held (%v) without a forecast", w.grid.seed, w.Name(), now, j.Name, x.Reason)
		case j.Deadline > 0 && now >= latest:
			w.t.Errorf("seed %d, %s, %v: %s is held (%v) at its latest start, %v", w.grid.seed, w.Name(), now, j.Name, x.Reason, latest)
		case until <= now || j.Deadline > 0 && until > latest:
			w.t.Errorf("seed %d, %s, %v: %s wants to be asked again at %v, with its latest start at %v", w.grid.seed, w.Name(), now, j.Name, until, latest)
		}
	}
	return p, err
}

// TestHeldByAForecastAlone: over random outages no job is ever held while nothing is forecast, none at its latest start, and all end in time.
func TestHeldByAForecastAlone(t *testing.T) {
	held := make(map[string]int)
	for seed := range uint64(10) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		g := patchy{seed, map[string][]float64{"x": make([]float64, 240), "y": make([]float64, 240)}}
		for _, v := range g.truth {
			for k := range v {
				v[k] = 300 + 250*math.Sin(float64(k)/4) + 20*rnd.Float64()
			}
		}
		var nodes []Node
		for i := range 30 {
			n := testNode(t, string(rune('a'+i%26))+string(rune('a'+i/26)), 8, 50, 150)
			n.Site = []string{"x", "y"}[i%2]
			nodes = append(nodes, n)
		}
		var jobs []Job
		for k := range 25 { // of 4 cores at most, which 30 servers of 8 always have free for one of 25
			j := testJob(string(rune('A'+k)), time.Duration(rnd.IntN(96*60))*time.Minute, time.Duration(1+rnd.IntN(600))*time.Minute, float64(1+rnd.IntN(4)))
			if rnd.IntN(5) > 0 {
				j.Deadline = j.Arrival + j.Duration*12/10 + time.Duration(rnd.IntN(72*60))*time.Minute
			}
			j.Suspend = rnd.IntN(3) == 0
			jobs = append(jobs, j)
		}
		for _, off := range []bool{false, true} {
			for _, name := range batch.CarbonNames() {
				w := &watched{Strategy: clean(t, name, g), t: t, grid: g}
				r := run(t, Config{Nodes: nodes, Strategy: w, SwitchOff: off, Lifetimes: Told, Uses: Told,
					Sites: []Site{{Name: "x", Intensity: g.truth["x"]}, {Name: "y", Intensity: g.truth["y"]}}}, jobs...)
				if r.Finished != len(jobs) || r.Missed > 0 {
					t.Errorf("seed %d, %s: %d of %d finished, %d late", seed, name, r.Finished, len(jobs), r.Missed)
				}
				held[name] += w.held
			}
		}
	}
	if held["spacetime"] == 0 || held["threshold"] == 0 {
		t.Errorf("held %v: nothing was tried", held)
	}
	t.Logf("held %v", held)
}
