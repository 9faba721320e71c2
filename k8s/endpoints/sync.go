package endpoints

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/scoring"
)

// RateAnnotation holds how many requests a second a Service expects on each port in the whole cluster. Without it, and
// without a rate that was measured, an endpoint gets at most one and a half times the neutral share.
const RateAnnotation = "leastwatt.github.io/requests-per-second"

// patience is how long one sync may take: nft needs seconds for 1,000 new Services, and one that hangs must not keep later
// changes from being written.
const patience = 2 * time.Minute

// sync weighs and writes once. Only what is remembered of the cluster is read under the lock.
func (p *Proxier) sync(ctx context.Context) error {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	ports := p.snapshot()
	services := make([]balancing.Service, len(ports))
	view := p.opts.View()
	for i := range ports {
		services[i] = p.service(&ports[i], view)
	}
	shares, err := p.opts.Weigher.Weigh(ctx, services)
	if err != nil {
		p.metrics.failed()
		return fmt.Errorf("weigh %d Service ports: %w", len(ports), err)
	}
	for i := range services {
		if services[i].Rate == 0 {
			restrain(shares[i])
		}
	}
	rules, refused := make(map[v1.IPFamily][]nftables.Service), make(map[string]error)
	for i := range ports {
		f := ports[i].family
		rules[f] = append(rules[f], ports[i].divided(shares[i]))
	}
	var errs []error
	for _, f := range [...]v1.IPFamily{v1.IPv4Protocol, v1.IPv6Protocol} {
		a := p.appliers[f]
		if a == nil {
			continue
		}
		r, err := a.Apply(ctx, rules[f])
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f, err))
			continue
		}
		for _, err := range r.Refused {
			if e, ok := errors.AsType[*nftables.RefusedError](err); ok {
				refused[string(e.Protocol)+" "+e.Service] = fmt.Errorf("%s: port is not served: %w", f, e)
			}
		}
	}
	if err := errors.Join(errs...); err != nil {
		p.metrics.failed()
		return err
	}
	p.health.keep(ports)
	p.explain(ports, refused)
	p.remember(ports, services, shares)
	p.forget(ctx, ports)
	p.metrics.synced(time.Since(began), ports, services, shares)
	p.written.Store(new(time.Now()))
	return nil
}

// snapshot returns the ports of all Services, in the order of their names. Only those of Services that changed are made
// anew.
func (p *Proxier) snapshot() []servicePort {
	p.mu.Lock()
	w := world{services: maps.Clone(p.world.services), topology: p.world.topology, slices: make(map[types.NamespacedName]map[string]*endpointSlice)}
	if p.world.stale == nil || p.made == nil {
		p.made = make(map[types.NamespacedName][]servicePort, len(w.services))
		p.world.stale = make(map[types.NamespacedName]bool)
	}
	for k := range p.world.stale {
		delete(p.made, k)
	}
	clear(p.world.stale)
	for k := range w.services {
		if _, ok := p.made[k]; !ok {
			w.slices[k] = maps.Clone(p.world.slices[k])
		}
	}
	p.mu.Unlock()
	n := 0
	for k, s := range w.services {
		ports, ok := p.made[k]
		if !ok {
			ports = w.ports(k, s, p.opts.Node)
			p.made[k] = ports
		}
		n += len(ports)
	}
	out := make([]servicePort, 0, n)
	for k := range w.services {
		out = append(out, p.made[k]...)
	}
	slices.SortFunc(out, func(a, b servicePort) int {
		return cmp.Or(cmp.Compare(a.rules.Name, b.rules.Name), cmp.Compare(a.rules.Protocol, b.rules.Protocol), cmp.Compare(a.family, b.family))
	})
	return out
}

// divided returns a port's rules with shares.
func (sp *servicePort) divided(shares []balancing.Share) nftables.Service {
	r := sp.rules
	if r.Outside != nil {
		o := *r.Outside
		r.Outside = &o
	}
	r.Endpoints = make([]nftables.Endpoint, 0, len(sp.endpoints))
	for j, e := range sp.endpoints {
		ep := nftables.Endpoint{Addr: e.addr, Share: shares[j].Value}
		if e.inside {
			r.Endpoints = append(r.Endpoints, ep)
		}
		if e.outside && r.Outside != nil {
			r.Outside.Endpoints = append(r.Outside.Endpoints, ep)
		}
	}
	return r
}

