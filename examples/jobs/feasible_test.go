package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// feasible puts jobs of many sizes on n machines at times of some hours, until these are full to a share, and then gives each a deadline that it meets there, so that all can be met.
// What it makes is known from the start, or some hours before it must begin.
func feasible(t testing.TB, rnd *rand.Rand, n, hours int, load float64, slack time.Duration, atStart bool) (machines []Machine, jobs []*Job) {
	t.Helper()
	const grain = 10 * time.Minute
	steps := 6 * hours
	for i := range n {
		cores := []float64{8, 16, 32}[rnd.IntN(min(n-1, 3))]
		curve, err := power.EvenPiecewise(50, power.Watts(100+20*cores*(0.8+0.4*rnd.Float64())))
		if err != nil {
			t.Fatal(err)
		}
		machines = append(machines, Machine{Name: fmt.Sprint("m", i), Site: []string{"x", "y"}[i%2], Cores: cores, Memory: 64 << 30, Curve: curve})
		free := slices.Repeat([]float64{cores}, steps)
		for work, tries := 0.0, 0; work < load*cores*float64(steps) && tries < 3000; tries++ {
			size, length := float64(int(1)<<rnd.IntN(5)), 1+rnd.IntN(steps/3)
			if tries > 1000 {
				length = 1 + rnd.IntN(steps/12)
			}
			at := rnd.IntN(steps - length + 1)
			if slices.Min(free[at:at+length]) < size {
				continue
			}
			for k := range length {
				free[at+k] -= size
			}
			work += size * float64(length)
			start := noon.Add(time.Duration(at) * grain)
			j := &Job{ID: fmt.Sprintf("j%d-%d", i, tries), CPU: size, Duration: time.Duration(length) * grain, Submitted: noon, State: Queued, Grams: math.NaN(), AtOnce: math.NaN()}
			j.Deadline = start.Add(times(j.Duration, 1.1) + slack/10 + time.Duration(0.9*rnd.Float64()*float64(slack)))
			if comes := start.Add(-time.Duration(12 * rnd.Float64() * float64(time.Hour))); !atStart && comes.After(noon) {
				j.Submitted = comes
			}
			jobs = append(jobs, j)
		}
	}
	slices.SortStableFunc(jobs, func(a, b *Job) int {
		return cmp.Or(a.Submitted.Compare(b.Submitted), a.Deadline.Add(-a.Duration).Compare(b.Deadline.Add(-b.Duration)))
	})
	return machines, jobs
}

// waves is a grid of two zones whose clean hours are few.
type waves struct{}

func (waves) Signal() grid.Signal { return grid.AverageLifeCycle }

func (waves) Current(context.Context, string) (grid.Point, error) {
	return grid.Point{}, grid.ErrUnknown
}

func (waves) Forecast(_ context.Context, zone string, from, until time.Time) (ps []grid.Point, err error) {
	for at := from.UTC().Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		h := at.Sub(noon).Hours()
		v := 300 + 250*math.Sin(2*math.Pi*h/24)
		if zone == "y" {
			v = 250 + 200*math.Sin(2*math.Pi*(h+7)/24)
		}
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.AverageLifeCycle, Start: at, End: at.Add(time.Hour), Value: v, Source: "test"})
	}
	return ps, nil
}

// missed runs jobs through an engine, on a clock that is set, and returns how many ended after their deadlines.
func missed(t testing.TB, strategy string, machines []Machine, jobs []*Job) (late int) {
	t.Helper()
	store, ctx, stop := runStore(t)
	defer stop()
	fleet, err := newFleet(ctx, slices.Clone(machines), nil)
	if err != nil {
		t.Fatal(err)
	}
	now := noon
	e, err := newEngine(ctx, store, fleet, waves{}, strategy, EngineOptions{Margin: 1.1, Now: func() time.Time { return now }, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var s batch.Strategy
	for sent := 0; sent < len(jobs) || len(e.queue)+len(e.active) > 0; now = now.Add(5 * time.Second) {
		if now.Sub(noon)%time.Hour == 0 {
			e.Look(ctx)
		}
		var come []*Job
		for ; sent < len(jobs) && !jobs[sent].Submitted.After(now); sent++ {
			come = append(come, new(*jobs[sent]))
		}
		if len(come) > 0 {
			if _, err := e.Accept(ctx, come); err != nil {
				t.Fatal(err)
			}
		}
		e.planTook, e.searched = 0, time.Time{}
		if err := e.step(ctx, &s); err != nil {
			t.Fatal(err)
		}
	}
	done, err := store.List(ctx, Done, "", len(jobs)+1)
	if err != nil {
		t.Fatal(err)
	}
	if len(done) != len(jobs) {
		t.Fatalf("%d of %d jobs are done", len(done), len(jobs))
	}
	for _, j := range done {
		if j.Ended.After(j.Deadline) {
			late++
		}
	}
	return late
}

// A sweep is what became of many jobs whose deadlines can all be met.
type sweep struct{ late, known, atOnce, all int }

// run adds jobs under the plan and with all at once, those first that must.
func (s *sweep) run(t testing.TB, seed uint64, n, hours int, load float64, slack time.Duration, atStart bool) {
	t.Helper()
	machines, jobs := feasible(t, rand.New(rand.NewPCG(seed, uint64(100*load))), n, hours, load, slack, atStart)
	late, atOnce := missed(t, SpaceTime, machines, jobs), missed(t, "fcfs", machines, jobs)
	if late > atOnce || atStart && late > 0 {
		t.Errorf("load %v, slack %v, seed %d, known from the start %v: %d of %d are late, %d with all at once", load, slack, seed, atStart, late, len(jobs), atOnce)
	}
	if s.late, s.atOnce, s.all = s.late+late, s.atOnce+atOnce, s.all+len(jobs); atStart {
		s.known += late
	}
}

// TestFeasibleDeadlines: where all deadlines can be met all are, though the clean hours are few and the room of the machines is scattered; that is so for what is known from the start. What
// comes later may need room that is taken, but then no more are late than if all begins at once, those first that must, and fewer in all.
func TestFeasibleDeadlines(t *testing.T) {
	var s sweep
	for seed := range uint64(2) {
		s.run(t, seed, 2, 12, 0.95, time.Hour, true)
		s.run(t, seed, 2, 12, 0.95, time.Hour, false)
	}
	t.Logf("%d of %d jobs are late, %d with all at once", s.late, s.all, s.atOnce)
	if s.late >= s.atOnce {
		t.Errorf("%d are late, and %d with all at once: for that nothing needs a plan", s.late, s.atOnce)
	}
}

// BenchmarkFeasible does the same with more machines over a day, and reports how many of how many jobs are late.
func BenchmarkFeasible(b *testing.B) {
	for _, load := range []float64{0.85, 0.95} {
		for _, slack := range []time.Duration{time.Hour, 4 * time.Hour} {
			b.Run(fmt.Sprintf("load=%v/slack=%v", load, slack), func(b *testing.B) {
				var s sweep
				for seed := range uint64(2 * b.N) {
					s.run(b, seed, 4, 24, load, slack, true)
					s.run(b, seed, 4, 24, load, slack, false)
				}
				b.ReportMetric(float64(s.all), "jobs")
				b.ReportMetric(float64(s.late), "late")
				b.ReportMetric(float64(s.known), "late-known")
				b.ReportMetric(float64(s.atOnce), "late-at-once")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
