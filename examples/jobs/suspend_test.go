package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// checkStretches looks that an ended job ran as long as it is, and never twice at once.
func checkStretches(t *testing.T, j *Job) {
	t.Helper()
	var sum time.Duration
	var last time.Time
	kwh := 0.0
	for _, s := range j.stretches() {
		if s.From.Before(last) || s.Until.Before(s.From) {
			t.Errorf("job %s: stretches %+v overlap", j.ID, j.stretches())
		}
		sum, last, kwh = sum+s.Until.Sub(s.From), s.Until, kwh+s.KWh
	}
	if (sum - j.Duration).Abs() > time.Millisecond {
		t.Errorf("job %s of %v ran %v: %+v", j.ID, j.Duration, sum, j.stretches())
	}
	if math.Abs(kwh-j.KWh) > 1e-9 {
		t.Errorf("job %s: stretches of %v kWh make %v", j.ID, kwh, j.KWh)
	}
}

// hourly is a grid with a value for each hour from a time on, and the last one for ever; what was before is as the first.
type hourly struct {
	from   time.Time
	values []float64
}

func hoursOf(values ...float64) hourly { return hourly{noon, values} }

func (hourly) Signal() grid.Signal { return grid.AverageLifeCycle }

func (hourly) Current(context.Context, string) (grid.Point, error) {
	return grid.Point{}, grid.ErrUnknown
}

func (h hourly) Forecast(_ context.Context, zone string, from, until time.Time) (ps []grid.Point, err error) {
	for at := from.UTC().Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		k := min(max(int(at.Sub(h.from)/time.Hour), 0), len(h.values)-1)
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.AverageLifeCycle, Start: at, End: at.Add(time.Hour), Value: h.values[k], Source: "test"})
	}
	return ps, nil
}

func (h hourly) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	return h.Forecast(ctx, zone, from, until)
}

// A bench is an engine with a store and a clock of its own.
type bench struct {
	*Engine
	t        *testing.T
	store    *Store
	now      time.Time
	strategy batch.Strategy
	source   grid.Source
	dispatch Dispatcher
}

