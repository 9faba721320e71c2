package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// broken is a provider with every fault: away, null, a gap, an hour twice, absurd values, a short forecast, another zone's data.
type broken struct {
	mu   sync.Mutex
	rnd  *rand.Rand // guarded by mu
	mode int
}

const brokenModes = 9

func (b *broken) Signal() grid.Signal { return grid.AverageLifeCycle }

func (b *broken) Current(context.Context, string) (grid.Point, error) {
	return grid.Point{}, grid.ErrUnknown
}

func (b *broken) Forecast(_ context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var ps []grid.Point
	for at := from.Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.AverageLifeCycle, Start: at, End: at.Add(time.Hour), Value: 100 + 400*b.rnd.Float64(), Forecast: true, Source: "test"})
	}
	i := b.rnd.IntN(len(ps))
	switch b.mode {
	case 1:
		return nil, errors.New("away")
	case 2:
		return nil, fmt.Errorf("null: %w", grid.ErrUnknown)
	case 3:
		return append(ps[:i:i], ps[min(i+7, len(ps)):]...), nil
	case 4:
		return append(append(ps[:i+1:i+1], ps[i]), ps[i+1:]...), nil
	case 5:
		ps[i].Value = []float64{0, -5, 1e9, math.NaN()}[b.rnd.IntN(4)]
	case 6:
		return ps[:min(len(ps), 2)], nil
	case 7:
		ps[i].Zone = "elsewhere"
	case 8:
		return nil, nil
	}
	return ps, nil
}

