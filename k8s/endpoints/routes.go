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
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/tools/events"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/scoring"
)

// WeightsAnnotation set to "true" on an HTTPRoute of the Gateway API asks for the weights of its backendRefs. The
// annotations of the CPU of a request and of [RateAnnotation] count on a route as on a Service; the rate is the
// whole route's.
const WeightsAnnotation = "leastwatt.github.io/weights"

// EmptyAnnotation of an HTTPRoute lists the backends to which [Routes] gave the weight 0, because they have no endpoints
// or next to nothing to serve. A backend with a weight of 0 that is not in it was taken out by the route's owner: it
// keeps the 0, and the others are divided without it.
const EmptyAnnotation = "leastwatt.github.io/empty-backends"

// FieldManager owns the rules of the routes that are weighed, in server-side apply.
const FieldManager = "leastwatt"

// httpRoutes is the resource that [Routes] writes.
var httpRoutes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}

// RouteOptions tune [Routes]. The zero value works.
type RouteOptions struct {
	// View returns the servers as they are now, without waiting: [scoring.Site.View]. Nil means that none is
	// known; every endpoint counts the same then.
	View func() *scoring.View

	// Weigher divides; nil means a [balancing.Optimal] that is damped: at most a step in a Refresh, however many changes come.
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
// ServiceImport of another cluster counts like a Service. Whatever else stands in a rule stays as it is, and so does
// a weight of 0 that is not its own: see [EmptyAnnotation].
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
	routes map[types.NamespacedName]*unstructured.Unstructured    // guarded by mu
	slices map[backendKey]map[types.NamespacedName]*endpointSlice // guarded by mu
	owners map[types.NamespacedName]backendKey                    // guarded by mu; what a slice is of

	// Of the goroutine that runs.
	last  map[string]map[string]float64
	noted map[types.UID]string
}

// A backendKey names a Service or a ServiceImport.
type backendKey struct {
	imported bool
	name     types.NamespacedName
}

// String returns the backend as EmptyAnnotation has it.
func (k backendKey) String() string {
	if k.imported {
		return "ServiceImport/" + k.name.String()
	}
	return k.name.String()
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
	if o.Refresh <= 0 {
		o.Refresh = 15 * time.Second
	}
	if o.Weigher == nil {
		o.Weigher = damped(o.Refresh)
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
		routes: make(map[types.NamespacedName]*unstructured.Unstructured), slices: make(map[backendKey]map[types.NamespacedName]*endpointSlice), owners: make(map[types.NamespacedName]backendKey)}, nil
}

// Run follows HTTPRoutes and EndpointSlices and writes weights until ctx ends. It leaves the weights as they are.
func (r *Routes) Run(ctx context.Context, client Client) error {
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctx)
	defer wg.Wait()
	defer cancel()
	routes, slices := make(chan struct{}), make(chan struct{}) // closed when all have been heard of
	wg.Go(func() {
		follow(ctx, r.client, r.client.Resource(httpRoutes), metav1.ListOptions{}, &unstructured.Unstructured{},
			&feed[*unstructured.Unstructured]{put: r.put, drop: r.remove, synced: func() { close(routes) }})
	})
	wg.Go(func() {
		follow(ctx, client, client.DiscoveryV1().EndpointSlices(""), metav1.ListOptions{}, &discovery.EndpointSlice{},
			&feed[*discovery.EndpointSlice]{put: r.putSlice, drop: r.removeSlice, synced: func() { close(slices) }, slim: slim})
	})
	for _, heard := range [...]chan struct{}{routes, slices} {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-heard:
		}
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

func (r *Routes) remove(k types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.routes, k)
}

func backendOf(s *discovery.EndpointSlice) backendKey {
	if name := s.Labels[importedLabel]; name != "" {
		return backendKey{true, types.NamespacedName{Namespace: s.Namespace, Name: name}}
	}
	return backendKey{false, types.NamespacedName{Namespace: s.Namespace, Name: s.Labels[discovery.LabelServiceName]}}
}

func (r *Routes) putSlice(s *discovery.EndpointSlice) {
	r.mu.Lock()
	defer r.mu.Unlock()
	name, k := nameIn(s), backendOf(s)
	if r.owners[name] != k {
		r.drop(name)
	}
	if r.slices[k] == nil {
		r.slices[k] = make(map[types.NamespacedName]*endpointSlice)
	}
	r.slices[k][name] = compact(s)
	r.owners[name] = k
	if len(r.routes) > 0 {
		r.changed()
	}
}

func (r *Routes) removeSlice(name types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.drop(name)
	if len(r.routes) > 0 {
		r.changed()
	}
}

// drop forgets a slice; its caller holds mu.
func (r *Routes) drop(name types.NamespacedName) {
	k := r.owners[name]
	delete(r.owners, name)
	delete(r.slices[k], name)
	if len(r.slices[k]) == 0 {
		delete(r.slices, k)
	}
}
