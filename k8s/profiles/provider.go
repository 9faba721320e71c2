package profiles

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/scoring/learn"
	"github.com/leastwatt/leastwatt/sensors"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// Options tune a [Provider]. The zero value works, without Secrets.
type Options struct {
	// Config is a configuration file whose sensors and models count where profiles and PowerModels say nothing; nil
	// means the published table by the node's hardware label, else a prior that learns.
	Config *config.Config

	// Sources are read of every node beside its profile's sensors, which win, and before those of Config: metrics.k8s.io.
	Sources []sensors.SensorSource

	// Types are types of sources that Config may have beside those that are built in.
	Types []sensorsconfig.Type

	// Pods is told what sensors of type kepler read of the nodes' pods; nil reads none.
	Pods *kepler.Pods

	// With is another provider, which reads the sensors of both; nil is none. Its Config has the same sensors, it is told the same nodes and
	// resources, and runs as long. Sources, Types, Pods and Interval are then its.
	With *Provider

	// Secrets reads credentials; nil leaves every sensor that needs them unread.
	Secrets Secrets

	// Refresh is how often each Secret that a profile names is read again; 0 means one minute. One whose credentials are
	// refused is read again at once.
	Refresh time.Duration

	// Keep is how often what was learned of nodes is made ready for [Provider.Learned]; 0 is never. One program puts it
	// into the status of their profiles, where all find it when they start.
	Keep time.Duration

	// Interval is between two reads of a node, where Config does not say; 0 means ten seconds.
	Interval time.Duration

	// Logger is told what fails in the background; nil discards it.
	Logger *slog.Logger

	// Registerer is given the poller's metrics, and leastwatt_profiles_followed; nil means none.
	Registerer sensors.Registerer
}

// A Provider is the servers of a cluster, as its custom resources describe them. Tell it of nodes by Put and Remove,
// of resources by Set and Delete functions, or let [Provider.Follow] do so; Run reads sensors. All methods
// are safe at any time, from any goroutine, and none but Run and Follow waits.
type Provider struct {
	site    *scoring.Site
	secrets *store
	models  *library
	remotes *remotes
	shared  sharing
	errors  *accuracy
	pods    *kepler.Pods // may be nil
	learned *notebook
	log     *slog.Logger

	following following

	putting sync.Mutex // held while profiles are made, so that none is made of what was replaced

	mu    sync.RWMutex
	nodes map[string]*profile // guarded by mu
}

// A profile is a NodeProfile in use.
type profile struct {
	uid    types.UID
	spec   *v1alpha1.NodeProfileSpec
	source *source

	mu     sync.Mutex
	remote *remote // guarded by mu: nil until a machine is bound to it
	cores  float64 // guarded by mu: that remote is for
	closed bool    // guarded by mu
}

// New returns a provider without nodes and profiles. It connects to nothing before Run.
func New(o Options) (*Provider, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	c := o.Config
	if c == nil {
		var err error
		if c, err = config.Parse("defaults", []byte(defaults)); err != nil {
			return nil, err
		}
	}
	p := &Provider{models: newLibrary(), errors: newAccuracy(), pods: o.Pods, learned: newNotebook(), log: o.Logger, nodes: make(map[string]*profile)}
	p.remotes = newRemotes(o.Logger)
	p.secrets = newStore(o.Secrets, cmp.Or(o.Refresh, time.Minute), p.secretChanged, o.Logger)
	sources := []sensors.SensorSource{reader{p}}
	for _, s := range o.Sources { // what is in cores becomes a ratio of the node's
		sources = append(sources, sensors.Derive(s, sensors.DeriveOptions{Cores: p.cores}))
	}
	var learned learn.Store = p.learned
	if o.Keep > 0 {
		learned = keeping{p.learned}
	}
	var with *scoring.Site
	if o.With != nil {
		with = o.With.site
	}
	site, err := c.NewSite(config.SiteOptions{Logger: o.Logger, Registerer: o.Registerer, Interval: o.Interval, Types: o.Types, Pods: o.Pods, Learned: learned, LearnedEvery: o.Keep,
		Sources: sources, Bind: p.bind, With: with})
	if err != nil {
		return nil, fmt.Errorf("profiles: %w", err)
	}
	p.site = site
	if o.Registerer != nil {
		if err := o.Registerer.Register(p.following.metric()); err != nil {
			return nil, fmt.Errorf("profiles: %w", err)
		}
	}
	return p, nil
}

const defaults = `models:
- {name: published, kind: published, inlet: published}
- {name: prior, kind: prior, learn: true}
`

// Put adds a node or replaces what the cluster knows of it.
func (p *Provider) Put(m scoring.Machine) { p.site.Put(m) }

// Remove forgets a node; its profile, if there is one, stays for when it comes back.
func (p *Provider) Remove(name string) {
	p.site.Remove(name)
	p.errors.forget(name)
}

// Machine returns what was put under a name.
func (p *Provider) Machine(name string) (scoring.Machine, bool) { return p.site.Machine(name) }

// View returns the servers as of the last refresh. It costs one atomic load.
func (p *Provider) View() *scoring.View { return p.site.View() }

// SetProfile adds or replaces a profile. One that says what it said before changes nothing: sessions and readings
// stay. What its status says was learned counts, also when it comes later, for a node that little or nothing was learned
// of here. The profile is not to be changed afterwards.
func (p *Provider) SetProfile(n *v1alpha1.NodeProfile) {
	p.putting.Lock()
	defer p.putting.Unlock()
	news := p.learned.tell(n.Name, n.Status.Learned)
	old := p.profile(n.Name)
	if old != nil && old.uid == n.UID && equality.Semantic.DeepEqual(old.spec, &n.Spec) {
		if news { // so a controller that waits to lead knows what the one that leads has learned
			p.site.Rebind(n.Name)
		}
		return
	}
	p.put(n.Name, n.UID, &n.Spec)
}

