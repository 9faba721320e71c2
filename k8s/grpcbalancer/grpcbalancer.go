// Package grpcbalancer lets gRPC clients divide their calls by shares.
//
// Its main type is [Weights], the shares of a Service's endpoints by address, which a loop stores and any number of
// channels follow. [NewBuilder] makes a load balancing policy of them; main registers it under a name and channels
// name that in their service config. It imports nothing of Kubernetes.
package grpcbalancer

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/base"

	"github.com/leastwatt/leastwatt/balancing"
)

// Weights holds the weight of each endpoint of one Service by its address, "10.0.0.7:8080" or whatever the resolver
// calls it. The zero value knows none, and all get the same then. It is safe for concurrent use.
type Weights struct {
	now atomic.Pointer[map[string]float64]
}

// Store makes all channels divide by these weights from their next call on. They need not sum to 1. An endpoint that
// is not named gets as little as the least that is, at most the neutral share.
func (w *Weights) Store(byAddress map[string]float64) error {
	for a, v := range byAddress {
		if !(v >= 0) || math.IsInf(v, 0) {
			return fmt.Errorf("gRPC weights: that of %s is %v: want a finite number, 0 or more", a, v)
		}
	}
	m := maps.Clone(byAddress)
	w.now.Store(&m)
	return nil
}

// StoreShares stores what a Weigher answered for a Service whose endpoints' IDs are addresses.
func (w *Weights) StoreShares(s *balancing.Service, shares []balancing.Share) error {
	m := make(map[string]float64, len(shares))
	for i := range shares {
		m[s.Endpoints[i].ID] += shares[i].Value
	}
	return w.Store(m)
}

// Options tune a balancer. The zero value works.
type Options struct {
	// Picker makes what picks between the endpoints that are connected, whenever they or their weights change.
	// Nil means weighted random: [balancing.NewAlias].
	Picker func(addresses []string, weights []float64) (balancing.Picker, error)

	// Key names whom a call belongs to, for pickers with affinity; nil means nobody.
	Key func(balancer.PickInfo) uint64

	// HealthCheck leaves out endpoints whose server says that it does not serve, if the channel's service config
	// asks for health checks and the client imports google.golang.org/grpc/health.
	HealthCheck bool
}

// NewBuilder returns a load balancing policy for [balancer.Register], which main calls before it dials. A channel
// uses it with the service config {"loadBalancingConfig": [{"NAME": {}}]}, NAME in lower case. It connects to all
// addresses that the resolver names and divides calls between those that are ready.
func NewBuilder(name string, w *Weights, o Options) balancer.Builder {
	if o.Picker == nil {
		o.Picker = func(_ []string, weights []float64) (balancing.Picker, error) { return balancing.NewAlias(weights) }
	}
	return base.NewBalancerBuilder(name, builder{w, o}, base.Config{HealthCheck: o.HealthCheck})
}

type builder struct {
	weights *Weights
	opts    Options
}

// Build implements base.PickerBuilder.
func (b builder) Build(info base.PickerBuildInfo) balancer.Picker {
	if len(info.ReadySCs) == 0 {
		return base.NewErrPicker(balancer.ErrNoSubConnAvailable)
	}
	p := &picker{weights: b.weights, opts: b.opts}
	byAddress := make(map[string]balancer.SubConn, len(info.ReadySCs))
	for c, i := range info.ReadySCs {
		byAddress[i.Address.Addr] = c
	}
	p.addresses = slices.Sorted(maps.Keys(byAddress))
	for _, a := range p.addresses {
		p.conns = append(p.conns, byAddress[a])
	}
	p.mu.Lock()
	p.make()
	p.mu.Unlock()
	return p
}

// A picker divides calls between the connections that are ready. They do not change; their weights do.
type picker struct {
	weights   *Weights
	opts      Options
	addresses []string
	conns     []balancer.SubConn

	table atomic.Pointer[table]
	mu    sync.Mutex // held by who makes a table
}

// A table is a picker, or why there is none, and the weights that it is of.
type table struct {
	of     *map[string]float64
	picker balancing.Picker
	err    error
}

// Pick implements balancer.Picker.
func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	if p.table.Load().of != p.weights.now.Load() && p.mu.TryLock() { // others go on with the old one meanwhile
		p.make()
		p.mu.Unlock()
	}
	t := p.table.Load()
	if t.err != nil {
		return balancer.PickResult{}, t.err
	}
	key := uint64(0)
	if p.opts.Key != nil {
		key = p.opts.Key(info)
	}
	i := t.picker.Pick(key)
	if i < 0 || i >= len(p.conns) {
		return balancer.PickResult{}, balancer.ErrNoSubConnAvailable
	}
	r := balancer.PickResult{SubConn: p.conns[i]}
	if done, ok := t.picker.(balancing.TrackingPicker); ok {
		r.Done = func(balancer.DoneInfo) { done.Done(i) }
	}
	return r, nil
}

// make makes the table of the present weights.
func (p *picker) make() {
	now := p.weights.now.Load()
	weights := make([]float64, len(p.addresses))
	least, sum := math.Inf(1), 0.0
	if now != nil {
		for _, a := range p.addresses {
			if v, ok := (*now)[a]; ok {
				least, sum = min(least, v), sum+v
			}
		}
	}
	for i, a := range p.addresses {
		weights[i] = 1 // nobody has a weight
		if sum > 0 {
			v, ok := (*now)[a]
			if !ok {
				v = least // which is at most the neutral share
			}
			weights[i] = v
		}
	}
	t := &table{of: now}
	if t.picker, t.err = p.opts.Picker(p.addresses, weights); t.err != nil {
		t.err = fmt.Errorf("gRPC balancer: %w", t.err)
	}
	p.table.Store(t)
}