// explain makes Events of what is wrong with Services: annotations, what is not supported, what the writer refused.
func (p *Proxier) explain(ports []servicePort, refused map[string]error) {
	trouble := make(map[*v1.Service][]error)
	for i := range ports {
		sp := &ports[i]
		if _, seen := trouble[sp.service]; !seen {
			trouble[sp.service] = p.trouble(sp.service)
		}
		if err := refused[string(sp.rules.Protocol)+" "+sp.rules.Name]; err != nil {
			trouble[sp.service] = append(trouble[sp.service], err)
		}
	}
	for s, errs := range trouble {
		p.note(s, errors.Join(errs...))
	}
}

// trouble returns what of a Service cannot be done.
func (p *Proxier) trouble(s *v1.Service) []error {
	var out []error
	if _, err := balancing.CPUFromAnnotations(s.Annotations); err != nil && !errors.Is(err, balancing.ErrNoCPU) {
		out = append(out, err)
	}
	if _, err := rateFromAnnotations(s.Annotations); err != nil {
		out = append(out, err)
	}
	if what := p.unsupported(s); what != "" {
		out = append(out, fmt.Errorf("not supported by this proxy: %s", what))
	}
	if err := p.health.failed[keyOf(s)]; err != nil {
		out = append(out, err)
	}
	return out
}

// service is what the weigher is told of a port. What is wrong with the Service, explain tells.
func (p *Proxier) service(sp *servicePort, view *scoring.View) balancing.Service {
	s := balancing.Service{Name: sp.id}
	var err error
	if s.CPU, err = balancing.CPUFromAnnotations(sp.service.Annotations); err != nil {
		s.CPU = 0
		if p.opts.CPU != nil {
			if v, ok := p.opts.CPU(sp.key, sp.port); ok && v > 0 && v <= balancing.MaxCPU {
				s.CPU = v
			}
		}
	}
	s.Rate, _ = rateFromAnnotations(sp.service.Annotations)
	if p.opts.Rate != nil {
		v, ok := p.opts.Rate(sp.key, sp.port)
		if !ok && len(sp.service.Spec.Ports) == 1 {
			v, ok = p.opts.Rate(sp.key, "")
		}
		if ok && v >= 0 && v <= maxRate {
			s.Rate = v
		}
	}
	s.Rate *= sp.part / float64(len(sp.service.Spec.IPFamilies)) // as if clients came evenly by both
	last := p.last.Row(s.Name)
	s.Endpoints = make([]balancing.Endpoint, 0, len(sp.endpoints))
	for j := range sp.endpoints {
		c := &sp.endpoints[j]
		e := balancing.Endpoint{ID: c.id}
		if view != nil {
			e.Node = view.Node(c.node)
		}
		share, _ := last.Share(j, e.ID)
		e.Load = moving(&e, share, &s)
		s.Endpoints = append(s.Endpoints, e)
	}
	return s
}

// moving returns how much of a server's measured use is an endpoint's share of its Service: none where the rate is
// not known.
func moving(e *balancing.Endpoint, share float64, s *balancing.Service) float64 {
	if s.Rate <= 0 || e.Node == nil {
		return 0
	}
	load := min(share*s.Demand(), e.Node.State.Utilization*e.Node.Capacity.Work())
	if !(load >= 0) {
		return 0
	}
	return load
}

const maxRate = 1e9

// rateFromAnnotations returns the expected request rate; 0 without an annotation.
func rateFromAnnotations(a map[string]string) (float64, error) {
	text, ok := a[RateAnnotation]
	if !ok {
		return 0, nil
	}
	v, err := strconv.ParseFloat(text, 64)
	if len(text) > 32 || err != nil || !(v > 0 && v <= maxRate) {
		return 0, fmt.Errorf("annotation %s: %.40q is not a number of requests per second above 0, at most %g", RateAnnotation, text, float64(maxRate))
	}
	return v, nil
}

// note makes an Event of what is wrong with a Service, once until that changes.
func (p *Proxier) note(s *v1.Service, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if p.noted[s.UID] == text {
		return
	}
	p.noted[s.UID] = text
	if text != "" {
		p.opts.Log.Warn("Service is not served as it asks", "namespace", s.Namespace, "service", s.Name, "err", text)
		if p.opts.Events != nil {
			p.opts.Events.Eventf(s, nil, v1.EventTypeWarning, "NotSupported", "Proxy", "%s", text)
		}
	}
}

// remember keeps what was applied.
func (p *Proxier) remember(ports []servicePort, services []balancing.Service, shares [][]balancing.Share) {
	live := make(map[types.UID]bool, len(ports))
	for i := range ports {
		live[ports[i].service.UID] = true
	}
	p.last.Keep(services, shares)
	maps.DeleteFunc(p.noted, func(u types.UID, _ string) bool { return !live[u] })
}
