package endpoints

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/scoring"
)

// An Applier makes the kernel, or whatever divides connections, hold these Services and no others. A
// [nftables.Writer] is one.
type Applier interface {
	Apply(ctx context.Context, services []nftables.Service) (nftables.Result, error)
}

// DefaultName is the value of the label service.kubernetes.io/service-proxy-name of the Services that are ours.
const DefaultName = "leastwatt"

// retry is how long after a failure the rules are tried again.
const retry = time.Second

// NameLabel is the label that takes a Service away from kube-proxy and gives it to the proxy that it names.
const NameLabel = "service.kubernetes.io/service-proxy-name"

// Options tune a [Proxier]. The zero value works, without a model of any node: every Service is then divided
// evenly.
type Options struct {
	// Name is the value of [NameLabel] of the Services that are taken; "" means DefaultName.
	Name string

	// All takes the Services without the label instead, as a forked kube-proxy does.
	All bool

	// Node is the name of the node that this process runs on, for traffic policies and topology.
	Node string

	// View returns the servers as they are now, without waiting: [scoring.Site.View]. Nil means that none
	// is known.
	View func() *scoring.View

	// Weigher divides; nil means a [balancing.Optimal] that is damped: at most a step in a Refresh, however many changes come.
	Weigher balancing.Weigher

	// Rate returns a Service port's requests per second in the whole cluster, and false while it is not
	// known; the annotation [RateAnnotation] counts then, or it is unknown. Where a Service has one port, it is asked for
	// port "" too, for rates that know of Services alone. Nil knows none. It must not wait.
	Rate func(service types.NamespacedName, port string) (float64, bool)

	// CPU returns the work of one request in core-seconds, as [balancing.CPULearner] learns it, and false
	// while it is not known. It counts where no annotation says it. Nil knows none. It must not wait.
	CPU func(service types.NamespacedName, port string) (float64, bool)

	// Refresh is how often weights are computed anew without a change; 0 means 15 s.
	Refresh time.Duration

	// Pause is the least time between two writes of the rules, however many changes come; 0 means 100 ms.
	Pause time.Duration

	// Forget lets the kernel forget UDP clients of endpoints that are gone: [Conntrack]. What it fails at it is asked for
	// again. Nil leaves them.
	Forget func(ctx context.Context, stale []Stale) error

	// Listen opens the healthCheckNodePort of a Service with externalTrafficPolicy Local, at which load balancers ask
	// whether this node has endpoints: net.Listen. Nil opens none; such a Service gets an Event then.
	Listen func(network, address string) (net.Listener, error)

	// Events gets an Event for each Service of which something is not supported; nil means none.
	Events events.EventRecorder

	// Registerer gets the metrics; nil means none.
	Registerer prometheus.Registerer

	// Streamed leaves the series of single endpoints and servers out of Registerer; [Proxier.WriteSeries] writes them.
	// A registry gathers all series before it writes the first: 1 KB for each of an endpoint's four.
	Streamed bool

	// Log gets what goes wrong in the background; nil discards it.
	Log *slog.Logger
}

// A Proxier keeps rules at the cluster's Services and the shares of their endpoints. Its methods On… are the
// handlers of kube-proxy's proxy.Provider; they only remember. Run does the work.
type Proxier struct {
	opts     Options
	appliers map[v1.IPFamily]Applier
	kick     chan struct{} // holds one change not yet looked at
	metrics  *metrics
	health   healthPorts

	mu     sync.Mutex
	world  world // guarded by mu
	synced [2]bool

	written atomic.Pointer[time.Time] // when the rules were last what they should be

	// Of the goroutine that runs.
	made  map[types.NamespacedName][]servicePort // of the last snapshot; their slices are not changed
	last  balancing.Past                         // the shares that were applied
	noted map[types.UID]string

	answering map[netip.AddrPort][]netip.AddrPort // UDP endpoints by the addresses that clients send to; nil at first
}

// world is what the cluster's objects say. Services are shared and not to be changed.
type world struct {
	services map[types.NamespacedName]*v1.Service
	slices   map[types.NamespacedName]map[string]*endpointSlice // by Service, by name
	owners   map[types.NamespacedName]string                    // a slice's Service
	topology map[string]string
	stale    map[types.NamespacedName]bool // Services that changed since their ports were made; nil: all
}

