package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// machineOf draws so many watts a core in full use, half of them when idle; 0 is unknown.
func machineOf(t testing.TB, name, site string, cores, perCore float64) Machine {
	t.Helper()
	m := Machine{Name: name, Site: site, Cores: cores, Memory: 128 << 30}
	if perCore > 0 {
		c, err := power.EvenPiecewise(power.Watts(perCore*cores/2), power.Watts(perCore*cores))
		if err != nil {
			t.Fatal(err)
		}
		m.Curve = c
	}
	return m
}

// The plan knows what is left in a clean hour: a job that would find only a machine there that draws twice as much starts in an hour that is dirtier by less, as
// one does that finds only machines without room for it; a job that finds more of the same waits.
func TestPlanKnowsMachines(t *testing.T) {
	for name, c := range map[string]struct {
		machines []Machine
		inFirst  int // of two jobs
	}{
		"alike":     {[]Machine{machineOf(t, "a", "x", 8, 10), machineOf(t, "b", "x", 8, 10)}, 0},
		"twice":     {[]Machine{machineOf(t, "a", "x", 8, 10), machineOf(t, "b", "x", 8, 20)}, 1},
		"too small": {[]Machine{machineOf(t, "a", "x", 8, 10), machineOf(t, "b", "x", 4, 20), machineOf(t, "c", "x", 4, 20)}, 1},
	} {
		fleet, err := newFleet(t.Context(), c.machines, nil)
		if err != nil {
			t.Fatal(err)
		}
		var jobs []*Job
		for i := range 2 {
			jobs = append(jobs, &Job{ID: fmt.Sprint(i), CPU: 6, Duration: time.Hour, Submitted: noon, Deadline: noon.Add(160 * time.Minute)})
		}
		starts, err := planJobs(noon, jobs, fleet, look(t.Context(), hoursOf(200, 150, 900, 900), fleet.sites, noon, nil), func(j *Job) time.Time { return j.latest(noon, 1.2, 0) }, nil)
		if err != nil {
			t.Fatal(err)
		}
		first := 0
		for _, s := range starts {
			if s.at.Equal(noon) {
				first++
			}
		}
		if first != c.inFirst || len(starts) != 2 {
			t.Errorf("%s: %d start in the first hour, want %d: %v", name, first, c.inFirst, starts)
		}
	}
}

