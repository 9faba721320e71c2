package endpoints

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/balancing/nftables"
)

// A servicePort is one port of one Service in one family, before it is weighed.
type servicePort struct {
	service   *v1.Service
	key       types.NamespacedName
	port      string // name, or number where it has none
	family    v1.IPFamily
	id        string // of all that, for the weigher
	rules     nftables.Service
	endpoints []candidate
	part      float64          // of the Service's requests that these endpoints do
	others    []Backend        // pods of the ready endpoints that do the rest
	local     []netip.Addr     // of ready endpoints on this node, for a health port
	answering []netip.AddrPort // of UDP: endpoints whose clients stay with them, whatever the policies, in order
}

// A candidate may get new connections, from within the cluster, from outside or both.
type candidate struct {
	addr            netip.AddrPort
	id              string // addr as text
	node            string
	pod             types.NamespacedName // of its container, if known
	inside, outside bool
}

// ports returns the ports of a Service in all its families.
func (w *world) ports(key types.NamespacedName, s *v1.Service, node string) []servicePort {
	var out []servicePort
	for i := range s.Spec.Ports {
		for _, f := range s.Spec.IPFamilies {
			if p, ok := w.port(key, s, &s.Spec.Ports[i], f, node); ok {
				p.id = string(f) + " " + p.rules.Name + "/" + string(p.rules.Protocol)
				out = append(out, p)
			}
		}
	}
	return out
}

func (w *world) port(key types.NamespacedName, s *v1.Service, sp *v1.ServicePort, f v1.IPFamily, node string) (servicePort, bool) {
	p := servicePort{service: s, key: key, port: sp.Name, family: f}
	if p.port == "" {
		p.port = strconv.Itoa(int(sp.Port))
	}
	protocol := cmp.Or(sp.Protocol, v1.ProtocolTCP)
	p.rules = nftables.Service{Name: key.String() + ":" + p.port, Protocol: nftables.Protocol(strings.ToLower(string(protocol))), Port: uint16(sp.Port)}
	ips := s.Spec.ClusterIPs
	if len(ips) == 0 {
		ips = []string{s.Spec.ClusterIP}
	}
	for _, text := range ips {
		if ip, err := netip.ParseAddr(text); err == nil && familyOf(ip) == f {
			p.rules.IPs = append(p.rules.IPs, ip)
		}
	}
	if len(p.rules.IPs) == 0 {
		return p, false
	}
	if s.Spec.Type != v1.ServiceTypeClusterIP && sp.NodePort > 0 {
		p.rules.NodePort = uint16(sp.NodePort)
	}
	frontends(&p.rules, s, f)
	if s.Spec.SessionAffinity == v1.ServiceAffinityClientIP {
		p.rules.Affinity = time.Duration(v1.DefaultClientIPServiceAffinitySeconds) * time.Second
		if c := s.Spec.SessionAffinityConfig; c != nil && c.ClientIP != nil && c.ClientIP.TimeoutSeconds != nil {
			p.rules.Affinity = time.Duration(*c.ClientIP.TimeoutSeconds) * time.Second
		}
	}
	local := s.Spec.InternalTrafficPolicy != nil && *s.Spec.InternalTrafficPolicy == v1.ServiceInternalTrafficPolicyLocal
	all := w.endpoints(key, sp, protocol, f)
	if healthPortOf(s) != 0 {
		for i := range all {
			if all[i].ready && all[i].node == node && node != "" {
				p.local = append(p.local, all[i].addr.Addr())
			}
		}
	}
	if protocol == v1.ProtocolUDP {
		for i := range all {
			if all[i].ready || all[i].serving {
				p.answering = append(p.answering, all[i].addr)
			}
		}
	}
	inside := choose(all, local, node, w.topology)
	p.rules.Drop = local && len(all) > 0
	outside, keep := inside, s.Spec.ExternalTrafficPolicy == v1.ServiceExternalTrafficPolicyLocal
	if p.rules.NodePort == 0 && len(p.rules.External)+len(p.rules.Balancers) == 0 {
		outside = nil
	} else if keep != local || keep {
		outside = choose(all, keep, node, w.topology)
		p.rules.Outside = &nftables.Outside{KeepSource: keep, Drop: keep && len(all) > 0}
	}
	p.endpoints = union(inside, outside)
	p.divide(all)
	return p, true
}

// divide notes who else does the Service's requests: ready endpoints that policies or hints leave to other nodes. Each is
// taken to do as many.
func (p *servicePort) divide(all []backend) {
	p.part = 1
	rest := 0
	if len(p.endpoints) == len(all) {
		return
	}
	here := make(map[netip.AddrPort]bool, len(p.endpoints))
	for i := range p.endpoints {
		here[p.endpoints[i].addr] = true
	}
	for i := range all {
		if b := &all[i]; b.ready && !here[b.addr] {
			rest++
			if b.pod.Name != "" {
				p.others = append(p.others, Backend{b.pod, b.node})
			}
		}
	}
	if n := float64(len(p.endpoints)); n > 0 {
		p.part = n / (n + float64(rest))
	}
}

