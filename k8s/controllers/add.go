package controllers

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
)

// Options tune what [Add] adds. The zero value works.
type Options struct {
	// Makers ask for profiles where no NodeProfileTemplate does, in their order. Their objects are watched.
	Makers []Maker

	// Watches are the objects that the makers look at beside nodes.
	Watches []Watch

	// Models are PowerModels that are kept in the cluster as other systems' objects say; nil is none.
	Models []ModelSource

	// Workers is how many nodes are looked at at once; 0 means 4.
	Workers int

	// Sweep is how often status is compared with what the sensors do; 0 means 5 seconds.
	Sweep time.Duration

	// Period is how old the times in a status may become, where nothing else changes; 0 means 10 minutes.
	Period time.Duration

	// Learned is after how long what was learned of a server is put anew into the status of its profile; 0 means one hour,
	// negative keeps nothing.
	Learned time.Duration

	// Logger is told what fails in the background; nil discards it.
	Logger *slog.Logger

	// Registerer is given the metrics; nil means none.
	Registerer prometheus.Registerer
}

// A Watch is one kind of object that makers look at: when one changes, the nodes that it is for are looked at again.
type Watch struct {
	// Object is an empty object of the kind.
	Object client.Object

	// Node returns the name of the one node that an object is for, or "" if it is for none. The manager's cache then has
	// the index [NodeIndex] of the kind. Nil says that an object may be for any node.
	Node func(client.Object) string
}

// NodeIndex is the cache's index by which makers list what is for one node, with [client.MatchingFields]: a list of all
// for every node would be work that grows with the square of the cluster.
const NodeIndex = "spec.nodeName"

// Add adds the controllers to a manager, with the provider, which runs while the manager leads. The manager's cache
// should have [profiles.Slim] as its transform.
func Add(ctx context.Context, mgr ctrl.Manager, p *profiles.Provider, o Options) (*Added, error) {
	if o.Workers <= 0 {
		o.Workers = 4
	}
	if o.Sweep <= 0 {
		o.Sweep = 5 * time.Second
	}
	if o.Period <= 0 {
		o.Period = 10 * time.Minute
	}
	if o.Learned == 0 {
		o.Learned = time.Hour
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	actions, wrong, found := newActions(), newProblems(), newCensus()
	if o.Registerer != nil {
		if err := errors.Join(o.Registerer.Register(actions), o.Registerer.Register(wrong), o.Registerer.Register(found)); err != nil {
			return nil, fmt.Errorf("controllers: %w", err)
		}
	}
	count := func(action string) { actions.WithLabelValues(action).Inc() }
	r := &profiler{client: mgr.GetClient(), makers: append([]Maker{templates{}}, o.Makers...), problems: wrong, count: count}
	again := make(chan event.GenericEvent, 1)
	added := &Added{mgr: mgr, again: again, everyNode: handler.EnqueueRequestsFromMapFunc(func(ctx context.Context, _ client.Object) []reconcile.Request {
		return allNodes(ctx, mgr.GetClient())
	})}
	b := ctrl.NewControllerManagedBy(mgr).Named("nodeprofiles").
		WithOptions(controller.Options{MaxConcurrentReconciles: o.Workers}).
		Watches(&v1.Node{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(nodeChanges)).
		Watches(&v1alpha1.NodeProfile{}, &handler.EnqueueRequestForObject{}, builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, predicate.LabelChangedPredicate{}))).
		Watches(&v1alpha1.NodeProfileTemplate{}, added.everyNode, builder.WithPredicates(predicate.GenerationChangedPredicate{}))
	b = b.WatchesRawSource(source.Channel(again, added.everyNode))
	if err := added.index(ctx, o.Watches); err != nil {
		return nil, err
	}
	for _, w := range o.Watches {
		b = b.Watches(w.Object, added.nodesOf(w), builder.WithPredicates(predicate.ResourceVersionChangedPredicate{}))
	}
	var err error
	if added.profiles, err = b.Build(r); err != nil {
		return nil, fmt.Errorf("controllers: %w", err)
	}
	s := &sweeper{client: mgr.GetClient(), provider: p, problems: wrong, census: found, count: count, period: o.Period, every: o.Sweep, models: o.Models, read: make(map[string]bool), learned: o.Learned, again: again, log: o.Logger}
	if err := mgr.Add(s); err != nil {
		return nil, fmt.Errorf("controllers: %w", err)
	}
	if err := p.Follow(ctx, mgr.GetCache()); err != nil {
		return nil, err
	}
	if err := p.FollowNodes(ctx, mgr.GetCache()); err != nil {
		return nil, err
	}
	if err := mgr.Add(provider{p}); err != nil {
		return nil, fmt.Errorf("controllers: %w", err)
	}
	return added, nil
}

