package main

import (
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/examples/internal/gridsource"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// BenchmarkShare runs the demonstration's grids and machines for days, with more work than its clean hours hold, and reports the share of the saving of the same
// planner that knows all jobs and intensities beforehand.
func BenchmarkShare(b *testing.B) {
	for _, perDay := range []int{100, 200, 300} {
		b.Run(fmt.Sprint(perDay), func(b *testing.B) {
			share, grams, held := 0.0, 0.0, 0.0
			for k := range b.N {
				s := stream(b, perDay, uint64(k))
				if s.Late > 0 || s.Done != s.Jobs {
					b.Errorf("%d of %d done, %d late", s.Done, s.Jobs, s.Late)
				}
				share, grams, held = share+s.OracleShare, grams+s.Grams, held+s.MeanHeldSecs/3600
			}
			b.ReportMetric(100*share/float64(b.N), "%-of-oracle")
			b.ReportMetric(grams/1000/float64(b.N), "kg")
			b.ReportMetric(held/float64(b.N), "h-held")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// stream runs five days of jobs through an engine, on a clock that is set.
func stream(t testing.TB, perDay int, seed uint64) summary {
	const days = 5
	rnd := rand.New(rand.NewPCG(seed, 77))
	now := demoStart
	clock := func() time.Time { return now }
	truth, err := demoGrid(clock)
	if err != nil {
		t.Fatal(err)
	}
	feed, err := gridsource.Over(gridsource.Honest{HistorySource: truth}, gridsource.Options{Zones: truth.Zones(), Now: clock, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	store, ctx, stop := runStore(t)
	defer stop()
	o := &options{margin: 1.2}
	if o.machines, o.places, err = demoMachines(); err != nil {
		t.Fatal(err)
	}
	fleet, err := newFleet(ctx, o.machines, o.places)
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(ctx, store, fleet, feed, SpaceTime, EngineOptions{Now: clock, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		t.Fatal(err)
	}
	var submit []time.Duration
	for range perDay * days {
		submit = append(submit, time.Duration(rnd.Float64()*days*24*float64(time.Hour)))
	}
	slices.Sort(submit)
	var strategy batch.Strategy
	sent := 0
	for step := 0; sent < len(submit) || len(e.queue)+len(e.active) > 0; step++ {
		now = demoStart.Add(time.Duration(step) * 5 * time.Minute)
		if step%12 == 0 {
			if err := feed.Refresh(ctx); err != nil {
				t.Fatal(err)
			}
			e.Look(ctx)
		}
		var jobs []*Job
		for ; sent < len(submit) && !demoStart.Add(submit[sent]).After(now); sent++ {
			d := time.Duration((0.25 + 4.75*rnd.Float64()*rnd.Float64()) * float64(time.Hour)).Truncate(time.Minute)
			w := wireJob{ID: fmt.Sprint("j", sent), CPU: float64(int(2) << rnd.IntN(4)), MemoryGiB: 4, Seconds: d.Seconds(), Deadline: new(now.Add(time.Duration((6+24*rnd.Float64())*float64(time.Hour)) + times(d, 1.2)))}
			j, err := w.accept(now)
			if err != nil {
				t.Fatal(err)
			}
			jobs = append(jobs, j)
		}
		if len(jobs) > 0 {
			if _, err := e.Accept(ctx, jobs); err != nil {
				t.Fatal(err)
			}
		}
		e.planTook, e.searched = 0, time.Time{}
		if err := e.step(ctx, &strategy); err != nil {
			t.Fatal(err)
		}
	}
	done, err := store.List(ctx, Done, "", len(submit))
	if err != nil {
		t.Fatal(err)
	}
	s := summary{Jobs: len(submit), Done: len(done)}
	if err := s.compare(done, o, truth); err != nil {
		t.Fatal(err)
	}
	return s
}
