package spacetime_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// random returns a problem in which a hidden plan places every job in time. Each site's capacity is the same in all slots: what this plan
// needs in its busiest one, and some spare.
func random(r *rand.Rand, sites, slots, jobs int, spare float64, suspend bool) spacetime.Problem {
	p := spacetime.Problem{}
	for s := range sites {
		site := spacetime.Site{Name: fmt.Sprint("site", s), Capacity: make([]float64, slots), Cost: make([]float64, slots)}
		phase, mean := r.Float64()*2*math.Pi, 50+400*r.Float64()
		for t := range slots {
			site.Cost[t] = mean*(1+0.6*math.Sin(phase+2*math.Pi*float64(t)/24)) + 20*r.Float64()
		}
		p.Sites = append(p.Sites, site)
	}
	for i := range jobs {
		j := spacetime.Job{Name: fmt.Sprint("job", i), Size: float64(1 + r.IntN(8)), Length: 1 + r.IntN(min(6, slots)), Suspend: suspend && r.IntN(3) == 0}
		s, start := r.IntN(sites), r.IntN(slots-j.Length+1)
		j.Earliest = max(0, start-r.IntN(slots))
		j.Latest = min(slots-j.Length, start+r.IntN(slots))
		for t := start; t < start+j.Length; t++ {
			p.Sites[s].Capacity[t] += j.Size
		}
		for range sites {
			j.Energy = append(j.Energy, j.Size*(0.005+0.01*r.Float64()))
		}
		p.Jobs = append(p.Jobs, j)
	}
	for s := range p.Sites {
		most := slices.Max(p.Sites[s].Capacity)
		for t := range p.Sites[s].Capacity {
			p.Sites[s].Capacity[t] = most * (1 + spare)
		}
	}
	return p
}

// cut has half of the jobs take a part of their last slot only.
func cut(r *rand.Rand, p *spacetime.Problem) {
	for i := range p.Jobs {
		if r.IntN(2) == 0 {
			p.Jobs[i].Last = 0.1 + 0.9*r.Float64()
		}
	}
}

// share is what a job takes of one of its slots.
func share(j *spacetime.Job, last bool) float64 {
	if !last || j.Last == 0 || j.Suspend && j.Length > 1 {
		return 1
	}
	return j.Last
}

// check verifies what a plan says of itself: windows, capacities, costs, and the bound.
func check(t *testing.T, p spacetime.Problem, plan *spacetime.Plan) {
	t.Helper()
	used := make([][]float64, len(p.Sites))
	for s := range used {
		used[s] = make([]float64, len(p.Sites[s].Capacity))
	}
	total, late, unplaced := 0.0, 0, 0
	for i, pl := range plan.Placements {
		j := p.Jobs[i]
		if pl.Site < 0 {
			unplaced++
			continue
		}
		slots := pl.Slots
		if slots == nil {
			for k := range j.Length {
				slots = append(slots, pl.Start+k)
			}
		} else if !j.Suspend {
			t.Errorf("%s is suspended, and may not be", j.Name)
		}
		if len(slots) != j.Length || !slices.IsSorted(slots) || len(slices.Compact(slices.Clone(slots))) != j.Length {
			t.Errorf("%s runs in slots %v, want %d different ones in order", j.Name, slots, j.Length)
		}
		if slots[0] < j.Earliest {
			t.Errorf("%s starts at %d, before %d", j.Name, slots[0], j.Earliest)
		}
		if isLate := slots[len(slots)-1] >= j.Latest+j.Length; isLate != pl.Late {
			t.Errorf("%s ends at %d, latest %d, but late is %v", j.Name, slots[len(slots)-1]+1, j.Latest+j.Length, pl.Late)
		} else if isLate {
			late++
		}
		cost := 0.0
		for _, k := range slots {
			part := share(&j, k == slots[len(slots)-1])
			used[pl.Site][k] += j.Size * part
			cost += j.Energy[pl.Site] * p.Sites[pl.Site].Cost[k] * part
		}
		if !math.IsNaN(cost) && math.Abs(cost-pl.Cost) > 1e-9*(1+math.Abs(cost)) {
			t.Errorf("%s costs %v, says %v", j.Name, cost, pl.Cost)
		}
		total += pl.Cost
	}
	for s := range used {
		for k := range used[s] {
			if c := p.Sites[s].Capacity[k]; used[s][k] > c*(1+1e-6)+1e-6 {
				t.Errorf("site %d, slot %d: %v used of %v", s, k, used[s][k], c)
			}
		}
	}
	if math.Abs(total-plan.Cost) > 1e-6*(1+math.Abs(total)) || late != plan.Late || unplaced != plan.Unplaced {
		t.Errorf("plan says cost %v, late %d, unplaced %d; it is %v, %d, %d", plan.Cost, plan.Late, plan.Unplaced, total, late, unplaced)
	}
	if plan.Bound > plan.Cost+1e-6*(1+math.Abs(plan.Cost)) {
		t.Errorf("bound %v is above the plan's own cost %v", plan.Bound, plan.Cost)
	}
}