// Whatever the provider does, every job ends, and none starts after its latest start while there is room; without a forecast none is held.
func TestNeverHeldBeyondLatestStart(t *testing.T) {
	for seed := range uint64(12) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		now := noon
		source := &broken{rnd: rnd, mode: int(seed) % brokenModes}
		store, ctx, stop := runStore(t)
		fleet, err := newFleet(ctx, testMachines(t, 8), nil)
		if err != nil {
			t.Fatal(err)
		}
		open := func() *Engine {
			e, err := newEngine(ctx, store, fleet, source, SpaceTime, EngineOptions{Now: func() time.Time { return now }, Slack: 10 * time.Hour, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
			if err != nil {
				t.Fatal(err)
			}
			return e
		}
		e := open()
		var strategy batch.Strategy
		const step = 5 * time.Minute
		const n = 60
		for i, steps := 0, 0; steps < 60*12; steps++ {
			if i < n && rnd.IntN(3) == 0 {
				j := &Job{ID: fmt.Sprint("j", i), CPU: 0.5 + rnd.Float64(), Memory: 1 << 30, Duration: time.Duration(1+rnd.IntN(180)) * time.Minute, Submitted: now, State: Queued, Grams: math.NaN()}
				j.Suspendable = rnd.IntN(2) == 0
				if rnd.IntN(3) > 0 {
					j.Deadline = now.Add(time.Duration(rnd.IntN(30)-3) * time.Hour) // some lie in the past
				}
				if _, err := e.Accept(ctx, []*Job{j}); err != nil {
					t.Fatal(err)
				}
				i++
			}
			if rnd.IntN(40) == 0 {
				source.mode = rnd.IntN(brokenModes)
			}
			if steps%6 == 0 {
				e.Look(ctx)
			}
			if rnd.IntN(100) == 0 { // a restart forgets the plan and the outlook
				fleet, err = newFleet(ctx, testMachines(t, 8), nil)
				if err != nil {
					t.Fatal(err)
				}
				e = open()
			}
			e.planTook = 0
			e.searched = time.Time{}
			if err := e.step(ctx, &strategy); err != nil {
				t.Fatal(err)
			}
			now = now.Add(step)
		}
		jobs, err := store.List(ctx, "", "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range jobs {
			if j.State != Done {
				t.Errorf("seed %d: job %s is %s", seed, j.ID, j.State)
				continue
			}
			must := j.due(1.2, 10*time.Hour).Add(-times(j.Duration, 1.2))
			if must.Before(j.Submitted) {
				must = j.Submitted
			}
			if j.Started.After(must.Add(step)) {
				t.Errorf("seed %d: job %s started %v after its latest start", seed, j.ID, j.Started.Sub(must))
			}
			end := must.Add(times(j.Duration, 1.2)) // what margin there is covers a step lost at each resumption
			if loss := step * time.Duration(len(j.Ran)+1); j.Ended.After(end.Add(loss)) {
				t.Errorf("seed %d: job %s ended %v too late, with %d suspensions", seed, j.ID, j.Ended.Sub(end), len(j.Ran))
			}
			checkStretches(t, j)
		}
		if len(jobs) != n {
			t.Errorf("seed %d: %d of %d jobs", seed, len(jobs), n)
		}
		stop()
	}
}

// Every strategy by its name runs jobs to their end, those that delay too.
func TestEveryStrategy(t *testing.T) {
	for _, name := range strategies() {
		now := noon
		store, ctx, stop := runStore(t)
		fleet, err := newFleet(ctx, testMachines(t, 4), nil)
		if err != nil {
			t.Fatal(err)
		}
		e, err := newEngine(ctx, store, fleet, &broken{rnd: rand.New(rand.NewPCG(1, 1))}, name, EngineOptions{Now: func() time.Time { return now }})
		if err != nil {
			t.Fatal(err)
		}
		e.Look(ctx)
		jobs := make([]*Job, 20)
		for i := range jobs {
			jobs[i] = &Job{ID: fmt.Sprint("j", i), CPU: 1, Duration: time.Hour, Submitted: now, Deadline: now.Add(20 * time.Hour), State: Queued, Grams: math.NaN()}
		}
		if _, err := e.Accept(ctx, jobs); err != nil {
			t.Fatal(err)
		}
		var strategy batch.Strategy
		for range 24 * 12 {
			e.planTook = 0
			if err := e.step(ctx, &strategy); err != nil {
				t.Fatal(err)
			}
			now = now.Add(5 * time.Minute)
		}
		for _, k := range e.status().ByStrategy {
			if k.Strategy != name || k.Jobs != len(jobs) || k.Turnaround > (20*time.Hour).Seconds() {
				t.Errorf("%s: %+v", name, k)
			}
		}
		if s := e.status(); s.Done != len(jobs) {
			t.Errorf("%s: %d of %d jobs done", name, s.Done, len(jobs))
		}
		stop()
	}
}

// Without any forecast a job with days of slack starts at once.
func TestNotHeldWithoutForecast(t *testing.T) {
	fleet, err := newFleet(t.Context(), testMachines(t, 2), nil)
	if err != nil {
		t.Fatal(err)
	}
	j := &Job{ID: "a", CPU: 1, Duration: time.Hour, Submitted: noon, Deadline: noon.Add(72 * time.Hour)}
	starts, err := planJobs(noon, []*Job{j}, fleet, nil, func(j *Job) time.Time { return j.latest(noon, 1.2, 0) }, nil)
	if err != nil || !starts["a"].at.Equal(noon) {
		t.Errorf("planned for %v, %v", starts["a"].at, err)
	}
}

// The database waits for the disk at every commit.
func TestDurability(t *testing.T) {
	store, err := openStore(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	var mode string
	var level int
	if err := store.db.QueryRowContext(t.Context(), "PRAGMA journal_mode").Scan(&mode); err != nil {
		t.Fatal(err)
	}
	if err := store.db.QueryRowContext(t.Context(), "PRAGMA synchronous").Scan(&level); err != nil || level != 2 || mode != "wal" {
		t.Errorf("synchronous is %d (%v), journal %s: want FULL and wal", level, err, mode)
	}
}

// even is a grid that is the same at all times and in every zone.
type even struct{ value float64 }

func (even) Signal() grid.Signal { return grid.AverageLifeCycle }

func (v even) Current(_ context.Context, zone string) (grid.Point, error) {
	ps, err := v.Forecast(context.Background(), zone, time.Now(), time.Now().Add(time.Second))
	return ps[0], err
}

func (v even) Forecast(_ context.Context, zone string, from, until time.Time) (ps []grid.Point, err error) {
	for at := from.UTC().Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.AverageLifeCycle, Start: at, End: at.Add(time.Hour), Value: v.value, Source: "test"})
	}
	return ps, nil
}

