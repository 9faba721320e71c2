package shift

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A Recorder makes Events; client-go's events.EventRecorder is one.
type Recorder interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// Options tune a Controller. The zero value works.
type Options struct {
	// Policies tells the present policies, from memory or a file; nil means the defaults for all. While it fails, the last good ones hold. It is
	// safe for concurrent use: a webhook asks while a round does.
	Policies func() (*Policies, error)

	// Interval is how often is planned anew when nothing happens; 0 means a minute.
	Interval time.Duration

	// Timeout bounds how long the source, and Kueue's API, are waited for in a round; 0 means 10 seconds.
	Timeout time.Duration

	// ArrivalsFile keeps over restarts what was learned of the work that comes; empty learns anew.
	ArrivalsFile string

	// Kueue also cares for AdmissionChecks, while Kueue is installed.
	Kueue bool

	// Reader reads budgets' ConfigMaps past any cache; nil means the client.
	Reader client.Reader

	Events     Recorder              // nil makes none
	Registerer prometheus.Registerer // nil counts nothing
	Logger     *slog.Logger          // nil discards
	Now        func() time.Time      // nil means [time.Now]
}

// A Controller holds work until the grid is clean. See the package's comment.
type Controller struct {
	client   client.Client
	opts     Options
	outlooks *outlooks
	metrics  *metrics

	mu       sync.Mutex               // held during a round
	coming   arriving                 // guarded by mu
	recalled bool                     // ArrivalsFile was read; guarded by mu
	ahead    bool                     // it is of a time to come, which was told; guarded by mu
	counted  time.Time                // objects until then are in what was read; guarded by mu
	away     grid.Outage              // why the last round lacked a forecast; guarded by mu
	owed     map[string][]debt        // by namespace: what started because it had to and is not in its ledger yet; guarded by mu
	policies atomic.Pointer[Policies] // the last good ones
	followed atomic.Pointer[kinds]    // of Kueue's; nil where nobody follows
}