// optimum tries every placement of jobs that run in one piece; +Inf if not all can be placed in time.
func optimum(p spacetime.Problem, i int, free [][]float64) float64 {
	if i == len(p.Jobs) {
		return 0
	}
	j := p.Jobs[i]
	best := math.Inf(1)
	for s := range p.Sites {
		for t := j.Earliest; t <= min(j.Latest, len(free[s])-j.Length); t++ {
			cost, fits := 0.0, true
			for k := t; k < t+j.Length; k++ {
				part := share(&j, k == t+j.Length-1)
				cost += j.Energy[s] * p.Sites[s].Cost[k] * part
				fits = fits && free[s][k] >= j.Size*part-1e-9
			}
			if !fits {
				continue
			}
			for k := t; k < t+j.Length; k++ {
				free[s][k] -= j.Size * share(&j, k == t+j.Length-1)
			}
			best = min(best, cost+optimum(p, i+1, free))
			for k := t; k < t+j.Length; k++ {
				free[s][k] += j.Size * share(&j, k == t+j.Length-1)
			}
		}
	}
	return best
}

// On small cases the plan is within 3 % of the best in the mean, and the bound never above the best.
func TestAgainstExhaustiveSearch(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	sum, quick, n := 0.0, 0.0, 0
	for k := range 300 {
		p := random(r, 1+r.IntN(2), 6+r.IntN(4), 2+r.IntN(3), r.Float64(), false)
		if k%2 == 1 {
			cut(r, &p)
		}
		free := make([][]float64, len(p.Sites))
		for s := range free {
			free[s] = slices.Clone(p.Sites[s].Capacity)
		}
		best := optimum(p, 0, free)
		plan, err := spacetime.Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		check(t, p, plan)
		if plan.Unplaced+plan.Late > 0 {
			t.Fatalf("%d late and %d unplaced, though the best plan has none", plan.Late, plan.Unplaced)
		}
		if plan.Bound > best+1e-9*(1+best) {
			t.Fatalf("bound %v is above the optimum %v", plan.Bound, best)
		}
		sum += plan.Cost / best
		n++
		if plan.Cost > 1.15*best {
			t.Errorf("plan costs %v, the best %v", plan.Cost, best)
		}
		p.Quick = true
		if plan, err = spacetime.Solve(p); err != nil {
			t.Fatal(err)
		}
		check(t, p, plan)
		if plan.Unplaced+plan.Late > 0 || plan.Bound > best+1e-9*(1+best) {
			t.Fatalf("quick: %d late, %d unplaced, bound %v, optimum %v", plan.Late, plan.Unplaced, plan.Bound, best)
		}
		quick += plan.Cost / best
	}
	if mean := sum / float64(n); mean > 1.03 {
		t.Errorf("plans cost %.4f of the best in the mean, want at most 1.03", mean)
	} else {
		t.Logf("plans cost %.4f of the best in the mean of %d, quick ones %.4f", mean, n, quick/float64(n))
	}
	if mean := quick / float64(n); mean > 1.05 {
		t.Errorf("quick plans cost %.4f of the best in the mean, want at most 1.05", mean)
	}
}