// Added is the controllers that [Add] added.
type Added struct {
	mgr       ctrl.Manager
	profiles  controller.Controller
	everyNode handler.EventHandler
	again     chan<- event.GenericEvent // has every node looked at again
}

// Watch watches further objects that makers look at, as of a kind that the cluster did not have when [Add] was called. It waits until they
// were read, which may be for ever where the program may not, and calls ready before the first node is looked at for them: from then on
// makers can list the kinds without waiting. All nodes are looked at then. After an error some of the objects may be watched already.
func (a *Added) Watch(ctx context.Context, ready func(), watches ...Watch) error {
	if err := a.index(ctx, watches); err != nil {
		return err
	}
	for _, w := range watches {
		if _, err := a.mgr.GetCache().GetInformer(ctx, w.Object); err != nil {
			return fmt.Errorf("controllers: read %T: %w", w.Object, err)
		}
	}
	ready()
	for _, w := range watches {
		if err := a.profiles.Watch(source.Kind(a.mgr.GetCache(), w.Object, a.nodesOf(w), predicate.ResourceVersionChangedPredicate{})); err != nil {
			return fmt.Errorf("controllers: watch %T: %w", w.Object, err)
		}
	}
	askAgain(a.again)
	return nil
}

// askAgain has every node looked at again.
func askAgain(again chan<- event.GenericEvent) {
	select {
	case again <- event.GenericEvent{Object: &v1.Node{}}:
	default: // they will be anyway
	}
}

// index lets makers list what is for one node.
func (a *Added) index(ctx context.Context, watches []Watch) error {
	for _, w := range watches {
		if w.Node == nil {
			continue
		}
		if err := a.mgr.GetFieldIndexer().IndexField(ctx, w.Object, NodeIndex, w.index); err != nil {
			return fmt.Errorf("controllers: index %T by its node: %w", w.Object, err)
		}
	}
	return nil
}

// nodesOf returns what has the nodes of an object looked at.
func (a *Added) nodesOf(w Watch) handler.EventHandler {
	if w.Node == nil {
		return a.everyNode
	}
	return handler.EnqueueRequestsFromMapFunc(w.requests)
}

func newActions() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "leastwatt_profile_actions_total",
		Help: "What the controller did to NodeProfiles: look, create, update, delete, status, and error, a look that failed and comes again."}, []string{"action"})
}

// index returns what an object stands under in [NodeIndex].
func (w Watch) index(o client.Object) []string {
	if n := w.Node(o); n != "" {
		return []string{n}
	}
	return nil
}

// requests returns the request for the node of an object; of a change, it is asked for both the old and the new.
func (w Watch) requests(_ context.Context, o client.Object) []reconcile.Request {
	if n := w.Node(o); n != "" {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: n}}}
	}
	return nil
}

// provider runs while the manager leads: two pollers would be twice the load on BMCs.
type provider struct{ *profiles.Provider }

// Start implements manager.Runnable.
func (p provider) Start(ctx context.Context) error { return p.Run(ctx) }

// NeedLeaderElection implements manager.LeaderElectionRunnable.
func (provider) NeedLeaderElection() bool { return true }

// allNodes returns a request for every node, and for every profile, whose node may be gone.
func allNodes(ctx context.Context, c client.Reader) []reconcile.Request {
	var nodes v1.NodeList
	var have v1alpha1.NodeProfileList
	if err := c.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
		return nil // the cache is empty before its first list, which makes a request of each node anyway
	}
	if err := c.List(ctx, &have, client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	names := make(map[string]bool, len(nodes.Items))
	for i := range nodes.Items {
		names[nodes.Items[i].Name] = true
	}
	for i := range have.Items {
		names[have.Items[i].Name] = true
	}
	all := make([]reconcile.Request, 0, len(names))
	for n := range names {
		all = append(all, reconcile.Request{NamespacedName: types.NamespacedName{Name: n}})
	}
	return all
}

// nodeChanges are the changes of nodes that templates can see: not their heartbeats.
var nodeChanges = predicate.Funcs{UpdateFunc: func(e event.UpdateEvent) bool {
	a, ok := e.ObjectOld.(*v1.Node)
	b, also := e.ObjectNew.(*v1.Node)
	return !ok || !also || !maps.Equal(a.Labels, b.Labels) || profiles.Machine(a).Address != profiles.Machine(b).Address ||
		hostname(a) != hostname(b) || (a.DeletionTimestamp == nil) != (b.DeletionTimestamp == nil)
}}
