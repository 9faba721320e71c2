package endpoints

import (
	"net/netip"
	"unique"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/types"
)

// An endpointSlice is what this package asks of an EndpointSlice, in a fraction of its memory: every node of a cluster
// keeps all of them. It is not changed.
type endpointSlice struct {
	family    v1.IPFamily
	ports     []slicePort
	endpoints []sliceEndpoint
}

type slicePort struct {
	name     string
	protocol v1.Protocol
	number   uint16
}

// A sliceEndpoint has the first address of an endpoint, as kube-proxy does.
type sliceEndpoint struct {
	ip             netip.Addr
	node           unique.Handle[string] // thousands of endpoints run on few nodes
	pod            string                // in the namespace of its slice; "" if it is none
	hints          *hints
	ready, serving bool // serving: terminating, but still answering
}

type hints struct {
	zones, nodes []string
}

func (h *hints) forZones() []string {
	if h == nil {
		return nil
	}
	return h.zones
}

func (h *hints) forNodes() []string {
	if h == nil {
		return nil
	}
	return h.nodes
}

// compact returns what is asked of a slice. Ports and endpoints that nobody could use are left out.
func compact(s *discovery.EndpointSlice) *endpointSlice {
	out := &endpointSlice{family: v1.IPFamily(s.AddressType)}
	for _, p := range s.Ports {
		sp := slicePort{protocol: v1.ProtocolTCP}
		if p.Name != nil {
			sp.name = unique.Make(*p.Name).Value()
		}
		if p.Protocol != nil {
			sp.protocol = v1.Protocol(unique.Make(string(*p.Protocol)).Value())
		}
		if p.Port != nil && *p.Port > 0 && *p.Port <= 65535 {
			sp.number = uint16(*p.Port)
			out.ports = append(out.ports, sp)
		}
	}
	out.endpoints = make([]sliceEndpoint, 0, len(s.Endpoints))
	for i := range s.Endpoints {
		if e, ok := compactEndpoint(&s.Endpoints[i], out.family, s.Namespace); ok {
			out.endpoints = append(out.endpoints, e)
		}
	}
	return out
}

// compactEndpoint is false for an endpoint without an address of the family.
func compactEndpoint(e *discovery.Endpoint, f v1.IPFamily, namespace string) (sliceEndpoint, bool) {
	if len(e.Addresses) == 0 {
		return sliceEndpoint{}, false
	}
	ip, err := netip.ParseAddr(e.Addresses[0])
	if err != nil || familyOf(ip) != f {
		return sliceEndpoint{}, false
	}
	c := e.Conditions
	terminating := c.Terminating != nil && *c.Terminating
	out := sliceEndpoint{ip: ip, ready: c.Ready == nil || *c.Ready, serving: terminating && (c.Serving == nil || *c.Serving)}
	node := ""
	if e.NodeName != nil {
		node = *e.NodeName
	}
	out.node = unique.Make(node)
	if t := e.TargetRef; t != nil && t.Kind == "Pod" && t.Namespace == namespace {
		out.pod = t.Name
	}
	if h := e.Hints; h != nil && len(h.ForZones)+len(h.ForNodes) > 0 {
		out.hints = new(hints)
		for _, z := range h.ForZones {
			out.hints.zones = append(out.hints.zones, unique.Make(z.Name).Value())
		}
		for _, n := range h.ForNodes {
			out.hints.nodes = append(out.hints.nodes, unique.Make(n.Name).Value())
		}
	}
	return out, true
}

// A backend is an endpoint at one port with what decides whether it gets connections.
type backend struct {
	candidate
	ready, serving bool
	hints          *hints
}

// rank orders what slices say of one address.
func (b *backend) rank() int {
	switch {
	case b.ready:
		return 2
	case b.serving:
		return 1
	}
	return 0
}

func (e *sliceEndpoint) backend(port uint16, namespace string) backend {
	b := backend{candidate: candidate{addr: netip.AddrPortFrom(e.ip, port), node: e.node.Value()}, ready: e.ready, serving: e.serving, hints: e.hints}
	if e.pod != "" {
		b.pod = types.NamespacedName{Namespace: namespace, Name: e.pod}
	}
	return b
}
