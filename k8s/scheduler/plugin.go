package scheduler

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// Name is the plugin's name in a KubeSchedulerConfiguration.
const Name = "LeastWatt"

// A Site is the servers behind a cluster's nodes; [*scoring.Site] is one. View costs next to nothing and
// never waits.
type Site interface {
	Put(scoring.Machine)
	Remove(name string)
	View() *scoring.View
	Run(ctx context.Context) error
}

// A Setup is what the plugin decides with.
type Setup struct {
	Site   Site           // required
	Scorer scoring.Scorer // nil means scoring.EnvelopePower{}

	// GramsPerKWh tells the carbon intensity of the power at this moment where the meter of a node does not, for
	// what shadow mode counts; nil knows nothing. It must not wait.
	GramsPerKWh func() (gramsPerKWh float64, ok bool)
}

// Options are what a program adds to the plugin. The zero value works.
type Options struct {
	// Config is what the argument "config" of a profile is where it is left out. A profile that names the same shares its setup.
	Config string

	// Registerer is given the metrics leastwatt_*; nil means none.
	Registerer prometheus.Registerer

	// Decisions keeps what was decided, for people to read; nil keeps it out of reach.
	Decisions *Decisions
}

// A Factory makes the plugin for one profile. It can be given to kube-scheduler's app.WithPlugin as it is.
type Factory = func(ctx context.Context, args runtime.Object, h fwk.Handle) (fwk.Plugin, error)

// New returns the factory of plugins that decide with the setup which open returns for the argument "config"
// of a profile ([Options.Config] where it is left out). Open is called once for each distinct argument; profiles of
// the same setup share it. The factory starts the site's background loops and the watch of the
// cluster's nodes; they end with the ctx that the scheduler gives it.
func New(open func(config string) (Setup, error), o Options) (Factory, error) {
	all, err := NewAll(open, o)
	return all[Name], err
}

// NewAll returns the factories of all plugins of this package, by name: LeastWatt, [PowerCap], [SpreadRate] and [PlacementScore].
// Those that need a setup share it.
func NewAll(open func(config string) (Setup, error), o Options) (map[string]Factory, error) {
	m, err := newMetrics(o.Registerer)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", Name, err)
	}
	if o.Decisions == nil {
		o.Decisions = new(Decisions)
	}
	f := &factory{open: open, config: o.Config, metrics: m, decisions: o.Decisions, setups: make(map[string]*running)}
	return map[string]Factory{Name: f.plugin, CapName: f.powerCap, SpreadName: NewSpreadRate, PlacementName: f.placement}, nil
}

type factory struct {
	open      func(string) (Setup, error)
	config    string // where a profile says none
	metrics   *metrics
	decisions *Decisions

	mu     sync.Mutex
	setups map[string]*running // guarded by mu
}

// running is a setup whose loops run until ctx ends.
type running struct {
	Setup
	ended *ended
	done  <-chan struct{}
}

func (f *factory) plugin(ctx context.Context, obj runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
	args, err := DecodeArgs(obj)
	if err != nil {
		return nil, err
	}
	s, err := f.start(ctx, args.Config, h)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", Name, err)
	}
	p := &Plugin{args: args, site: s.Site, scorer: separately(s.Scorer, s.Site.View), profile: h.ProfileName(),
		metrics: f.metrics.of(h.ProfileName()), decisions: f.decisions}
	p.work.usage, p.work.ended = &p.args.Usage, s.ended
	if args.Mode == "shadow" {
		p.shadow = newShadow(f.metrics, p.profile, s.GramsPerKWh)
		if err := p.shadow.follow(ctx, h); err != nil {
			return nil, fmt.Errorf("plugin %s: %w", Name, err)
		}
		f.metrics.cast(ctx, p.profile, p.shadow)
	}
	if err := f.decisions.keep(args.KeepDecisions, args.ExplainCandidates); err != nil {
		return nil, fmt.Errorf("plugin %s: %w", Name, err)
	}
	if args.Events || args.Annotate {
		p.told = newTold(f.metrics.untold.WithLabelValues(p.profile, "binding"))
	}
	if args.Events {
		p.events = h.EventRecorder()
	}
	if args.Annotate {
		p.annotator = newAnnotator(ctx, h.ClientSet(), f.metrics.untold.WithLabelValues(p.profile, "queue"))
	}
	return p, nil
}