// A site's tiers go from the most efficient machines to the least and then to those without a model, are at most maxTiers of known ones, and one where
// all are about alike. What is down is in none, and what runs there takes no room from the others.
func TestTiers(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 9))
	for range 200 {
		var machines []Machine
		spread := []float64{0.04, 0.3, 8}[rnd.IntN(3)]
		for i := range 1 + rnd.IntN(40) {
			m := machineOf(t, fmt.Sprint(i), []string{"x", "y"}[rnd.IntN(2)], float64(1+rnd.IntN(64)), 5*(1+spread*rnd.Float64()))
			if rnd.IntN(8) == 0 {
				m.Curve = nil
			}
			m.Down = rnd.IntN(8) == 0
			machines = append(machines, m)
		}
		f, err := newFleet(t.Context(), machines, nil)
		if err != nil {
			t.Fatal(err)
		}
		tiers := f.tiers()
		known, unknown, seen := make([]int, len(f.sites)), make([]int, len(f.sites)), make(map[int]bool)
		before, site := 0.0, -1
		for _, x := range tiers {
			if x.site != site {
				before, site = 0, x.site
			}
			least, most := math.Inf(1), 0.0
			for _, i := range x.machines {
				if seen[i] || f.machines[i].Down || f.siteOf[i] != site {
					t.Errorf("machine %d: seen %v, down %v, of site %d, in a tier of %d", i, seen[i], f.machines[i].Down, f.siteOf[i], site)
				}
				seen[i] = true
				least, most = min(least, f.machines[i].perCore()), max(most, f.machines[i].perCore())
			}
			if !(least > before) || math.IsInf(most, 1) != math.IsInf(least, 1) {
				t.Errorf("a tier of %v to %v W a core follows one of up to %v", least, most, before)
			}
			if before = most; math.IsInf(most, 1) {
				unknown[site]++
			} else {
				known[site]++
			}
		}
		for k := range f.sites {
			if known[k] > maxTiers || unknown[k] > 1 || spread < leastStep-1 && known[k] > 1 {
				t.Errorf("%d tiers and %d unknown of machines that differ by up to %v", known[k], unknown[k], spread)
			}
		}
		for i := range machines {
			if !seen[i] && !machines[i].Down {
				t.Errorf("machine %d is in no tier", i)
			}
		}
	}
	// What is unknown is no cheaper than what is known, at its site or another.
	f, err := newFleet(t.Context(), []Machine{machineOf(t, "a", "x", 8, 10), machineOf(t, "b", "x", 8, 30), machineOf(t, "c", "x", 8, 0), machineOf(t, "d", "y", 8, 0)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	tiers := f.tiers()
	for k, want := range []float64{10, 30, 30, 30} {
		if got := f.tierWatts(&tiers[k], &Job{CPU: 4}); len(tiers) != 4 || got != 4*want {
			t.Errorf("a job of 4 cores draws %v W in tier %d of %d, want %v", got, k, len(tiers), 4*want)
		}
	}
	if got := f.tierWatts(&tiers[0], &Job{CPU: 9}); !math.IsInf(got, 1) {
		t.Errorf("a job of 9 cores draws %v W on machines of 8", got)
	}
	f, err = newFleet(t.Context(), []Machine{machineOf(t, "a", "x", 8, 10), machineOf(t, "b", "x", 8, 10)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.reserve("r", 1, asBatch(&Job{ID: "r", CPU: 8, Duration: time.Hour}, noon), noon.Add(time.Hour))
	f.machines[1].Down = true // cordoned: what runs there goes on
	if got := f.capacity(f.tiers(), noon, planSlot, 1, nil)[0].Capacity[0]; got != 8 {
		t.Errorf("%v cores are free beside a machine that is cordoned, want 8", got)
	}
}

// BenchmarkPlan plans 1,000 jobs over 96 hours and ten sites, each with machines of four kinds.
func BenchmarkPlan(b *testing.B) {
	rnd := rand.New(rand.NewPCG(3, 3))
	var machines []Machine
	o := &Outlook{}
	for s := range 10 {
		for i := range 8 {
			machines = append(machines, machineOf(b, fmt.Sprintf("%d-%d", s, i), fmt.Sprint(s), 32, 6*float64(1+i%4)))
		}
		var ps []grid.Point
		for h := range 120 {
			at := noon.Add(time.Duration(h) * time.Hour)
			ps = append(ps, grid.Point{Start: at, End: at.Add(time.Hour), Value: 300 + 200*math.Sin(float64(h+s)*math.Pi/12) + 30*rnd.Float64()})
		}
		o.Points = append(o.Points, ps)
	}
	fleet, err := newFleet(b.Context(), machines, nil)
	if err != nil {
		b.Fatal(err)
	}
	var jobs []*Job
	for i := range window {
		d := time.Duration(15+rnd.IntN(1000)) * time.Minute
		jobs = append(jobs, &Job{ID: fmt.Sprint(i), CPU: float64(int(2) << rnd.IntN(4)), Duration: d, Submitted: noon, Deadline: noon.Add(96*time.Hour - time.Duration(rnd.IntN(4000))*time.Minute).Add(times(d, 0.2))})
	}
	for b.Loop() {
		starts, err := planJobs(noon, jobs, fleet, o, func(j *Job) time.Time { return j.latest(noon, 1.2, 0) }, nil)
		if err != nil || len(starts) != window {
			b.Fatal(len(starts), err)
		}
	}
}

// What is planned is carried out on the tier that it is planned for, on another machine of the site where there is no room, or later, and counted by the hours in
// which it runs and by what the machine draws for it there.
func TestCarryOut(t *testing.T) {
	o := &options{machines: []Machine{machineOf(t, "a", "x", 8, 10), machineOf(t, "b", "x", 8, 20)}, places: []Site{{Name: "x", Zone: "x", PUE: 1.5}}}
	ps, err := hoursOf(100, 200, 400).Forecast(t.Context(), "x", noon, noon.Add(3*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	real := &Outlook{Points: [][]grid.Point{ps}}
	fleet, err := newFleet(t.Context(), o.machines, o.places)
	if err != nil {
		t.Fatal(err)
	}
	tiers := fleet.tiers()
	job := func(id string, k int, hour int) piece {
		return piece{&Job{ID: id, CPU: 8, Duration: time.Hour}, &tiers[k], noon.Add(time.Duration(hour) * time.Hour), time.Hour}
	}
	for name, c := range map[string]struct {
		pieces []piece
		grams  float64
	}{
		"as planned":     {[]piece{job("a", 0, 0), job("b", 1, 0), job("c", 1, 1)}, 1.5 * (0.08*100 + 0.16*100 + 0.16*200)},
		"another":        {[]piece{job("a", 0, 0), job("b", 0, 0)}, 1.5 * (0.08*100 + 0.16*100)},
		"later":          {[]piece{job("a", 0, 0), job("b", 1, 0), job("c", 0, 0)}, 1.5 * (0.08*100 + 0.16*100 + 0.08*200)},
		"from its start": {[]piece{job("a", 0, 2), job("b", 0, 1)}, 1.5 * (0.08*400 + 0.08*200)},
	} {
		if got, err := carryOut(o, c.pieces, real); err != nil || math.Abs(got-c.grams) > 1e-9 {
			t.Errorf("%s: %v g (%v), want %v", name, got, err, c.grams)
		}
	}
	large := job("a", 0, 0)
	large.job.CPU = 9
	if _, err := carryOut(o, []piece{large}, real); err == nil {
		t.Error("a job that fits nowhere is carried out")
	}
}
