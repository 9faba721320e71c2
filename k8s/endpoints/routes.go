package endpoints

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/dynamicinformer"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/scoring"
)

// WeightsAnnotation set to "true" on an HTTPRoute of the Gateway API asks for the weights of its backendRefs. The
// annotations of the CPU of a request and of [RateAnnotation] count on a route as on a Service; the rate is the
// whole route's.
const WeightsAnnotation = "leastwatt.github.io/weights"

// FieldManager owns the rules of the routes that are weighed, in server-side apply.
const FieldManager = "leastwatt"

// httpRoutes is the resource that [Routes] writes.
var httpRoutes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}

// RouteOptions tune [Routes]. The zero value works.
type RouteOptions struct {
	// View returns the servers as they are now, without waiting: [scoring.Site.View]. Nil means that none is
	// known; every endpoint counts the same then.
	View func() *scoring.View

	// Weigher divides; nil means a damped [balancing.Optimal].
	Weigher balancing.Weigher

	// Refresh is how often weights are computed anew; 0 means 15 s. A change of a route or of endpoints counts
	// within Pause.
	Refresh time.Duration

	// Pause is the least time between two rounds; 0 means 1 s.
	Pause time.Duration

	// Step is by how much a backend's part must differ from what the route says to be written, so that the API
	// server is not asked for every breath of a sensor; 0 means 0.02. A backend that gains its first endpoint or
	// loses its last is written at once.
	Step float64

	// Events gets an Event for each route of which something cannot be weighed; nil means none.
	Events events.EventRecorder

	// Registerer gets the metrics; nil means none.
	Registerer prometheus.Registerer

	// Log gets what goes wrong in the background; nil discards it.
	Log *slog.Logger
}

// Routes writes shares as the weights of the backendRefs of annotated HTTPRoutes: what a Service behind a route
// gets is the sum of what its endpoints would get if all endpoints behind the rule were one Service's. A
// ServiceImport of another cluster counts like a Service. Whatever else stands in a rule stays as it is.
//
// The rules of a route are one value to server-side apply, so that their writer owns them whole: Routes applies them
// as it read them, but for the weights, and only onto the version that it read. One process in a cluster should
// run it.
type Routes struct {
	opts   RouteOptions
	client dynamic.Interface
	kick   chan struct{}
	m      *routeMetrics

	mu     sync.Mutex
	routes map[types.NamespacedName]*unstructured.Unstructured              // guarded by mu
	slices map[backendKey]map[types.NamespacedName]*discovery.EndpointSlice // guarded by mu

	// Of the goroutine that runs.
	last  map[string]map[string]float64
	noted map[types.UID]string
}

// A backendKey names a Service or a ServiceImport.
type backendKey struct {
	imported bool
	name     types.NamespacedName
}

// importedLabel names the ServiceImport of an EndpointSlice (sigs.k8s.io/mcs-api).
const importedLabel = "multicluster.kubernetes.io/service-name"

// NewRoutes returns a writer of weights that applies routes through client. It starts nothing.
func NewRoutes(client dynamic.Interface, o RouteOptions) (*Routes, error) {
	if client == nil {
		return nil, errors.New("endpoints: routes need a client")
	}
	if o.View == nil {
		o.View = func() *scoring.View { return nil }
	}
	if o.Weigher == nil {
		o.Weigher = balancing.NewDamped(&balancing.Optimal{}, 0)
	}
	if o.Refresh <= 0 {
		o.Refresh = 15 * time.Second
	}
	if o.Pause <= 0 {
		o.Pause = time.Second
	}
	if o.Step == 0 {
		o.Step = 0.02
	}
	if !(o.Step > 0 && o.Step < 1) {
		return nil, fmt.Errorf("endpoints: a step of %v of a weight: want a part above 0 and below 1", o.Step)
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	m, err := newRouteMetrics(o.Registerer)
	if err != nil {
		return nil, err
	}
	return &Routes{opts: o, client: client, kick: make(chan struct{}, 1), m: m, noted: make(map[types.UID]string),
		routes: make(map[types.NamespacedName]*unstructured.Unstructured), slices: make(map[backendKey]map[types.NamespacedName]*discovery.EndpointSlice)}, nil
}

// Run follows HTTPRoutes and EndpointSlices and writes weights until ctx ends. It leaves the weights as they are.
func (r *Routes) Run(ctx context.Context, client kubernetes.Interface) error {
	routes := dynamicinformer.NewDynamicSharedInformerFactory(r.client, 0)
	slices := informers.NewSharedInformerFactoryWithOptions(client, 0, informers.WithTransform(slim))
	ri, si := routes.ForResource(httpRoutes).Informer(), slices.Discovery().V1().EndpointSlices().Informer()
	heardRoutes, err := ri.AddEventHandler(handler(r.put, func(_, u *unstructured.Unstructured) { r.put(u) }, r.remove))
	if err != nil {
		return fmt.Errorf("watch HTTPRoutes: %w", err)
	}
	heardSlices, err := si.AddEventHandler(handler(r.putSlice, func(old, s *discovery.EndpointSlice) {
		if backendOf(old) != backendOf(s) {
			r.removeSlice(old)
		}
		r.putSlice(s)
	}, r.removeSlice))
	if err != nil {
		return fmt.Errorf("watch EndpointSlices: %w", err)
	}
	routes.Start(ctx.Done())
	slices.Start(ctx.Done())
	defer slices.Shutdown()
	defer routes.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), heardRoutes.HasSynced, heardSlices.HasSynced) {
		return ctx.Err()
	}
	refresh := time.NewTicker(r.opts.Refresh)
	defer refresh.Stop()
	for {
		r.sync(ctx)
		select { // however fast the changes come
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(r.opts.Pause):
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.kick:
		case <-refresh.C:
		}
	}
}

func (r *Routes) changed() {
	select {
	case r.kick <- struct{}{}:
	default:
	}
}

func (r *Routes) put(u *unstructured.Unstructured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()}
	if u.GetAnnotations()[WeightsAnnotation] != "true" {
		delete(r.routes, k)
		return
	}
	r.routes[k] = u
	r.changed()
}

func (r *Routes) remove(u *unstructured.Unstructured) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.routes, types.NamespacedName{Namespace: u.GetNamespace(), Name: u.GetName()})
}

func backendOf(s *discovery.EndpointSlice) backendKey {
	if name := s.Labels[importedLabel]; name != "" {
		return backendKey{true, types.NamespacedName{Namespace: s.Namespace, Name: name}}
	}
	return backendKey{false, sliceKey(s)}
}

func (r *Routes) putSlice(s *discovery.EndpointSlice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := backendOf(s)
	if r.slices[k] == nil {
		r.slices[k] = make(map[types.NamespacedName]*discovery.EndpointSlice)
	}
	r.slices[k][types.NamespacedName{Namespace: s.Namespace, Name: s.Name}] = s
	if len(r.routes) > 0 {
		r.changed()
	}
}

func (r *Routes) removeSlice(s *discovery.EndpointSlice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := backendOf(s)
	delete(r.slices[k], types.NamespacedName{Namespace: s.Namespace, Name: s.Name})
	if len(r.slices[k]) == 0 {
		delete(r.slices, k)
	}
	if len(r.routes) > 0 {
		r.changed()
	}
}