// runStore opens a store in a new folder and runs it until stop, with the context that ends then.
func runStore(t testing.TB) (store *Store, ctx context.Context, stop func()) {
	t.Helper()
	store, err := openStore(t.Context(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context())) // clean-ups run after the test's own has ended
	var wg sync.WaitGroup
	wg.Go(func() { store.Run(ctx) })
	return store, ctx, func() {
		cancel()
		wg.Wait()
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}

func newBench(t *testing.T, source grid.Source, dispatch func(*bench) Dispatcher) *bench {
	t.Helper()
	store, _, stop := runStore(t)
	t.Cleanup(stop)
	b := &bench{t: t, store: store, now: noon, source: source}
	if dispatch != nil {
		b.dispatch = dispatch(b)
	}
	b.restart()
	return b
}

// restart forgets all but the disk.
func (b *bench) restart() {
	b.t.Helper()
	fleet, err := newFleet(b.t.Context(), testMachines(b.t, 4), nil)
	if err != nil {
		b.t.Fatal(err)
	}
	e, err := newEngine(b.t.Context(), b.store, fleet, b.source, SpaceTime, EngineOptions{Now: func() time.Time { return b.now }, Dispatch: b.dispatch, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
	if err != nil {
		b.t.Fatal(err)
	}
	b.Engine, b.strategy = e, nil
	b.Look(b.t.Context())
}

// until steps through the time, five minutes a step.
func (b *bench) until(at time.Time) {
	b.t.Helper()
	for ; b.now.Before(at); b.now = b.now.Add(5 * time.Minute) {
		b.planTook, b.searched = 0, time.Time{}
		if b.now.Minute() == 0 {
			b.Look(b.t.Context())
		}
		if err := b.step(b.t.Context(), &b.strategy); err != nil {
			b.t.Fatal(err)
		}
	}
}

func (b *bench) accept(jobs ...*Job) {
	b.t.Helper()
	for _, j := range jobs {
		j.Submitted, j.State, j.Grams, j.AtOnce = b.now, Queued, math.NaN(), math.NaN()
	}
	if _, err := b.Accept(b.t.Context(), jobs); err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) job(id string) *Job {
	b.t.Helper()
	list, err := b.store.jobs(b.t.Context(), "SELECT "+jobColumns+" FROM jobs WHERE id = ?", id)
	if err != nil || len(list) != 1 {
		b.t.Fatalf("job %s: %d, %v", id, len(list), err)
	}
	return list[0]
}

// decided returns what was decided on a job, from the disk.
func decided(t *testing.T, db *sql.DB, id string) (actions []Action) {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), "SELECT Action FROM decisions WHERE JobID = ? ORDER BY Seq", id)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var a Action
		if err := rows.Scan(&a); err != nil {
			t.Fatal(err)
		}
		actions = append(actions, a)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return actions
}

// Two hours are clean, four dirty, then two are clean again: a job of four hours runs in the clean ones, also when the service is restarted at
// any time; one that may not be suspended runs through; the emissions are those of the hours it ran.
func TestSuspendedInDirtyHours(t *testing.T) {
	for _, crash := range []bool{false, true} {
		b := newBench(t, hoursOf(100, 100, 500, 500, 500, 500, 100, 100, 500), nil)
		b.accept(&Job{ID: "pausing", CPU: 8, Duration: 4 * time.Hour, Deadline: noon.Add(20 * time.Hour), Suspendable: true},
			&Job{ID: "whole", CPU: 8, Duration: 4 * time.Hour, Deadline: noon.Add(20 * time.Hour)})
		for h := range 14 {
			b.until(noon.Add(time.Duration(h) * time.Hour))
			if crash {
				b.restart()
			}
			want := map[int]State{1: Running, 2: Running, 3: Suspended, 5: Suspended, 6: Suspended, 7: Running, 9: Done}[h]
			if got := b.job("pausing").State; want != "" && got != want {
				t.Errorf("crash %v: after %d hours the job is %s, want %s", crash, h, got, want)
			}
			if h == 5 {
				if s := b.status(); s.Suspended != 1 || s.Running != 0 {
					t.Errorf("status: %d suspended, %d running", s.Suspended, s.Running)
				}
				if x := b.live(b.job("pausing")); len(x.Ran) != 1 || !crash && (x.Planned == nil || !x.Planned.Equal(noon.Add(6*time.Hour))) {
					t.Errorf("the API tells %+v", x)
				}
				for m := range b.fleet.machines {
					if u := b.fleet.use(m); u != 0 {
						t.Errorf("a suspended job holds %v cores of %s", u, b.fleet.machines[m].Name)
					}
				}
			}
		}
		j, whole := b.job("pausing"), b.job("whole")
		checkStretches(t, j)
		if got := fmt.Sprint(decided(t, b.store.db, "pausing")); got != "[start suspend resume]" {
			t.Errorf("decisions %s", got)
		}
		if len(j.Ran) != 1 || j.State != Done || math.Abs(j.Grams-100*j.KWh) > 1e-9 {
			t.Errorf("crash %v: %+v: want 100 g/kWh of %v kWh", crash, j, j.KWh)
		}
		if len(whole.Ran) != 0 || !whole.Ended.Equal(whole.Started.Add(4*time.Hour)) || whole.State != Done {
			t.Errorf("crash %v: the job that may not be suspended: %+v", crash, whole)
		}
		_, byStrategy, _ := b.kpis.lists()
		if len(byStrategy) != 1 || byStrategy[0].Suspended != 1 {
			t.Errorf("KPIs %+v", byStrategy)
		}
	}
}

// A job is not stopped for a small saving, nor for a moment, nor without a forecast, nor when it could not be resumed in time.
func TestNotSuspendedForNothing(t *testing.T) {
	dirty := slices.Repeat([]float64{500}, 23)
	dirty[0], dirty[1] = 100, 400
	for name, h := range map[string]hourly{
		"small":   hoursOf(100, 102, 104, 100, 100, 104, 102, 100),
		"no rest": hoursOf(100, 100, 100, 100, 500),
		"no time": hoursOf(append(dirty, 100)...),
	} {
		b := newBench(t, h, nil)
		b.accept(&Job{ID: "j", CPU: 8, Duration: 4 * time.Hour, Deadline: noon.Add(9 * time.Hour), Suspendable: true})
		b.until(noon.Add(12 * time.Hour))
		if j := b.job("j"); j.State != Done || len(j.Ran) != 0 || j.Ended.After(j.Deadline) {
			t.Errorf("%s: %+v", name, j)
		}
	}
	b := newBench(t, hoursOf(100, 500, 500, 500, 500, 500, 100, 100, 100, 500), nil)
	b.accept(&Job{ID: "j", CPU: 8, Duration: 4 * time.Hour, Deadline: noon.Add(30 * time.Hour), Suspendable: true})
	b.until(noon.Add(3 * time.Hour))
	if s := b.job("j").State; s != Suspended {
		t.Fatalf("the job is %s, want suspended", s)
	}
	if err := b.SetStrategy(t.Context(), "leastwatt"); err != nil { // which holds nothing back
		t.Fatal(err)
	}
	b.until(noon.Add(3*time.Hour + 10*time.Minute))
	if s := b.job("j").State; s != Running {
		t.Errorf("under another strategy the job stays %s", s)
	}

	b = newBench(t, hoursOf(100, 500, 500, 500, 500, 500, 100, 100, 100, 500), nil)
	b.accept(&Job{ID: "j", CPU: 8, Duration: 4 * time.Hour, Deadline: noon.Add(30 * time.Hour), Suspendable: true})
	b.until(noon.Add(3 * time.Hour))
	b.source, b.dispatch = nil, nil // the provider is gone, and what it said forgotten
	b.restart()
	b.until(noon.Add(3*time.Hour + 10*time.Minute))
	if s := b.job("j").State; s != Running {
		t.Errorf("without a forecast the job stays %s", s)
	}
}

// witness is a dispatcher that looks whether what it is told is on the disk.
type witness struct {
	b     *bench
	fails int
	told  []string
}

func (w *witness) look(j Job, state State, action Action) error {
	w.b.t.Helper()
	w.told = append(w.told, string(action)+" "+j.ID)
	on := w.b.job(j.ID)
	actions := decided(w.b.t, w.b.store.db, j.ID)
	if on.State != state || len(actions) == 0 || actions[len(actions)-1] != action {
		w.b.t.Errorf("told to %s job %s, which is %s on the disk, decisions %v", action, j.ID, on.State, actions)
	}
	if w.fails > 0 {
		w.fails--
		return errors.New("away")
	}
	return nil
}

func (w *witness) Start(_ context.Context, j Job) error {
	if len(j.Ran) > 0 {
		return w.look(j, Starting, Resume)
	}
	return w.look(j, Starting, Start)
}

func (w *witness) Suspend(_ context.Context, j Job) error { return w.look(j, Suspending, Suspend) }

// Every start, suspension and resumption is on the disk before the dispatcher hears of it; one that fails, or that a crash came between, is told again.
func TestDurableBeforeActedUpon(t *testing.T) {
	var w *witness
	b := newBench(t, hoursOf(100, 500, 500, 500, 500, 500, 100, 500), func(b *bench) Dispatcher { w = &witness{b: b}; return w })
	b.accept(&Job{ID: "j", CPU: 8, Duration: 2 * time.Hour, Deadline: noon.Add(20 * time.Hour), Suspendable: true})
	b.until(noon.Add(50 * time.Minute))
	w.fails = 2
	b.until(noon.Add(65 * time.Minute)) // the suspension fails once
	if s := b.job("j").State; s != Suspending || b.fleet.use(b.fleet.find(b.job("j").Node)) == 0 {
		t.Errorf("a suspension that failed: the job is %s", s)
	}
	b.restart() // and again after a crash
	b.until(noon.Add(70 * time.Minute))
	b.restart()
	b.until(noon.Add(80 * time.Minute))
	if s := b.job("j").State; s != Suspended {
		t.Errorf("the job is %s, want suspended", s)
	}
	b.until(noon.Add(6*time.Hour + 20*time.Minute))
	if s := b.job("j").State; s != Running {
		t.Errorf("the job is %s, want running", s)
	}
	if got, want := fmt.Sprint(w.told), "[start j suspend j suspend j suspend j resume j]"; got != want {
		t.Errorf("told %s, want %s", got, want)
	}
	j := b.job("j")
	b.Report("j", Done, j.Resumed.Add(j.rest()), "")
	b.until(b.now.Add(10 * time.Minute))
	if j := b.job("j"); j.State != Done {
		t.Errorf("%+v", j)
	}
	checkStretches(t, b.job("j"))
}

// failing is a strategy that cannot plan.
type failing struct{}

func (failing) Name() string { return "leastwatt" }

func (failing) Plan(context.Context, time.Duration, []batch.Job, *batch.Cluster) (batch.Plan, error) {
	return batch.Plan{}, errors.New("no plan")
}

// What is on the disk is told although nothing more can be decided.
func TestToldWithoutAPlan(t *testing.T) {
	var w *witness
	b := newBench(t, nil, func(b *bench) Dispatcher { w = &witness{b: b, fails: 1}; return w })
	b.accept(&Job{ID: "j", CPU: 8, Duration: time.Hour})
	b.until(noon.Add(5 * time.Minute))
	b.restart()
	b.accept(&Job{ID: "k", CPU: 8, Duration: time.Hour})
	b.strategy = failing{}
	for range 2 { // the second step takes the report over
		if err := b.step(t.Context(), &b.strategy); err == nil {
			t.Error("the strategy has planned")
		}
		b.replan, b.planTook = true, 0
	}
	if got, want := fmt.Sprint(w.told), "[start j start j]"; got != want || b.job("j").State != Running {
		t.Errorf("told %s, want %s; j is %s", got, want, b.job("j").State)
	}
}

// A job whose machine has left the cluster is begun again elsewhere, whole: a pod that is bound to a node that is none would wait for ever. One whose
// machine comes back soon goes on.
func TestBegunAgainWhereItsMachineHasLeft(t *testing.T) {
	for _, suspendable := range []bool{false, true} {
		var w *witness
		b := newBench(t, hoursOf(100), func(b *bench) Dispatcher { w = &witness{b: b}; return w })
		b.accept(&Job{ID: "j", CPU: 8, Duration: 2 * time.Hour, Suspendable: suspendable})
		b.until(noon.Add(30 * time.Minute))
		node := b.job("j").Node
		var rest []Machine
		for _, m := range testMachines(t, 4) {
			if m.Name != node {
				rest = append(rest, m)
			}
		}
		for _, m := range [][]Machine{rest, testMachines(t, 4)} { // away for a minute
			b.UpdateMachines(m)
			for range 2 {
				if err := b.step(t.Context(), &b.strategy); err != nil {
					t.Fatal(err)
				}
			}
			b.now = b.now.Add(time.Minute)
		}
		if got, want := fmt.Sprint(w.told), "[start j]"; got != want {
			t.Errorf("suspendable %v: of a machine that came back told %s", suspendable, got)
		}
		b.UpdateMachines(rest)
		b.until(b.now.Add(30 * time.Minute))
		j := b.job("j")
		if got, want := fmt.Sprint(w.told), "[start j suspend j resume j]"; got != want || j.State != Running || j.Node == node {
			t.Fatalf("suspendable %v: told %s, want %s; the job is %s on %s, its machine was %s", suspendable, got, want, j.State, j.Node, node)
		}
		if j.rest() != j.Duration || len(j.Ran) != 1 || !j.Ran[0].Lost || !(j.Ran[0].KWh > 0) {
			t.Errorf("suspendable %v: %v of %v are left after %+v", suspendable, j.rest(), j.Duration, j.Ran)
		}
		b.restart() // by the list of all machines, of which the lost one is again one
		b.Report("j", Done, b.now, "")
		b.until(b.now.Add(10 * time.Minute))
		if j := b.job("j"); j.State != Done || !(j.KWh > j.Ran[0].KWh) {
			t.Errorf("suspendable %v: %+v", suspendable, j)
		}
	}
}

// A job that ended while it was being suspended, or before it was resumed, ran no time twice and used all its energy.
func TestStretchesOfWhatEndedMeanwhile(t *testing.T) {
	at := func(minutes int) time.Time { return noon.Add(time.Duration(minutes) * time.Minute) }
	for name, c := range map[string]struct {
		resumed, ended time.Time
		want           []Stretch
	}{
		"after it was told":    {ended: at(31), want: []Stretch{{Node: "n", From: at(0), Until: at(30), KWh: 3}, {Node: "n", From: at(30), Until: at(31), KWh: 1}}},
		"before it was told":   {ended: at(29), want: []Stretch{{Node: "n", From: at(0), Until: at(30), KWh: 4}}},
		"before it is resumed": {resumed: at(90), ended: at(31), want: []Stretch{{Node: "n", From: at(0), Until: at(30), KWh: 4}}},
		"as is usual":          {resumed: at(90), ended: at(100), want: []Stretch{{Node: "n", From: at(0), Until: at(30), KWh: 3}, {Node: "n", From: at(90), Until: at(100), KWh: 1}}},
	} {
		j := &Job{Node: "n", State: Done, Started: at(0), Resumed: c.resumed, Ended: c.ended, KWh: 4, Ran: []Stretch{{Node: "n", From: at(0), Until: at(30), KWh: 3}}}
		if got := j.stretches(); !slices.Equal(got, c.want) {
			t.Errorf("%s: %+v, want %+v", name, got, c.want)
		}
		if j.Ran[0].KWh != 3 {
			t.Errorf("%s: the job itself was changed: %+v", name, j.Ran)
		}
	}
}

// fastClock names the variable of a process whose clock runs fast: nanoseconds of real time at noon, how fast it runs, and the folder.
const fastClock = "LEASTWATT_JOBS_FAST"

// fastMain is the service with that clock, on a grid with a day's rhythm.
func fastMain() error {
	f := strings.SplitN(os.Getenv(fastClock), ",", 3)
	zero, err := strconv.ParseInt(f[0], 10, 64)
	if err != nil {
		return err
	}
	speed, err := strconv.ParseFloat(f[1], 64)
	if err != nil {
		return err
	}
	now := func() time.Time { return noon.Add(time.Duration(float64(time.Since(time.Unix(0, zero))) * speed)) }
	source, err := grid.ParseProfile("sine:300:200:86400", grid.AverageLifeCycle, 1, now)
	if err != nil {
		return err
	}
	o := &options{listen: "127.0.0.1:0", data: f[2], margin: 1.2, slack: 24 * time.Hour, tick: 5 * time.Millisecond, lookEvery: 50 * time.Millisecond, scrapeEvery: time.Hour, source: source, now: now, strategy: SpaceTime}
	if o.machines, o.places, err = demoMachines(); err != nil {
		return err
	}
	return run(context.Background(), o, os.Stdout, slog.New(slog.NewTextHandler(os.Stderr, nil)))
}

// Killed with kill -9 while jobs are suspended, again and again: none is lost or done twice, each ran exactly as long as it is, in its time,
// and start, suspensions and resumptions alternate on the disk.
func TestKillWhileSuspended(t *testing.T) {
	data := t.TempDir()
	const speed = 20_000 // 5.6 hours a second
	zero := time.Now()
	open := func() *process {
		cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0])
		cmd.Env = append(os.Environ(), fmt.Sprintf("%s=%d,%d,%s", fastClock, zero.UnixNano(), speed, data))
		return begin(t, cmd)
	}
	p := open()
	const n = 24
	for i := range n {
		deadline := noon.Add(time.Duration(60+i) * time.Hour)
		if !postOne(p.url, fmt.Sprintf(`{"id":"j%d","cpu":4,"duration":%d,"deadline":%q,"suspendable":%v}`, i, 3600*(6+i%7), deadline.Format(time.RFC3339), i%4 > 0)) {
			t.Fatal("not accepted")
		}
	}
	c := client{t: t, url: p.url}
	kills := 0
	until(t, "all jobs done", func() bool {
		s := c.status()
		if s.Suspended > 0 && kills < 3 {
			p.kill()
			kills++
			p = open()
			c.url = p.url
			return false
		}
		return s.Done == n
	})
	p.kill()
	if kills == 0 {
		t.Error("no job was ever suspended")
	}
	db, err := sql.Open("sqlite", filepath.Join(data, "jobs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	store := &Store{db: db}
	jobs, err := store.List(t.Context(), "", "", 2*n)
	if err != nil || len(jobs) != n {
		t.Fatalf("%d jobs, %v", len(jobs), err)
	}
	suspended := 0
	for _, j := range jobs {
		if j.State != Done || j.Ended.After(j.Deadline) {
			t.Errorf("job %s is %s, ended %v, deadline %v", j.ID, j.State, j.Ended, j.Deadline)
		}
		checkStretches(t, j)
		suspended += len(j.Ran)
		want := []Action{Start}
		for range j.Ran {
			want = append(want, Suspend, Resume)
		}
		if got := decided(t, db, j.ID); fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("job %s: %v, want %v", j.ID, got, want)
		}
		if !j.Suspendable && len(j.Ran) > 0 {
			t.Errorf("job %s was suspended, and may not be", j.ID)
		}
	}
	t.Logf("killed %d times, %d suspensions", kills, suspended)
}

