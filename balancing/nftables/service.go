package nftables

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/balancing"
)

// A Protocol is a transport protocol, as nft writes it.
type Protocol string

// The protocols that can be divided.
const (
	TCP  Protocol = "tcp"
	UDP  Protocol = "udp"
	SCTP Protocol = "sctp"
)

// A Service is one port whose new connections are divided. All addresses are of the writer's family.
type Service struct {
	// Name identifies the Service: "namespace/name:port".
	Name string

	Protocol Protocol

	// IPs are the virtual addresses that only the cluster reaches, Port the port on all of them.
	IPs  []netip.Addr
	Port uint16

	// External are addresses that are reached from outside, and Balancers those that a load balancer forwards
	// here unchanged; both on Port.
	External, Balancers []netip.Addr

	// SourceRanges are whose connections to Balancers are taken; others are dropped. Empty means everybody's.
	SourceRanges []netip.Prefix

	// NodePort is a port on every local address as well; 0 means none.
	NodePort uint16

	// Affinity is for how long after its last connection a client's address stays with its endpoint; 0
	// means not at all. It is rounded up to seconds.
	Affinity time.Duration

	// Endpoints are those that may get new connections.
	Endpoints []Endpoint

	// Drop says that without endpoints packets are dropped rather than rejected.
	Drop bool

	// Outside says what is different for connections from outside, to External, Balancers and NodePort; nil
	// means nothing: they meet Endpoints and are masqueraded.
	Outside *Outside
}

// Outside is how connections from outside are divided.
type Outside struct {
	// Endpoints are those that may get new connections from outside, and Drop is for when there are none.
	Endpoints []Endpoint
	Drop      bool

	// KeepSource leaves the client's address as it is: the endpoints are on this node, and the answers come
	// back this way. Connections of pods and of this node itself meet the Service's Endpoints then.
	KeepSource bool
}

// An Endpoint gets a share of a Service's connections. Endpoints with one address count as one.
type Endpoint struct {
	Addr  netip.AddrPort
	Share float64 // not negative; shares need not sum to 1
}

// ErrDuplicate says that two Services claim one address and port.
var ErrDuplicate = errors.New("address and port belong to another Service already")

// RefusedError says which Service was left out, and why.
type RefusedError struct {
	Service  string // its name
	Protocol Protocol
	Err      error
}

// Error implements error.
func (e *RefusedError) Error() string { return fmt.Sprintf("service %q: %v", e.Service, e.Err) }

// Unwrap returns why.
func (e *RefusedError) Unwrap() error { return e.Err }

// A port is a Service brought to one form, so that two can be compared.
type port struct {
	Service // as asked for

	ips, external, balancers []netip.Addr
	sources                  []netip.Prefix
	affinity                 time.Duration
	inside                   division
	outside                  *division // nil if it is as inside, and masqueraded
	keep, drop               bool      // of outside
}

// A division says how many of total parts each endpoint gets.
type division struct {
	endpoints []slot
	total     int
}

type slot struct {
	addr netip.AddrPort
	n    int
}

// normal checks a Service and brings it to one form.
func normal(s *Service, v6 bool, slots int) (*port, error) {
	if s.Protocol != TCP && s.Protocol != UDP && s.Protocol != SCTP {
		return nil, fmt.Errorf("protocol %q is not tcp, udp or sctp", s.Protocol)
	}
	if s.Port == 0 {
		return nil, errors.New("port is 0")
	}
	p := &port{Service: *s}
	// What the caller may change is copied.
	p.Endpoints, p.IPs = slices.Clone(s.Endpoints), slices.Clone(s.IPs)
	p.External, p.Balancers, p.SourceRanges = slices.Clone(s.External), slices.Clone(s.Balancers), slices.Clone(s.SourceRanges)
	var err error
	for _, a := range [...]struct{ to, from *[]netip.Addr }{{&p.ips, &p.IPs}, {&p.external, &p.External}, {&p.balancers, &p.Balancers}} {
		if *a.to, err = addresses(*a.from, v6); err != nil {
			return nil, err
		}
	}
	// An address with two roles has the narrower one first.
	p.external = without(p.external, p.ips)
	p.balancers = without(without(p.balancers, p.ips), p.external)
	for _, r := range s.SourceRanges {
		if !r.IsValid() || !family(r.Masked().Addr(), v6) {
			return nil, fmt.Errorf("source range %v is not of the family of the rules", r)
		}
		p.sources = append(p.sources, r.Masked())
	}
	p.sources = disjoint(p.sources)
	if s.Affinity > 0 {
		p.affinity = (s.Affinity + time.Second - 1).Truncate(time.Second)
	}
	if p.inside, err = divide(s.Endpoints, v6, slots); err != nil {
		return nil, err
	}
	if s.Outside != nil {
		o := *s.Outside
		o.Endpoints = slices.Clone(o.Endpoints)
		p.Outside = &o
		d, err := divide(o.Endpoints, v6, slots)
		if err != nil {
			return nil, err
		}
		p.outside, p.keep, p.drop = &d, o.KeepSource, o.Drop
	}
	return p, nil
}