// changed remembers that a Service's ports are to be made anew.
func (w *world) changed(k types.NamespacedName) {
	if w.stale != nil {
		w.stale[k] = true
	}
}

// New returns a proxier that writes each family's rules with its applier; a family without one is left out. It
// starts nothing.
func New(appliers map[v1.IPFamily]Applier, o Options) (*Proxier, error) {
	if len(appliers) == 0 {
		return nil, errors.New("endpoints: no address family has an applier")
	}
	for f := range appliers {
		if f != v1.IPv4Protocol && f != v1.IPv6Protocol {
			return nil, fmt.Errorf("endpoints: family %q is not IPv4 or IPv6", f)
		}
	}
	if o.Name == "" {
		o.Name = DefaultName
	}
	if o.View == nil {
		o.View = func() *scoring.View { return nil }
	}
	if o.Refresh <= 0 {
		o.Refresh = 15 * time.Second
	}
	if o.Weigher == nil {
		o.Weigher = damped(o.Refresh)
	}
	if o.Pause <= 0 {
		o.Pause = 100 * time.Millisecond
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	p := &Proxier{
		opts: o, appliers: appliers, kick: make(chan struct{}, 1), noted: make(map[types.UID]string),
		world: world{services: make(map[types.NamespacedName]*v1.Service), slices: make(map[types.NamespacedName]map[string]*endpointSlice), owners: make(map[types.NamespacedName]string)},
	}
	m, err := newMetrics(o.Registerer, o.Streamed)
	if err != nil {
		return nil, err
	}
	p.metrics = m
	p.health = healthPorts{listen: o.Listen, ready: p.Ready, log: o.Log, servers: make(map[uint16]*healthPort), failed: make(map[types.NamespacedName]error)}
	return p, nil
}

// damped returns the weigher for a program that nobody gave one.
func damped(refresh time.Duration) balancing.Weigher {
	d := balancing.NewDamped(&balancing.Optimal{}, 0)
	d.Every = refresh * 9 / 10 // a tick may come early
	return d
}

// Run writes the rules once all objects have been heard of, then after every change and every Refresh, until ctx
// ends. It leaves the rules as they are, so that traffic goes on while another process takes over.
func (p *Proxier) Run(ctx context.Context) error {
	refresh := time.NewTicker(p.opts.Refresh)
	defer refresh.Stop()
	defer p.health.end()
	for {
		if p.ready() {
			if err := p.sync(ctx); err != nil && ctx.Err() == nil {
				p.opts.Log.Error("rules are not written; trying again", "after", retry, "err", err)
				time.AfterFunc(retry, p.Sync)
			}
			select { // however fast the changes come
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(p.opts.Pause):
			}
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-p.kick:
		case <-refresh.C:
		}
	}
}

// Written returns when the rules were last made what they should be; the zero time before that. While Run runs it
// is at most Refresh and the time of one sync ago, or something is wrong.
func (p *Proxier) Written() time.Time {
	if t := p.written.Load(); t != nil {
		return *t
	}
	return time.Time{}
}

// Ready returns nil while the rules are what they should be, or were a minute and three Refreshes ago.
func (p *Proxier) Ready() error {
	at := p.Written()
	if at.IsZero() {
		return errors.New("rules have not been written yet")
	}
	if age := time.Since(at); age > 3*p.opts.Refresh+time.Minute {
		return fmt.Errorf("rules were last written %v ago", age.Round(time.Second))
	}
	return nil
}

// SyncLoop is Run without an end, as proxy.Provider has it.
func (p *Proxier) SyncLoop() { _ = p.Run(context.Background()) }

// Sync asks for the rules to be written soon. It does not wait.
func (p *Proxier) Sync() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}

func (p *Proxier) ready() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.synced[0] && p.synced[1]
}

// change lets f change what is known of the cluster and asks for a sync if it returns true.
func (p *Proxier) change(f func(w *world) bool) {
	p.mu.Lock()
	changed := f(&p.world)
	p.mu.Unlock()
	if changed {
		p.Sync()
	}
}

// ours tells whether a Service is for this proxy.
func (p *Proxier) ours(s *v1.Service) bool {
	name, labelled := s.Labels[NameLabel]
	if p.opts.All && labelled || !p.opts.All && name != p.opts.Name {
		return false
	}
	return s.Spec.Type != v1.ServiceTypeExternalName && s.Spec.ClusterIP != "" && s.Spec.ClusterIP != v1.ClusterIPNone
}