// late is an hourly source that does not answer before it is released.
type late struct {
	hourly
	release chan struct{}
}

func (l late) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	select {
	case <-l.release:
		return l.hourly.Forecast(ctx, zone, from, until)
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// What waits over a start of the service is not begun because the grid has not answered yet.
func TestNothingIsDecidedBeforeTheFirstLook(t *testing.T) {
	began := time.Now().UTC().Truncate(time.Hour)
	source := late{hourly{began, []float64{500, 500, 500, 100, 500}}, make(chan struct{})}
	url, _ := serveUntil(t, &options{strategy: SpaceTime, source: source, idleWatts: 2, peakWatts: 8, now: func() time.Time { return began.Add(time.Minute) }})
	c := client{t: t, url: url}
	if code, body := c.do("POST", "/jobs", "application/json", fmt.Sprintf(`{"id":"p","cpu":1,"duration":600,"deadline":%q}`, began.Add(10*time.Hour).Format(time.RFC3339))); code/100 != 2 {
		t.Fatal(code, body)
	}
	state := func() string { _, body := c.do("GET", "/jobs/p", "", ""); return body }
	for range 200 { // many times as long as the service takes to decide
		if s := state(); !strings.Contains(s, `"state":"queued"`) || strings.Contains(s, `"planned"`) {
			t.Fatalf("decided without an outlook: %s", s)
		}
	}
	close(source.release)
	clean := `"planned":"` + began.Add(3*time.Hour).Format("2006-01-02T15:")
	until(t, "the plan", func() bool { return strings.Contains(state(), clean) })
}
