package simulate

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// feasible puts jobs of many sizes on servers at times, until these are full to a share, and then gives each a deadline that it meets there, so that all can be met.
// What it makes is known from the start, or some hours before it must begin.
func feasible(t *testing.T, rnd *rand.Rand, load float64, slack time.Duration, atStart bool) (nodes []Node, jobs []Job) {
	t.Helper()
	const steps, grain = 144, 10 * time.Minute // a day
	for i := range 4 {
		cores := []float64{8, 16, 32}[rnd.IntN(3)]
		n := testNode(t, fmt.Sprint("n", i), cores, 50, power.Watts(100+20*cores*(0.8+0.4*rnd.Float64())))
		n.Site = []string{"x", "y"}[i%2]
		nodes = append(nodes, n)
		free := slices.Repeat([]float64{cores}, steps)
		for work, tries := 0.0, 0; work < load*cores*steps && tries < 3000; tries++ {
			size, length := float64(int(1)<<rnd.IntN(5)), 1+rnd.IntN(48)
			if tries > 1000 {
				length = 1 + rnd.IntN(12)
			}
			if length >= 6 && rnd.IntN(2) == 0 {
				length = length / 6 * 6 // full hours
			}
			at := rnd.IntN(steps - length + 1)
			if slices.Min(free[at:at+length]) < size {
				continue
			}
			for k := range length {
				free[at+k] -= size
			}
			work += size * float64(length)
			j := testJob(fmt.Sprint("j", i, "-", tries), 0, time.Duration(length)*grain, size)
			start := time.Duration(at) * grain
			j.Deadline = start + j.Duration*11/10 + slack/10 + time.Duration(0.9*rnd.Float64()*float64(slack))
			if !atStart {
				j.Arrival = max(0, start-time.Duration(12*rnd.Float64()*float64(time.Hour)))
			}
			jobs = append(jobs, j)
		}
	}
	slices.SortStableFunc(jobs, func(a, b Job) int {
		return cmp.Or(cmp.Compare(a.Arrival, b.Arrival), cmp.Compare(a.Deadline-a.Duration, b.Deadline-b.Duration))
	})
	return nodes, jobs
}

// TestFeasibleDeadlines: where all deadlines can be met all are, though the clean hours are few and the room of the servers is scattered; that is so for what is known from the start. What
// comes later may need room that is taken, but then no more are late than if all begins at once, those first that must, and fewer in all.
func TestFeasibleDeadlines(t *testing.T) {
	x, y := make([]float64, 96), make([]float64, 96)
	for k := range x {
		x[k], y[k] = 300+250*math.Sin(2*math.Pi*float64(k)/24), 250+200*math.Sin(2*math.Pi*float64(k+7)/24)
	}
	sites := []Site{{Name: "x", Intensity: x}, {Name: "y", Intensity: y}}
	late, lateAtOnce, all := 0, 0, 0
	var planned, atOnce float64
	for _, load := range []float64{0.5, 0.7, 0.85} {
		for _, slack := range []time.Duration{2 * time.Hour, 8 * time.Hour} {
			for seed := range uint64(4) {
				for _, atStart := range []bool{true, false} {
					rnd := rand.New(rand.NewPCG(seed, uint64(100*load)))
					nodes, jobs := feasible(t, rnd, load, slack, atStart)
					c := Config{Nodes: nodes, Lifetimes: Told, Uses: Told, Window: 10_000, Sites: sites, SwitchOff: seed%4 == 3}
					missed := func(s batch.Strategy) (int, float64) {
						c.Strategy = s
						r := run(t, c, jobs...)
						return r.Missed, r.Sites[0].Grams + r.Sites[1].Grams
					}
					n, g := missed(clean(t, "spacetime", foretold{"x": x, "y": y}))
					m, h := missed(strategy(t, "fcfs"))
					if atStart && n > 0 || n > m {
						t.Errorf("load %v, slack %v, seed %d, known from the start %v: %d of %d are late, %d with all at once", load, slack, seed, atStart, n, len(jobs), m)
					}
					late, lateAtOnce, all, planned, atOnce = late+n, lateAtOnce+m, all+len(jobs), planned+g, atOnce+h
				}
			}
		}
	}
	t.Logf("%d of %d jobs are late, %d with all at once; %.0f g and %.0f g", late, all, lateAtOnce, planned, atOnce)
	if planned > 0.9*atOnce {
		t.Errorf("%.0f g, and %.0f g with all at once: for so little nothing needs a plan", planned, atOnce)
	}
}