// Where a plan in time exists, one is found, even where that plan leaves nothing free in its busiest slot.
func TestDeadlinesAreMetWhenTheyCanBe(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 1))
	cases := 40
	if testing.Short() {
		cases = 5
	}
	for _, spare := range []float64{0, 0.1, 0.5} {
		for k := range cases {
			p := random(r, 1+r.IntN(5), 12+r.IntN(60), 5+r.IntN(60), spare, true)
			if k%2 == 1 {
				cut(r, &p)
			}
			plan, err := spacetime.Solve(p)
			if err != nil {
				t.Fatal(err)
			}
			check(t, p, plan)
			if plan.Late+plan.Unplaced > 0 {
				t.Errorf("spare %v: %d late, %d unplaced of %d jobs", spare, plan.Late, plan.Unplaced, len(p.Jobs))
			}
		}
	}
}

// Work is never lost: what finds no room in time is placed late; only what fits nowhere is not placed at all.
func TestLateIsNotLost(t *testing.T) {
	p := spacetime.Problem{
		Sites: []spacetime.Site{{Name: "s", Capacity: []float64{1, 1, 1, 1}, Cost: []float64{5, 4, 3, 2}}},
		Jobs: []spacetime.Job{
			{Name: "a", Size: 1, Length: 2, Latest: 0, Energy: []float64{1}},
			{Name: "b", Size: 1, Length: 2, Latest: 1, Energy: []float64{1}},
			{Name: "past", Size: 0, Length: 1, Latest: -3, Energy: []float64{1}},
			{Name: "giant", Size: 2, Length: 1, Latest: 3, Energy: []float64{1}},
			{Name: "nowhere", Size: 1, Length: 1, Latest: 3, Energy: []float64{math.Inf(1)}},
		},
	}
	p.Jobs[2].Size = 1e-12 // hardly anything
	plan, err := spacetime.Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	for i, want := range []spacetime.Placement{{Site: 0, Start: 0, Cost: 9}, {Site: 0, Start: 2, Cost: 5, Late: true}} {
		if got := plan.Placements[i]; got.Site != want.Site || got.Start != want.Start || got.Late != want.Late {
			t.Errorf("%s: %+v, want %+v", p.Jobs[i].Name, got, want)
		}
	}
	if plan.Placements[3].Site >= 0 || plan.Placements[4].Site >= 0 || plan.Unplaced < 2 {
		t.Errorf("what fits nowhere was placed: %+v", plan.Placements)
	}
}

// Without any forecast work is not held: it starts at once. A gap is neutral.
// TestRoomForWhatIsExpected: a job leaves the cleanest slot to work that has not come yet where that could only run at a worse time, and takes it where it could not.
func TestRoomForWhatIsExpected(t *testing.T) {
	for want, next := range map[int]float64{0: 200, 1: 95} {
		p := spacetime.Problem{Sites: []spacetime.Site{{Name: "a", Capacity: []float64{4, 4, 4}, Cost: []float64{100, 50, next}}},
			Jobs: []spacetime.Job{{Name: "here", Size: 4, Length: 1, Latest: 1, Energy: []float64{1}}}}
		for range 4 {
			p.Expected = append(p.Expected, spacetime.Job{Size: 1, Length: 1, Earliest: 1, Latest: 2, Energy: []float64{0.25}})
		}
		plan, err := spacetime.Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		if len(plan.Placements) != 1 || plan.Placements[0].Start != want || plan.Cost != p.Sites[0].Cost[want] || plan.Bound == plan.Bound {
			t.Errorf("then %v: %+v, want the job in slot %d", next, plan, want)
		}
		check(t, p, plan)
	}
}