// addresses returns addresses in order, each once.
func addresses(ips []netip.Addr, v6 bool) ([]netip.Addr, error) {
	for _, ip := range ips {
		if !family(ip, v6) {
			return nil, fmt.Errorf("address %v is not of the family of the rules", ip)
		}
	}
	out := slices.Clone(ips)
	slices.SortFunc(out, netip.Addr.Compare)
	return slices.Compact(out), nil
}

func without(a, b []netip.Addr) []netip.Addr {
	return slices.DeleteFunc(a, func(ip netip.Addr) bool { return slices.Contains(b, ip) })
}

// disjoint returns prefixes in order, without those that another one holds: nft refuses overlaps.
func disjoint(p []netip.Prefix) []netip.Prefix {
	slices.SortFunc(p, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	var out []netip.Prefix
	for _, r := range p {
		if len(out) == 0 || !out[len(out)-1].Overlaps(r) {
			out = append(out, r)
		}
	}
	return out
}

// divide quantises endpoints' shares; those without a part are left out.
func divide(list []Endpoint, v6 bool, slots int) (division, error) {
	eps := slices.Clone(list)
	slices.SortFunc(eps, func(a, b Endpoint) int { return a.Addr.Compare(b.Addr) })
	d := division{endpoints: make([]slot, 0, len(eps))}
	weights := make([]float64, 0, len(eps))
	for i, e := range eps {
		if !family(e.Addr.Addr(), v6) || e.Addr.Port() == 0 {
			return d, fmt.Errorf("endpoint %v is not an address of the rules' family with a port", e.Addr)
		}
		if i > 0 && e.Addr == eps[i-1].Addr {
			weights[len(weights)-1] += e.Share
			continue
		}
		d.endpoints = append(d.endpoints, slot{addr: e.Addr})
		weights = append(weights, e.Share)
	}
	d.total = slots
	for d.total < 2*len(weights) || slots >= defaultSlots && float64(d.total)*balancing.DefaultFloor < float64(len(weights)) {
		d.total *= 10 // otherwise a floor's share would become much more than it is, at the expense of the best
	}
	quota, err := balancing.Quantize(weights, d.total)
	if err != nil {
		return d, err
	}
	for i := range quota {
		d.endpoints[i].n = quota[i]
	}
	d.endpoints = slices.DeleteFunc(d.endpoints, func(s slot) bool { return s.n == 0 })
	return d, nil
}

func family(ip netip.Addr, v6 bool) bool {
	return ip.IsValid() && ip.Zone() == "" && !ip.Is4In6() && ip.Is6() == v6
}

// asked tells whether a Service is what this port was made of, which is the quick way to see that nothing changed.
func (p *port) asked(s *Service) bool {
	return p.Name == s.Name && p.Protocol == s.Protocol && p.Port == s.Port && p.NodePort == s.NodePort && p.Affinity == s.Affinity &&
		p.Drop == s.Drop && slices.Equal(p.IPs, s.IPs) && slices.Equal(p.Endpoints, s.Endpoints) &&
		slices.Equal(p.External, s.External) && slices.Equal(p.Balancers, s.Balancers) && slices.Equal(p.SourceRanges, s.SourceRanges) &&
		p.Outside.same(s.Outside)
}

func (o *Outside) same(q *Outside) bool {
	if o == nil || q == nil {
		return o == q
	}
	return o.KeepSource == q.KeepSource && o.Drop == q.Drop && slices.Equal(o.Endpoints, q.Endpoints)
}

// same tells whether two ports have the same rules.
func (p *port) same(q *port) bool {
	return p.Name == q.Name && p.Protocol == q.Protocol && p.Port == q.Port && p.NodePort == q.NodePort && p.affinity == q.affinity &&
		p.Drop == q.Drop && p.keep == q.keep && p.drop == q.drop && slices.Equal(p.ips, q.ips) && slices.Equal(p.external, q.external) &&
		slices.Equal(p.balancers, q.balancers) && slices.Equal(p.sources, q.sources) && p.inside.same(&q.inside) && p.outside.same(q.outside)
}

func (d *division) same(q *division) bool {
	if d == nil || q == nil {
		return d == q
	}
	return d.total == q.total && slices.Equal(d.endpoints, q.endpoints)
}