func (f *factory) start(ctx context.Context, config string, h fwk.Handle) (*running, error) {
	config = cmp.Or(config, f.config)
	f.mu.Lock()
	defer f.mu.Unlock()
	if s := f.setups[config]; s != nil {
		select {
		case <-s.done: // of a scheduler that has ended
		default:
			return s, nil
		}
	}
	setup, err := f.open(config)
	if err != nil {
		return nil, err
	}
	if setup.Site == nil {
		return nil, errors.New("there is no site to place pods on")
	}
	if setup.Scorer == nil {
		setup.Scorer = scoring.EnvelopePower{}
	}
	if err := watchNodes(ctx, h, setup.Site); err != nil {
		return nil, err
	}
	s := &running{Setup: setup, ended: new(ended), done: ctx.Done()}
	if err := s.ended.follow(ctx, h); err != nil {
		return nil, err
	}
	f.setups[config] = s
	f.metrics.watch(ctx, setup.Site)
	go func() {
		if err := setup.Site.Run(ctx); err != nil && ctx.Err() == nil {
			klog.FromContext(ctx).Error(err, "LeastWatt steps aside until the scheduler is restarted: its background loop ended")
		}
	}()
	return s, nil
}

// A Plugin places pods where they are predicted to cost least. It rejects none.
type Plugin struct {
	args      Args
	site      Site
	scorer    scoring.Scorer
	profile   string
	metrics   *profileMetrics
	decisions *Decisions

	shadow *shadow       // nil where the plugin decides
	events eventRecorder // nil where none are wanted

	annotator *annotator // nil where none is wanted
	told      *told      // nil where neither is

	last atomic.Pointer[state]

	mu      sync.Mutex
	work    prepared // guarded by mu
	watched shadowed // guarded by mu
}

var (
	_ fwk.PreScorePlugin  = (*Plugin)(nil)
	_ fwk.ScorePlugin     = (*Plugin)(nil)
	_ fwk.ScoreExtensions = (*Plugin)(nil)
	_ fwk.ReservePlugin   = (*Plugin)(nil)
	_ fwk.PostBindPlugin  = (*Plugin)(nil)
	_ fwk.SignPlugin      = (*Plugin)(nil)

	_ fwk.EnqueueExtensions = (*Plugin)(nil)
)

// Name implements the framework's Plugin.
func (p *Plugin) Name() string { return Name }

// EventsToRegister implements the framework's EnqueueExtensions. The plugin rejects no pod, so no event can make a
// rejected one fit. Without this method the scheduler would take every event of the cluster for one that may, for
// the sake of Reserve.
func (p *Plugin) EventsToRegister(context.Context) ([]fwk.ClusterEventWithHint, error) {
	return nil, nil
}

// Reserve implements the framework's ReservePlugin: it notes which node the scheduler chose, which other
// plugins have a say in.
func (p *Plugin) Reserve(ctx context.Context, cs fwk.CycleState, pod *v1.Pod, node string) *fwk.Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cs.IsPodGroupSchedulingCycle() {
		p.try(cs, pod, node)
		return nil
	}
	t := p.tried(cs, node)
	p.chose(pod, node, t.chosen, t.decision)
	if p.shadow != nil {
		p.shadow.placed(ctx, pod.UID, t.watched, p.scorer, t.chosen)
	}
	return nil
}

// Unreserve implements the framework's ReservePlugin: it notes that the pod did not get there.
func (p *Plugin) Unreserve(_ context.Context, _ fwk.CycleState, pod *v1.Pod, node string) {
	p.told.take(pod.UID)
	p.decisions.undone(pod, node)
	if p.shadow != nil {
		p.shadow.undone(pod.UID)
		p.mu.Lock()
		defer p.mu.Unlock()
		if p.watched.uid == pod.UID { // another plugin reserved nothing, so we were not asked to
			p.watched = shadowed{}
		}
	}
}

func (p *Plugin) demand(pod *v1.Pod) scoring.Demand {
	return p.args.demand(pod)
}