// TestExpectedNeverMakesLate: far more work than there is room for is expected, and no job is late that need not be.
func TestExpectedNeverMakesLate(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	for range 60 {
		p := random(r, 1+r.IntN(3), 12+r.IntN(24), 20+r.IntN(40), 0.2, false)
		for t := range p.Sites[0].Capacity {
			for range 6 {
				e := spacetime.Job{Name: "expected", Size: 0.5 + 9*r.Float64(), Length: 1 + r.IntN(3), Last: r.Float64(), Earliest: t, Latest: t + r.IntN(12)}
				for range p.Sites {
					e.Energy = append(e.Energy, e.Size*0.01)
				}
				p.Expected = append(p.Expected, e)
			}
		}
		plan, err := spacetime.Solve(p)
		if err != nil {
			t.Fatal(err)
		}
		check(t, p, plan)
		if plan.Late+plan.Unplaced > 0 {
			t.Errorf("%d late and %d unplaced of %d beside %d expected", plan.Late, plan.Unplaced, len(p.Jobs), len(p.Expected))
		}
	}
}

// TestLastSlotIsShared: jobs that take half of a slot share it, and one of two slots leaves half of its second to another.
func TestLastSlotIsShared(t *testing.T) {
	p := spacetime.Problem{
		Sites: []spacetime.Site{{Name: "s", Capacity: []float64{1, 1, 1, 1}, Cost: []float64{9, 8, 1, 9}}},
		Jobs: []spacetime.Job{
			{Name: "a", Size: 1, Length: 1, Last: 0.5, Latest: 3, Energy: []float64{1}},
			{Name: "b", Size: 1, Length: 2, Last: 0.5, Latest: 2, Energy: []float64{1}},
		},
	}
	plan, err := spacetime.Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	if check(t, p, plan); plan.Placements[0].Start != 2 || plan.Placements[1].Start != 1 {
		t.Errorf("%+v, want a in slot 2 and b in slots 1 and 2", plan.Placements)
	}
}

func TestUnknownIsNeutral(t *testing.T) {
	nan := math.NaN()
	p := spacetime.Problem{
		Sites: []spacetime.Site{{Name: "s", Capacity: []float64{9, 9, 9, 9}, Cost: []float64{nan, nan, nan, nan}}},
		Jobs:  []spacetime.Job{{Name: "j", Size: 1, Length: 1, Latest: 3, Energy: []float64{1}}},
	}
	plan, err := spacetime.Solve(p)
	if err != nil || plan.Placements[0].Start != 0 {
		t.Errorf("without a forecast the job starts at %d (error %v), want at once", plan.Placements[0].Start, err)
	}
	p.Sites[0].Cost = []float64{300, nan, 100, 200}
	if plan, err = spacetime.Solve(p); err != nil || plan.Placements[0].Start != 2 {
		t.Errorf("the job starts at %d (error %v), want at 2, which is known to be cheapest", plan.Placements[0].Start, err)
	}
}

func TestBadProblems(t *testing.T) {
	site := spacetime.Site{Name: "s", Capacity: []float64{1}, Cost: []float64{1}}
	job := spacetime.Job{Name: "j", Size: 1, Length: 1, Energy: []float64{1}}
	for want, change := range map[string]func(*spacetime.Site, *spacetime.Job){
		"site \"s\": 2 costs":                 func(s *spacetime.Site, _ *spacetime.Job) { s.Cost = []float64{1, 2} },
		"site \"s\", slot 0: capacity is NaN": func(s *spacetime.Site, _ *spacetime.Job) { s.Capacity = []float64{math.NaN()} },
		"site \"s\", slot 0: cost is +Inf":    func(s *spacetime.Site, _ *spacetime.Job) { s.Cost = []float64{math.Inf(1)} },
		"job \"j\": size is NaN":              func(_ *spacetime.Site, j *spacetime.Job) { j.Size = math.NaN() },
		"job \"j\": length is 0":              func(_ *spacetime.Site, j *spacetime.Job) { j.Length = 0 },
		"job \"j\": takes 1.5 of its last":    func(_ *spacetime.Site, j *spacetime.Job) { j.Last = 1.5 },
		"job \"j\": may start from slot -1":   func(_ *spacetime.Site, j *spacetime.Job) { j.Earliest = -1 },
		"job \"j\": energy at 0 sites":        func(_ *spacetime.Site, j *spacetime.Job) { j.Energy = nil },
		"job \"j\": energy at site \"s\"":     func(_ *spacetime.Site, j *spacetime.Job) { j.Energy = []float64{-1} },
	} {
		s, j := site, job
		change(&s, &j)
		if _, err := spacetime.Solve(spacetime.Problem{Sites: []spacetime.Site{s}, Jobs: []spacetime.Job{j}}); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("error is %v, want it to begin with %s", err, want)
		}
	}
}