// Under a strategy that delays, too, a job starts at its latest start to the step, however short it is, and although thousands are held that came
// before it.
func TestDelayEndsAtTheLatestStart(t *testing.T) {
	for name, others := range map[string]int{"alone": 0, "behind many": most + 10} {
		t.Run(name, func(t *testing.T) {
			now := noon
			store, ctx, stop := runStore(t)
			defer stop()
			fleet, err := newFleet(ctx, testMachines(t, 2), nil)
			if err != nil {
				t.Fatal(err)
			}
			e, err := newEngine(ctx, store, fleet, dirtyNow{func() time.Time { return now }}, "threshold", EngineOptions{Now: func() time.Time { return now }})
			if err != nil {
				t.Fatal(err)
			}
			e.Look(ctx)
			job := func(id string, d, within time.Duration) *Job {
				return &Job{ID: id, CPU: 1, Duration: d, Submitted: now, Deadline: now.Add(within), State: Queued, Grams: math.NaN(), AtOnce: math.NaN()}
			}
			var jobs []*Job
			for i := range others {
				jobs = append(jobs, job(fmt.Sprint("o", i), time.Hour, 90*time.Hour))
			}
			short := job("short", 20*time.Second, 10*time.Minute) // at the latest 36 s after 9 minutes
			if _, err := e.Accept(ctx, append(jobs, short)); err != nil {
				t.Fatal(err)
			}
			var strategy batch.Strategy
			latest := e.latest(short)
			for ; !now.After(noon.Add(10 * time.Minute)); now = now.Add(time.Second) {
				if err := e.step(ctx, &strategy); err != nil {
					t.Fatal(err)
				}
				if short.State != Queued {
					break
				}
			}
			if short.Started.Before(latest) || short.Started.Sub(latest) > time.Second {
				t.Errorf("it started %v after its latest start (state %s)", short.Started.Sub(latest), short.State)
			}
		})
	}
}

// dirtyNow is a grid that is dirty for a day and clean after it.
type dirtyNow struct{ now func() time.Time }

func (dirtyNow) Signal() grid.Signal { return grid.AverageLifeCycle }

func (d dirtyNow) Current(ctx context.Context, zone string) (grid.Point, error) {
	ps, err := d.Forecast(ctx, zone, d.now(), d.now().Add(time.Hour))
	return ps[0], err
}

func (dirtyNow) Forecast(_ context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	var ps []grid.Point
	for at := from.Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		v := 500.0
		if at.Sub(noon) > 12*time.Hour {
			v = 100
		}
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.AverageLifeCycle, Start: at, End: at.Add(time.Hour), Value: v, Forecast: true, Source: "test"})
	}
	return ps, nil
}

// Of several who switch the strategy at once one is the last, in memory as on the disk: a restart goes on with what was in force.
func TestSwitchedAtOnce(t *testing.T) {
	store, ctx, stop := runStore(t)
	defer stop()
	fleet, err := newFleet(ctx, testMachines(t, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	e, err := newEngine(ctx, store, fleet, nil, "fcfs", EngineOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for range 300 {
		var wg sync.WaitGroup
		for _, name := range []string{"leastwatt", "wao", "peaks", "tetris"} {
			wg.Go(func() {
				if err := e.SetStrategy(ctx, name); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if stored, err := store.Setting(ctx, "strategy"); err != nil || stored != e.Strategy() {
			t.Fatalf("%s is in force, %s on the disk (%v)", e.Strategy(), stored, err)
		}
	}
}

// Why a job starts now names the day until which now is the cleanest time, where that is another one.
func TestWhyNamesTheDay(t *testing.T) {
	b := newBench(t, even{200}, nil)
	b.accept(&Job{ID: "today", CPU: 1, Duration: time.Hour, Deadline: noon.Add(4 * time.Hour)}, &Job{ID: "later", CPU: 1, Duration: time.Hour, Deadline: noon.Add(28 * time.Hour)})
	b.until(noon.Add(time.Minute))
	for i, want := range []string{"until 14:48: ", "until 4 Jun 14:48: "} {
		if len(b.recent) != 2 || !strings.Contains(b.recent[0].Reason+b.recent[1].Reason, want) {
			t.Errorf("decision %d: %+v, want one %q", i, b.recent, want)
		}
	}
}
