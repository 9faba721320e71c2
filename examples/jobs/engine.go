package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A Dispatcher starts jobs on nodes, also those that were suspended, and suspends them. Both bear being called again for a job that they
// were called for already, and for one that has ended. It tells the engine what becomes of jobs by [Engine.Report].
type Dispatcher interface {
	Start(ctx context.Context, j Job) error
	Suspend(ctx context.Context, j Job) error
}

// EngineOptions tune an Engine.
type EngineOptions struct {
	Margin    float64       // durations are multiplied by it to tell the latest start; 0 means 1.2
	Slack     time.Duration // how long a job without a deadline may be held; 0 means a day
	MaxQueued int           // 0 means 1,000,000
	Now       func() time.Time
	Dispatch  Dispatcher // nil only plans: jobs end after their duration
	Logger    *slog.Logger
}

// An Engine decides which job starts where and when. Run is its only decider; everything else may be called at any time. Only Run's
// goroutine changes the fleet, so that it may read it without the lock.
type Engine struct {
	opts    EngineOptions
	store   *Store
	source  grid.Source // nil: nothing is known of the grid
	outlook atomic.Pointer[Outlook]
	coming  *coming
	wake    chan struct{}
	look    chan struct{} // the outlook wants to be renewed
	changed *bell         // something that the page shows

	planTook time.Duration // of Run's goroutine, as the next four
	planned  time.Time     // the last plan, by the real clock
	chosen   time.Time     // the last choice of a strategy that does not plan over time
	due      time.Time     // when it wants to be asked again at the latest; zero: nothing is held
	searched time.Time     // the last search for jobs whose latest start has come, by the real clock

	deadlines *deadlines // of Run's goroutine

	switching sync.Mutex // held while the strategy is switched, so that what is stored last is in force

	mu       sync.Mutex
	fleet    *Fleet             // guarded by mu, as all below
	queue    map[string]*Job    // state queued
	order    []*Job             // of the queue, as accepted; may hold jobs that left it
	active   map[string]*Job    // all that were started and have not ended
	retry    map[string]attempt // starting and suspending jobs that the dispatcher has to be told of
	starts   map[string]plannedStart
	strategy string
	replan   bool      // something has changed since the last plan
	machines []Machine // a new list to take over; nil: none
	kpis     *KPIs
	recent   []Decision // newest last
	counts   counts
	least    map[need]least // forgotten when the machines change
	readings map[string]reading
	reported []report
}

type attempt struct {
	count int
	next  time.Time // by the real clock
}

type report struct {
	id      string
	state   State
	at      time.Time
	message string
}

// newEngine returns an engine with what the store holds.
func newEngine(ctx context.Context, store *Store, fleet *Fleet, source grid.Source, strategy string, o EngineOptions) (*Engine, error) {
	o.Margin, o.Slack, o.MaxQueued = cmp.Or(o.Margin, 1.2), cmp.Or(o.Slack, 24*time.Hour), cmp.Or(o.MaxQueued, 1_000_000)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{opts: o, store: store, source: source, fleet: fleet, wake: make(chan struct{}, 1), look: make(chan struct{}, 1), changed: newBell(), deadlines: newDeadlines(), queue: make(map[string]*Job),
		active: make(map[string]*Job), retry: make(map[string]attempt), starts: make(map[string]plannedStart), least: make(map[need]least), counts: make(counts), readings: make(map[string]reading), replan: true}
	saved, err := store.Setting(ctx, "strategy")
	if err != nil {
		return nil, err
	}
	if e.strategy = cmp.Or(strategy, saved, SpaceTime); !validStrategy(e.strategy) {
		return nil, strategyError(e.strategy)
	}
	if e.kpis, err = store.loadKPIs(ctx, e.now()); err != nil {
		return nil, err
	}
	jobs, err := store.Unfinished(ctx)
	if err != nil {
		return nil, err
	}
	for _, j := range jobs {
		if j.State == Queued {
			e.queue[j.ID] = j
			e.order = append(e.order, j)
			continue
		}
		e.active[j.ID] = j
		if j.State == Starting || j.State == Suspending {
			e.retry[j.ID] = attempt{}
		}
	}
	e.hold()
	if e.coming, err = loadComing(ctx, store, e.now(), e.slack); err != nil {
		return nil, err
	}
	if e.recent, err = store.recentDecisions(ctx, maxRecent); err != nil {
		return nil, err
	}
	return e, nil
}

// hold reserves the parts of machines that jobs were found to hold. Of those whose machine is not known yet it is done when it is; mu is held, but at the start.
func (e *Engine) hold() {
	for id, j := range e.active {
		if p, ok := e.fleet.held[id]; j.paused() || ok && p.machine >= 0 {
			continue
		}
		if m := e.fleet.find(j.Node); m >= 0 {
			e.fleet.reserve(id, m, asBatch(j, e.now()), j.began().Add(j.rest()))
		} else {
			e.fleet.held[id] = placed{machine: -1}
		}
	}
}