// frontends adds the addresses at which a Service is reached from outside.
func frontends(r *nftables.Service, s *v1.Service, f v1.IPFamily) {
	for _, text := range s.Spec.ExternalIPs {
		if ip, err := netip.ParseAddr(text); err == nil && familyOf(ip) == f {
			r.External = append(r.External, ip)
		}
	}
	if s.Spec.Type != v1.ServiceTypeLoadBalancer {
		return
	}
	for _, in := range s.Status.LoadBalancer.Ingress {
		if ip, err := netip.ParseAddr(in.IP); err == nil && familyOf(ip) == f && (in.IPMode == nil || *in.IPMode == v1.LoadBalancerIPModeVIP) {
			r.Balancers = append(r.Balancers, ip)
		}
	}
	for _, text := range s.Spec.LoadBalancerSourceRanges {
		if n, err := netip.ParsePrefix(strings.TrimSpace(text)); err == nil && familyOf(n.Addr()) == f {
			r.SourceRanges = append(r.SourceRanges, n)
		}
	}
	if len(s.Spec.LoadBalancerSourceRanges) > 0 && len(r.SourceRanges) == 0 { // none of this family: nobody
		none := netip.IPv4Unspecified()
		if f == v1.IPv6Protocol {
			none = netip.IPv6Unspecified()
		}
		r.SourceRanges = []netip.Prefix{netip.PrefixFrom(none, none.BitLen())}
	}
}

// union returns the endpoints of both lists, in order.
func union(inside, outside []candidate) []candidate {
	out := slices.Clone(inside)
	at := make(map[netip.AddrPort]int, len(inside))
	for i := range out {
		out[i].inside = true
		at[out[i].addr] = i
	}
	for _, c := range outside {
		i, ok := at[c.addr]
		if !ok {
			i = len(out)
			out = append(out, c)
		}
		out[i].outside = true
	}
	return out
}

func familyOf(ip netip.Addr) v1.IPFamily {
	if ip.Is4() {
		return v1.IPv4Protocol
	}
	return v1.IPv6Protocol
}

// endpoints returns a Service port's endpoints from all slices, each address once: ready wins over terminating, that over
// neither, and then what the slice says whose name comes first.
func (w *world) endpoints(key types.NamespacedName, sp *v1.ServicePort, protocol v1.Protocol, f v1.IPFamily) []backend {
	byAddr := make(map[netip.AddrPort]backend)
	for _, name := range slices.Sorted(maps.Keys(w.slices[key])) {
		sl := w.slices[key][name]
		if sl.family != f {
			continue
		}
		for _, ep := range sl.ports {
			if ep.name != sp.Name || ep.protocol != protocol {
				continue
			}
			for i := range sl.endpoints {
				b := sl.endpoints[i].backend(ep.number, key.Namespace)
				if old, there := byAddr[b.addr]; !there || b.rank() > old.rank() {
					byAddr[b.addr] = b
				}
			}
		}
	}
	out := make([]backend, 0, len(byAddr))
	for _, b := range byAddr {
		out = append(out, b)
	}
	slices.SortFunc(out, func(a, b backend) int { return a.addr.Compare(b.addr) })
	return out
}

// choose returns the endpoints that get new connections: of this node only if the policy says so, else those that
// topology hints give to this node, if every one has hints; the ready ones, or the terminating ones that still
// answer where none is ready.
func choose(all []backend, local bool, node string, topology map[string]string) []candidate {
	if local {
		all = slices.DeleteFunc(slices.Clone(all), func(b backend) bool { return b.node != node || node == "" })
	}
	usable := make([]backend, 0, len(all))
	for _, b := range all {
		if b.ready {
			usable = append(usable, b)
		}
	}
	if len(usable) == 0 {
		for _, b := range all {
			if b.serving {
				usable = append(usable, b)
			}
		}
	} else if !local {
		usable = hinted(usable, func(b *backend) []string { return b.hints.forNodes() }, node,
			func() []backend {
				return hinted(usable, func(b *backend) []string { return b.hints.forZones() }, topology[v1.LabelTopologyZone], func() []backend { return usable })
			})
	}
	out := make([]candidate, len(usable))
	for i := range usable {
		out[i] = usable[i].candidate
		out[i].id = out[i].addr.String()
	}
	return out
}

// hinted returns the endpoints whose hints name us; otherwise's answer if one has no hint or none names us.
func hinted(all []backend, hints func(*backend) []string, us string, otherwise func() []backend) []backend {
	var out []backend
	for i := range all {
		h := hints(&all[i])
		if len(h) == 0 || us == "" {
			return otherwise()
		}
		if slices.Contains(h, us) {
			out = append(out, all[i])
		}
	}
	if len(out) == 0 {
		return otherwise()
	}
	return out
}

// unsupported says what of a Service this proxy does not do; "" if it does all.
func (p *Proxier) unsupported(s *v1.Service) string {
	var what []string
	if port := healthPortOf(s); port != 0 && p.opts.Listen == nil {
		what = append(what, fmt.Sprintf("healthCheckNodePort %d (nobody answers there: a load balancer must probe the node port itself)", port))
	}
	for _, p := range s.Spec.Ports {
		switch p.Protocol {
		case "", v1.ProtocolTCP, v1.ProtocolUDP, v1.ProtocolSCTP:
		default:
			what = append(what, fmt.Sprintf("protocol %s of port %d", p.Protocol, p.Port))
		}
	}
	return strings.Join(what, ", ")
}