// put makes what a profile says; it takes the place of what there was. The caller holds putting.
func (p *Provider) put(node string, uid types.UID, spec *v1alpha1.NodeProfileSpec) {
	fresh := &profile{uid: uid, spec: spec, source: p.newSource(node, spec)}
	if m := spec.Model; m != nil && m.Remote != nil {
		p.secrets.acquire(m.Remote.SecretName)
	}
	p.mu.Lock()
	old := p.nodes[node]
	p.nodes[node] = fresh
	p.mu.Unlock()
	p.close(old)
	p.forgetPods(node, old, fresh)
	p.site.Rebind(node)
	if len(spec.Sensors) > 0 && (old == nil || old.source.waiting.Load() == 0) { // a read that waits for a Secret goes on with the fresh one
		p.site.ReadSoon(node)
	}
}

func (p *Provider) cores(node string) float64 {
	m, _ := p.site.Machine(node)
	return m.Cores
}

// DeleteProfile forgets a profile: its sensors are read no more, and the node is what the file and the PowerModels say.
func (p *Provider) DeleteProfile(name string) {
	p.putting.Lock()
	defer p.putting.Unlock()
	p.mu.Lock()
	old := p.nodes[name]
	delete(p.nodes, name)
	p.mu.Unlock()
	p.close(old)
	p.forgetPods(name, old, nil)
	p.errors.forget(name)
	p.learned.forget(name)
	p.site.Rebind(name)
}

func (p *Provider) close(old *profile) {
	if old == nil {
		return
	}
	old.source.close()
	if m := old.spec.Model; m != nil && m.Remote != nil {
		p.secrets.release(m.Remote.SecretName)
	}
	old.mu.Lock()
	defer old.mu.Unlock()
	old.closed = true
	if old.remote != nil {
		p.remotes.release(old.remote)
	}
}

// forgetPods drops what Kepler said of a node's pods where it is asked no more: or it would be waited for.
func (p *Provider) forgetPods(node string, old, fresh *profile) {
	if p.pods != nil && old.keplers() && !fresh.keplers() {
		p.pods.Forget(node)
	}
}

// rests tells whether the profile's Keplers are fallbacks that were not needed at the last read.
func (n *profile) rests() bool {
	rests := false
	for i := range n.spec.Sensors {
		if n.spec.Sensors[i].Type == "kepler" {
			if rests = n.source.probes[i].standby(); !rests {
				break
			}
		}
	}
	return rests
}

func (n *profile) keplers() bool {
	return n != nil && slices.ContainsFunc(n.spec.Sensors, func(x v1alpha1.Sensor) bool { return x.Type == "kepler" })
}

// remoteFor returns the profile's model on a model server, for a server of so many cores.
func (p *Provider) remoteFor(n *profile, cores float64) (*remote, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, power.ErrNoModel // it is being replaced
	}
	if n.remote == nil || n.cores != cores {
		old := n.remote
		n.remote, n.cores = p.remotes.acquire(n.spec.Model.Remote, cores, p.secrets), cores
		if old != nil {
			p.remotes.release(old)
		}
	}
	return n.remote, n.remote.err
}

// SetModel adds or replaces a PowerModel, which is not to be changed afterwards. Nodes have it moments later.
func (p *Provider) SetModel(m *v1alpha1.PowerModel) { p.models.set(m) }

// DeleteModel forgets a PowerModel.
func (p *Provider) DeleteModel(name string) { p.models.delete(name) }

// profile returns a node's profile, or nil.
func (p *Provider) profile(node string) *profile {
	p.mu.RLock()
	defer p.mu.RUnlock()
	return p.nodes[node]
}

// secretChanged makes anew what uses a Secret.
func (p *Provider) secretChanged(name string) {
	p.putting.Lock()
	defer p.putting.Unlock()
	changed := make(map[string]*profile)
	p.mu.RLock()
	for node, n := range p.nodes {
		if n.uses(name) {
			changed[node] = n
		}
	}
	p.mu.RUnlock()
	for node, n := range changed {
		p.put(node, n.uid, n.spec)
	}
}

func (n *profile) uses(secret string) bool {
	for i := range n.spec.Sensors {
		if n.spec.Sensors[i].SecretName == secret {
			return true
		}
	}
	return n.spec.Model != nil && n.spec.Model.Remote != nil && n.spec.Model.Remote.SecretName == secret
}

// Run reads sensors and Secrets and asks remote models until ctx ends, and returns after all it started has ended.
func (p *Provider) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	wg.Go(func() { p.secrets.run(ctx) })
	wg.Go(func() { p.remotes.run(ctx) })
	wg.Go(func() { p.followModels(ctx) })
	wg.Go(func() { p.compare(ctx) })
	err := p.site.Run(ctx)
	cancel()
	wg.Wait()
	return err
}

// settle is how long a burst of changes of models is gathered.
const settle = 50 * time.Millisecond

// followModels binds nodes anew after models have changed.
func (p *Provider) followModels(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.models.changed:
		}
		wait := time.NewTimer(settle)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
		p.models.compile()
		p.site.Rebind()
	}
}

// comparing is how often predictions are compared with measurements.
const comparing = 5 * time.Second

// compare keeps count of how far predictions are from measurements.
func (p *Provider) compare(ctx context.Context) {
	tick := time.NewTicker(comparing)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			p.errors.observe(ctx, p.site.View(), time.Now())
		}
	}
}