func (e *Engine) now() time.Time { return e.opts.Now().Truncate(time.Millisecond) }

// strategies returns the names that a job service can be switched to.
func strategies() []string { return append(batch.Names(), batch.CarbonNames()...) }

func validStrategy(name string) bool { return slices.Contains(strategies(), name) }

func strategyError(name string) error {
	list := strategies()
	slices.Sort(list)
	return fmt.Errorf("no strategy is named %.40q: there are %v", name, list)
}

func (e *Engine) poke() {
	select {
	case e.wake <- struct{}{}:
	default:
	}
}

// SetStrategy switches from the next decision on, and after a restart. Jobs that run are not touched.
func (e *Engine) SetStrategy(ctx context.Context, name string) error {
	if !validStrategy(name) {
		return strategyError(name)
	}
	e.switching.Lock()
	defer e.switching.Unlock()
	if err := e.store.Do(ctx, func(tx *batchTx) error { return tx.set("strategy", name) }); err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	e.strategy, e.replan = name, true
	clear(e.starts)
	e.poke()
	e.changed.set()
	return nil
}

// Strategy returns the name of the present strategy.
func (e *Engine) Strategy() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.strategy
}

// Report tells what became of a job: Running, Suspended, Done or Failed. Reports of jobs that are not active are ignored.
func (e *Engine) Report(id string, state State, at time.Time, message string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if j := e.active[id]; j == nil || j.State == state {
		return
	}
	e.reported = append(e.reported, report{id, state, at, message})
	e.poke()
}

// UpdateMachines takes over a new list of machines at the next step.
func (e *Engine) UpdateMachines(machines []Machine) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.machines = machines
	e.poke()
}

// Look renews the outlook on the grid.
func (e *Engine) Look(ctx context.Context) {
	e.mu.Lock()
	sites := slices.Clone(e.fleet.sites)
	e.mu.Unlock()
	e.outlook.Store(look(ctx, e.source, sites, e.now(), e.outlook.Load()))
	e.mu.Lock()
	e.replan = true
	e.mu.Unlock()
	e.poke()
	e.changed.set()
}

// Run decides until ctx is done, whenever something has changed and at every tick.
func (e *Engine) Run(ctx context.Context, tick time.Duration) error {
	t := time.NewTicker(tick)
	defer t.Stop()
	var strategy batch.Strategy
	for {
		if err := e.step(ctx, &strategy); err != nil && ctx.Err() == nil {
			e.opts.Logger.Error("deciding", "error", err)
		}
		// What comes within a moment is decided together.
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(tick / 4):
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		case <-e.wake:
		}
	}
}

// step does all that is due now.
func (e *Engine) step(ctx context.Context, strategy *batch.Strategy) error {
	if err := e.settle(ctx); err != nil {
		return err
	}
	if err := e.takeOver(ctx); err != nil {
		return err
	}
	planned := e.plan()
	e.deadlines.begin(e.fleet, e.now(), e.Strategy() == SpaceTime)
	e.mu.Lock()
	if *strategy == nil || (*strategy).Name() != placerOf(e.strategy) {
		s, err := batch.New(placerOf(e.strategy), batch.Options{Seed: 1, Grid: ahead{e}, Carbon: batch.CarbonOptions{Margin: e.opts.Margin, MaxDelay: e.opts.Slack}})
		if err != nil {
			e.mu.Unlock()
			return err
		}
		*strategy = s
	}
	chosen, err := e.choose(ctx, *strategy)
	e.mu.Unlock()
	err = errors.Join(planned, err, e.commit(ctx, chosen), e.coming.store(context.WithoutCancel(ctx), e.store))
	e.dispatch(ctx) // what is durable, whatever else failed
	return err
}

// latest returns when a job that does not run must start or resume at the latest.
func (e *Engine) latest(j *Job) time.Time { return e.latestNow(j, time.Time{}) }

// latestNow is the same of a job that may run: when it had to resume if it were suspended now.
func (e *Engine) latestNow(j *Job, now time.Time) time.Time {
	return j.latest(now, e.opts.Margin, e.opts.Slack)
}

// slack is how long a job may wait when it comes.
func (e *Engine) slack(j *Job) time.Duration {
	return j.due(e.opts.Margin, e.opts.Slack).Add(-times(j.Duration, e.opts.Margin)).Sub(j.Submitted)
}

// takeOver brings a new list of machines into the fleet.
func (e *Engine) takeOver(ctx context.Context) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.machines == nil {
		return nil
	}
	list := e.machines
	e.machines, e.replan = nil, true
	clear(e.least)
	e.changed.set()
	sites := len(e.fleet.sites)
	if err := e.fleet.update(ctx, list, e.now()); err != nil {
		return err
	}
	e.hold()
	if len(e.fleet.sites) > sites { // nothing is known of its grid yet
		select {
		case e.look <- struct{}{}:
		default:
		}
	}
	return nil
}
