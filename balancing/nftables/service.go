package nftables

import (
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

	// IPs are the virtual addresses, Port the port on all of them.
	IPs  []netip.Addr
	Port uint16

	// NodePort is a port on every local address as well; 0 means none. Its connections are masqueraded.
	NodePort uint16

	// Affinity is for how long after its last connection a client's address stays with its endpoint; 0
	// means not at all. It is rounded up to seconds.
	Affinity time.Duration

	// Endpoints are those that may get new connections.
	Endpoints []Endpoint

	// Drop says that without endpoints packets are dropped rather than rejected.
	Drop bool
}

// An Endpoint gets a share of a Service's connections. Endpoints with one address count as one.
type Endpoint struct {
	Addr  netip.AddrPort
	Share float64 // not negative; shares need not sum to 1
}

// ErrDuplicate says that two Services claim one address and port.
var ErrDuplicate = errors.New("address and port belong to another Service already")

// A port is a Service brought to one form, so that two can be compared.
type port struct {
	Service   // as asked for, but for the two that follow
	ips       []netip.Addr
	affinity  time.Duration
	endpoints []slot
	total     int
}

type slot struct {
	addr netip.AddrPort
	n    int // of total
}

// normal checks a Service and brings it to one form.
func normal(s *Service, v6 bool, slots int) (*port, error) {
	fail := func(format string, args ...any) (*port, error) {
		return nil, fmt.Errorf("service %q: "+format, append([]any{s.Name}, args...)...)
	}
	if s.Protocol != TCP && s.Protocol != UDP && s.Protocol != SCTP {
		return fail("protocol %q is not tcp, udp or sctp", s.Protocol)
	}
	if s.Port == 0 {
		return fail("port is 0")
	}
	for _, ip := range s.IPs {
		if !family(ip, v6) {
			return fail("address %v is not of the family of the rules", ip)
		}
	}
	p := &port{Service: *s, ips: slices.Clone(s.IPs), affinity: s.Affinity}
	p.Endpoints = slices.Clone(s.Endpoints)
	p.IPs = slices.Clone(s.IPs)
	slices.SortFunc(p.IPs, netip.Addr.Compare)
	p.IPs = slices.Compact(p.IPs)
	if s.Affinity > 0 {
		p.Affinity = (s.Affinity + time.Second - 1).Truncate(time.Second)
	} else {
		p.Affinity = 0
	}
	eps := slices.Clone(s.Endpoints)
	slices.SortFunc(eps, func(a, b Endpoint) int { return a.Addr.Compare(b.Addr) })
	weights := make([]float64, 0, len(eps))
	for i, e := range eps {
		if !family(e.Addr.Addr(), v6) || e.Addr.Port() == 0 {
			return fail("endpoint %v is not an address of the rules' family with a port", e.Addr)
		}
		if i > 0 && e.Addr == eps[i-1].Addr {
			weights[len(weights)-1] += e.Share
			continue
		}
		p.endpoints = append(p.endpoints, slot{addr: e.Addr})
		weights = append(weights, e.Share)
	}
	p.total = slots
	for p.total < 2*len(weights) {
		p.total *= 10
	}
	quota, err := balancing.Quantize(weights, p.total)
	if err != nil {
		return fail("%w", err)
	}
	for i := range quota {
		p.endpoints[i].n = quota[i]
	}
	p.endpoints = slices.DeleteFunc(p.endpoints, func(s slot) bool { return s.n == 0 })
	return p, nil
}

func family(ip netip.Addr, v6 bool) bool {
	return ip.IsValid() && ip.Zone() == "" && !ip.Is4In6() && ip.Is6() == v6
}

// asked tells whether a Service is what this port was made of, which is the quick way to see that nothing changed.
func (p *port) asked(s *Service) bool {
	return p.Name == s.Name && p.Protocol == s.Protocol && p.Port == s.Port && p.NodePort == s.NodePort && p.affinity == s.Affinity &&
		p.Drop == s.Drop && slices.Equal(p.ips, s.IPs) && slices.Equal(p.Endpoints, s.Endpoints)
}

// same tells whether two ports have the same rules.
func (p *port) same(q *port) bool {
	return p.Name == q.Name && p.Protocol == q.Protocol && p.Port == q.Port && p.NodePort == q.NodePort && p.Affinity == q.Affinity &&
		p.Drop == q.Drop && p.total == q.total && slices.Equal(p.IPs, q.IPs) && slices.Equal(p.endpoints, q.endpoints)
}