func TestSolveIsDeterministic(t *testing.T) {
	p := random(rand.New(rand.NewPCG(3, 1)), 3, 48, 40, 0.3, true)
	a, err := spacetime.Solve(p)
	if err != nil {
		t.Fatal(err)
	}
	b, err := spacetime.Solve(p)
	if err != nil || fmt.Sprint(a) != fmt.Sprint(b) {
		t.Errorf("two solutions of one problem differ (error %v)", err)
	}
}

func FuzzSolve(f *testing.F) {
	f.Add(uint64(1), 3.0, 100.0, 2)
	f.Fuzz(func(t *testing.T, seed uint64, capacity, cost float64, latest int) {
		p := random(rand.New(rand.NewPCG(seed, 0)), 2, 12, 6, 0.2, true)
		p.Sites[0].Capacity[3], p.Sites[1].Cost[5], p.Jobs[0].Latest = capacity, cost, latest
		plan, err := spacetime.Solve(p)
		if err == nil && math.Abs(cost) < 1e12 {
			check(t, p, plan)
		}
	})
}

func BenchmarkSolve1000Jobs10Sites96Slots(b *testing.B) {
	p := random(rand.New(rand.NewPCG(4, 1)), 10, 96, 1000, 0.3, false)
	full, err := spacetime.Solve(p)
	if err != nil {
		b.Fatal(err)
	}
	for _, p.Quick = range []bool{false, true} {
		b.Run(fmt.Sprint("quick=", p.Quick), func(b *testing.B) {
			for b.Loop() {
				plan, err := spacetime.Solve(p)
				if err != nil {
					b.Fatal(err)
				}
				b.ReportMetric(plan.Cost/full.Bound, "cost/bound")
			}
		})
	}
}

// BenchmarkSolveExpected plans the jobs of one site beside work that is expected, and reports the time by that of a plan in which this work has come: what is
// expected should take part in a plan as cheaply as jobs do.
func BenchmarkSolveExpected(b *testing.B) {
	r := rand.New(rand.NewPCG(9, 1))
	p := random(r, 1, 96, 300, 0.1, false)
	cut(r, &p)
	come := p
	p.Jobs, p.Expected = p.Jobs[:100], p.Jobs[100:]
	var took [2]time.Duration
	for b.Loop() {
		for k, p := range []spacetime.Problem{p, come} {
			began := time.Now()
			if _, err := spacetime.Solve(p); err != nil {
				b.Fatal(err)
			}
			took[k] += time.Since(began)
		}
	}
	b.ReportMetric(took[0].Seconds()/took[1].Seconds(), "expected/come")
}

func ExampleSolve() {
	problem := spacetime.Problem{
		Sites: []spacetime.Site{
			{Name: "here", Capacity: []float64{8, 8, 8, 8}, Cost: []float64{300, 250, 120, 280}},
			{Name: "there", Capacity: []float64{2, 2, 2, 2}, Cost: []float64{90, 80, 100, 110}},
		},
		Jobs: []spacetime.Job{
			{Name: "report", Size: 2, Length: 1, Latest: 3, Energy: []float64{0.02, 0.02}},
			{Name: "training", Size: 4, Length: 1, Latest: 3, Energy: []float64{0.5, 0.5}},
		},
	}
	plan, err := spacetime.Solve(problem)
	if err != nil {
		panic(err)
	}
	for i, p := range plan.Placements {
		fmt.Printf("%s: %s, hour %d, %.1f g\n", problem.Jobs[i].Name, problem.Sites[p.Site].Name, p.Start, p.Cost)
	}
	// Output:
	// report: there, hour 1, 1.6 g
	// training: here, hour 2, 60.0 g
}
