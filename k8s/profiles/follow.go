package profiles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/scoring"
)

// Follow tells the provider of the NodeProfiles and PowerModels in a cache, from now on until ctx ends. It starts
// nothing: run the cache, with [Slim], beside the provider.
func (p *Provider) Follow(ctx context.Context, c cache.Informers) error {
	profiles := handle(p.SetProfile, func(n *v1alpha1.NodeProfile) { p.DeleteProfile(n.Name) })
	read, err := follow(ctx, c, &v1alpha1.NodeProfile{}, profiles)
	if err != nil {
		return p.following.fails(fmt.Errorf("follow NodeProfiles: %w", err))
	}
	models := handle(p.SetModel, func(m *v1alpha1.PowerModel) { p.DeleteModel(m.Name) })
	also, err := follow(ctx, c, &v1alpha1.PowerModel{}, models)
	if err != nil {
		return p.following.fails(fmt.Errorf("follow PowerModels: %w", err))
	}
	p.following.does(read, also)
	return nil
}

// FollowLater does as [Provider.Follow] until ctx ends, as soon as the cluster has the kinds: they may be installed after the program,
// which goes by what else it has until then. It tells the log why it waits; [Provider.Followed] and the metric
// leastwatt_profiles_followed tell too.
func (p *Provider) FollowLater(ctx context.Context, c cache.Informers) {
	told := ""
	for {
		try, giveUp := context.WithCancel(ctx)
		err := p.Follow(try, c)
		if err == nil {
			<-ctx.Done()
			giveUp()
			return
		}
		giveUp() // what it follows already
		if text := err.Error(); text != told && ctx.Err() == nil {
			told = text
			p.log.ErrorContext(ctx, "NodeProfiles and PowerModels are not followed yet: install their CustomResourceDefinitions (k8s/chart/crds), or let this program list and watch them", "err", err)
		}
		wait := time.NewTimer(again)
		select {
		case <-ctx.Done():
			wait.Stop()
			return
		case <-wait.C:
		}
	}
}

// again is how long to wait before the cluster is asked again for kinds that it did not have.
const again = 5 * time.Second

// Followed returns nil when the cluster's NodeProfiles and PowerModels were read and are followed, else why they are not.
func (p *Provider) Followed() error { return p.following.err() }

// following is how far [Provider.Follow] has come.
type following struct {
	mu   sync.Mutex
	why  error                       // guarded by mu: that it fails, the last time
	read []toolscache.InformerSynced // guarded by mu: nil until it follows
}

var (
	errNotFollowed = errors.New("NodeProfiles and PowerModels are not followed yet")
	errBeingRead   = errors.New("NodeProfiles and PowerModels are not read yet")
)

func (f *following) fails(err error) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.why, f.read = err, nil
	return err
}

func (f *following) does(read ...toolscache.InformerSynced) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.why, f.read = nil, read
}

func (f *following) err() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read == nil {
		return cmp.Or(f.why, errNotFollowed)
	}
	for _, read := range f.read {
		if !read() {
			return errBeingRead
		}
	}
	return nil
}

// metric tells whether profiles are followed.
func (f *following) metric() prometheus.Collector {
	return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "leastwatt_profiles_followed",
		Help: "1 if the cluster's NodeProfiles and PowerModels were read and are followed; 0 while they are not, as where the cluster has no such resources or denies them."}, func() float64 {
		if f.err() != nil {
			return 0
		}
		return 1
	})
}

// FollowNodes tells the provider of the nodes in a cache, for programs that are no scheduler, whose plugin does so.
func (p *Provider) FollowNodes(ctx context.Context, c cache.Informers) error {
	put := func(n *v1.Node) {
		m := Machine(n)
		if old, ok := p.Machine(m.Name); !ok || old.Cores != m.Cores || old.Address != m.Address || !maps.Equal(old.Labels, m.Labels) {
			p.Put(m)
		}
	}
	if _, err := follow(ctx, c, &v1.Node{}, handle(put, func(n *v1.Node) { p.Remove(n.Name) })); err != nil {
		return fmt.Errorf("follow nodes: %w", err)
	}
	return nil
}

// Machine returns what a Node object tells of its machine. Utilization is over all its cores, so they count and not
// what is allocatable of them.
func Machine(n *v1.Node) scoring.Machine {
	cores := n.Status.Capacity.Cpu()
	if cores.IsZero() {
		cores = n.Status.Allocatable.Cpu()
	}
	m := scoring.Machine{Name: n.Name, Labels: n.Labels, Cores: cores.AsApproximateFloat64()}
	for _, a := range n.Status.Addresses {
		if a.Type == v1.NodeInternalIP {
			m.Address = a.Address
			break
		}
	}
	return m
}

// Slim drops from objects what nobody here reads and what is most of their memory: a transform for caches.
func Slim(obj any) (any, error) {
	if o, ok := obj.(client.Object); ok {
		o.SetManagedFields(nil)
	}
	if n, ok := obj.(*v1.Node); ok {
		n.Status.Images, n.Status.Conditions, n.Status.VolumesAttached, n.Status.VolumesInUse = nil, nil, nil, nil
	}
	return obj, nil
}

func follow(ctx context.Context, c cache.Informers, o client.Object, h toolscache.ResourceEventHandler) (read toolscache.InformerSynced, err error) {
	i, err := c.GetInformer(ctx, o, cache.BlockUntilSynced(false))
	if err != nil {
		return nil, err
	}
	r, err := i.AddEventHandler(h)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(ctx, func() {
		_ = i.RemoveEventHandler(r) // an informer that has stopped has none left
	})
	return r.HasSynced, nil
}

// handle lets typed functions handle an informer's events.
func handle[T any](set, gone func(T)) toolscache.ResourceEventHandler {
	one := func(f func(T)) func(any) {
		return func(obj any) {
			if d, ok := obj.(toolscache.DeletedFinalStateUnknown); ok {
				obj = d.Obj
			}
			if o, ok := obj.(T); ok {
				f(o)
			}
		}
	}
	return toolscache.ResourceEventHandlerFuncs{AddFunc: one(set), UpdateFunc: func(_, now any) { one(set)(now) }, DeleteFunc: one(gone)}
}