// New returns a controller; a source of nil knows nothing, so that nothing is held. It starts nothing: see [Controller.SetupWithManager], or call
// Round in a loop of your own.
func New(c client.Client, source grid.Source, o Options) (*Controller, error) {
	o.Interval, o.Timeout = cmp.Or(o.Interval, time.Minute), cmp.Or(o.Timeout, 10*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Reader == nil {
		o.Reader = c
	}
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Controller{client: c, opts: o, outlooks: &outlooks{source: source, timeout: o.Timeout, last: make(map[string][]grid.Point)}, metrics: m, coming: make(arriving), owed: make(map[string][]debt)}, nil
}

func (c *Controller) now() time.Time { return c.opts.Now() }

// current returns the present policies; where they cannot be read, the last good ones and the error.
func (c *Controller) current() (*Policies, error) {
	if c.opts.Policies == nil {
		return nil, nil
	}
	p, err := c.opts.Policies()
	if err == nil {
		c.policies.Store(p)
	}
	return c.policies.Load(), err
}

// Round looks at all work that waits, releases what is due, and plans the rest. It returns when the next is due at the latest. An error says
// what could not be done; everything else was.
func (c *Controller) Round(ctx context.Context) (next time.Duration, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	policies, err := c.current()
	errs := []error{err}
	now := c.now()
	items, running, err := c.work(ctx, policies)
	errs = append(errs, err)
	c.metrics.seen(items)
	c.metrics.day(dayOf(now))
	c.metrics.limits(policies, items)

	// First of all, what must start: whatever policies, budgets and the grid say.
	must, rest := split(items, func(i *item) bool { return i.bad != nil || !i.latest.After(now) })
	forced, _ := plan(now, must, nil, nil, nil, nil) // no item is open
	for k, i := range must {
		errs = append(errs, c.releaseNow(ctx, i, &forced[k], now))
	}
	for _, i := range rest {
		if !i.written {
			errs = append(errs, c.annotate(ctx, i, map[string]string{ReleaseByAnnotation: i.latest.UTC().Format(time.RFC3339)}))
		}
	}

	zones := make(map[string]bool)
	for _, i := range items {
		if i.zone != "" {
			zones[i.zone] = true
		}
	}
	outlook, err := c.outlooks.ask(ctx, slices.Sorted(maps.Keys(zones)), now)
	c.outage(err)
	for k, i := range must { // known only now, for the budgets
		forced[k].grams = i.grams(outlook, now)
	}
	var cores map[string]float64
	if policies != nil {
		cores = policies.Cores
	}
	c.recall(now)
	if c.coming.see(items, cores, now, c.counted) {
		c.remember(now)
	}
	// What starts in any case takes room, though not in the plan: what must start, and what a dry run lets start.
	dry, held := split(rest, func(i *item) bool { return *i.policy.DryRun })
	rest = slices.Concat(held, dry)
	decisions, err := plan(now, held, slices.Concat(running, must, dry), outlook, cores, c.coming)
	if len(dry) > 0 { // as it would be if these waited, too
		would, e := plan(now, rest, slices.Concat(running, must), outlook, cores, c.coming)
		decisions, err = append(decisions, would[len(held):]...), errors.Join(err, e)
	}
	if err != nil { // a plan that fails holds nothing
		errs = append(errs, err)
		for k := range rest {
			decisions[k].start, decisions[k].reason, decisions[k].cause = now, "planning failed: not held", "unknown"
		}
	}
	for k := range dry {
		d := &decisions[len(held)+k]
		*d = decision{now, "dry run: " + d.reason, "dry-run", d.atOnce, d.atOnce, d.atOnce - d.grams}
	}
	errs = append(errs, c.budgets(ctx, now, must, forced, rest, decisions))
	next = c.opts.Interval
	for k, i := range rest {
		d := &decisions[k]
		if d.start.After(now) {
			next = min(next, d.start.Sub(now))
			errs = append(errs, c.tell(ctx, i, d))
		} else {
			errs = append(errs, c.releaseNow(ctx, i, d, now))
		}
	}
	return max(next, time.Millisecond), errors.Join(errs...)
}

func split(items []*item, f func(*item) bool) (yes, no []*item) {
	for _, i := range items {
		if f(i) {
			yes = append(yes, i)
		} else {
			no = append(no, i)
		}
	}
	return yes, no
}

// budgets charges what starts now, and puts off what the day has no room for.
func (c *Controller) budgets(ctx context.Context, now time.Time, must []*item, forced []decision, rest []*item, decisions []decision) error {
	ledgers := make(map[string]*ledger)
	var errs []error
	of := func(ns string) *ledger {
		l, ok := ledgers[ns]
		if !ok {
			var err error
			if l, err = readLedger(ctx, c.opts.Reader, ns, now); err != nil {
				errs = append(errs, err)
				l = nil
			}
			ledgers[ns] = l
		}
		return l
	}
	limited := func(i *item) bool { return i.policy.Budget != nil && !*i.policy.DryRun }
	for k, i := range must {
		if limited(i) {
			c.owe(i, forced[k].grams, now)
		}
	}
	for ns, list := range c.owed {
		l := of(ns)
		for _, d := range list {
			if l != nil && d.day == dayOf(now) {
				l.charge(d.item, d.grams)
			}
		}
	}
	tomorrow := now.UTC().Truncate(24 * time.Hour).Add(24 * time.Hour)
	pending := make(map[string][]int)
	for k, i := range rest {
		d := &decisions[k]
		if d.start.After(now) || !limited(i) {
			continue
		}
		l := of(i.object.GetNamespace())
		if l == nil {
			continue
		}
		if l.exhausted(i.policy.Budget, i, d.grams) {
			if i.policy.Budget.Over == Warn {
				c.event(i, v1.EventTypeWarning, "BudgetExhausted", "the day's budget is used up (%s): started all the same", l)
			} else {
				d.start, d.cause = tomorrow, "budget"
				d.reason = fmt.Sprintf("the day's budget is used up (%s)", l)
				if d.start.After(i.latest) {
					d.start = i.latest
				}
				c.metrics.overBudget(i.object.GetNamespace())
				continue
			}
		}
		l.charge(i, d.grams)
		pending[i.object.GetNamespace()] = append(pending[i.object.GetNamespace()], k)
	}
	for ns, l := range ledgers {
		if l == nil {
			continue
		}
		c.metrics.spent(ns, l)
		if err := l.write(ctx, c.client, ns); err != nil {
			// Somebody else has charged in the meantime: what has time waits for the next round.
			for _, k := range pending[ns] {
				decisions[k].start, decisions[k].reason, decisions[k].cause = now.Add(time.Second), "the budget is being counted", "budget"
			}
			errs = append(errs, fmt.Errorf("budget of namespace %q: %w", ns, err))
			continue
		}
		delete(c.owed, ns)
	}
	return errors.Join(errs...)
}

// String tells what a ledger has counted.
func (l *ledger) String() string { return fmt.Sprintf("%.3g kWh and %.4g g today", l.kWh, l.grams) }
