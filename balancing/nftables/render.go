package nftables

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/knftables"
)

// Names of the table's own objects.
const (
	ipsMap         = "service-ips"
	nodePortsMap   = "service-nodeports"
	emptyIPsMap    = "no-endpoint-ips"
	emptyPortsMap  = "no-endpoint-nodeports"
	hairpinSet     = "hairpin"
	rejectChain    = "reject-new"
	dropChain      = "drop-new"
	markChain      = "mark-masquerade"
	servicesChain  = "services"
	emptyChain     = "no-endpoints"
	postChain      = "translate-source"
	servicePrefix  = "svc-"
	outsidePrefix  = "out-"
	endpointPrefix = "ep-"
	affinityPrefix = "aff-"
	balancerPrefix = "lb-"
	counterPrefix  = "new-"
)

// A rendering is what one Service needs in the table.
type rendering struct {
	chains    []chain
	sets      []affinitySet
	counters  []string
	elements  []element
	addresses int                     // how many of the elements are addresses and ports; they come first
	pairs     []pair                  // of the elements of the hairpin set; other ports may have them too
	seen      map[netip.AddrPort]bool // while it is written: endpoints that have what they need
}

// A pair is an endpoint's element of the hairpin set in few bytes and no pointer: a thousand Services have 20,000.
type pair struct {
	addr  [16]byte
	port  uint16
	proto uint8 // index of protocols
}

var protocols = [...]Protocol{TCP, UDP, SCTP}

func pairOf(proto Protocol, a netip.AddrPort) pair {
	return pair{a.Addr().As16(), a.Port(), uint8(slices.Index(protocols[:], proto))}
}

// element returns what a pair is in the table.
func (p pair) element() element {
	host := netip.AddrFrom16(p.addr).Unmap().String()
	return element{hairpinSet, host + " . " + host + " . " + string(protocols[p.proto]) + " . " + strconv.Itoa(int(p.port)), ""}
}

type chain struct {
	name  string
	rules []string
}

type affinitySet struct {
	name    string
	timeout time.Duration
}

// An element of a set or a map. Keys and values are joined by " . ", as nft writes them.
type element struct {
	in, key, value string
}

// A dialect is what differs between the two families.
type dialect struct {
	family   knftables.Family
	ip       string // as in "ip daddr"
	addr     string // type of an address
	loopback string
	options  *Options
}

func dialectOf(f knftables.Family, o *Options) dialect {
	if f == knftables.IPv6Family {
		return dialect{f, "ip6", "ipv6_addr", "::1", o}
	}
	return dialect{f, "ip", "ipv4_addr", "127.0.0.0/8", o}
}

// render writes the rules of one Service.
func (d *dialect) render(p *port) rendering {
	name := object(servicePrefix, string(p.Protocol), p.Name)
	outside, balancer := outsidePrefix+name[len(servicePrefix):], balancerPrefix+name[len(servicePrefix):]
	proto, number := string(p.Protocol), strconv.Itoa(int(p.Port))
	r := rendering{seen: make(map[netip.AddrPort]bool)}

	inVerdict, in := "goto "+name, len(p.inside.endpoints) > 0
	if !in {
		inVerdict = refuse(p.Drop)
	}
	outVerdict, out := "goto "+outside, in
	if p.outside != nil {
		// Pods and this node may be divided although nobody from outside is.
		out = len(p.outside.endpoints) > 0 || p.keep && in
	}
	switch {
	case !out && p.outside != nil:
		outVerdict = refuse(p.drop)
	case !out:
		outVerdict = refuse(p.Drop)
	}
	at := func(yes bool, some, none string) string {
		if yes {
			return some
		}
		return none
	}
	for _, ip := range p.ips {
		r.elements = append(r.elements, element{at(in, ipsMap, emptyIPsMap), ip.String() + " . " + proto + " . " + number, inVerdict})
	}
	for _, ip := range p.external {
		r.elements = append(r.elements, element{at(out, ipsMap, emptyIPsMap), ip.String() + " . " + proto + " . " + number, outVerdict})
	}
	for _, ip := range p.balancers {
		verdict := outVerdict
		if out && len(p.sources) > 0 {
			verdict = "goto " + balancer
		}
		r.elements = append(r.elements, element{at(out, ipsMap, emptyIPsMap), ip.String() + " . " + proto + " . " + number, verdict})
	}
	if p.NodePort != 0 {
		r.elements = append(r.elements, element{at(out, nodePortsMap, emptyPortsMap), proto + " . " + strconv.Itoa(int(p.NodePort)), outVerdict})
	}
	r.addresses = len(r.elements)

	var count []string
	if (in || out) && d.options.Count {
		c := object(counterPrefix, proto, p.Name)
		r.counters = append(r.counters, c)
		count = []string{"counter name " + c}
	}
	if in {
		main := chain{name, slices.Clone(count)}
		if n := d.options.local(d.family); n != "" {
			main.rules = append(main.rules, d.ip+" saddr != { "+n+" } jump "+markChain)
		}
		main.rules = append(main.rules, d.divide(&r, p, &p.inside)...)
		r.chains = append(r.chains, main)
	}
	if out && (p.NodePort != 0 || len(p.external)+len(p.balancers) > 0) {
		r.chains = append(r.chains, chain{outside, d.outside(&r, p, name, in, count)})
		if len(p.sources) > 0 && len(p.balancers) > 0 {
			var ranges []string
			for _, s := range p.sources {
				ranges = append(ranges, s.String())
			}
			r.chains = append(r.chains, chain{balancer, []string{d.ip + " saddr != { " + strings.Join(ranges, ", ") + " } drop", "goto " + outside}})
		}
	}
	r.seen = nil
	return r
}

func refuse(drop bool) string {
	if drop {
		return "goto " + dropChain
	}
	return "goto " + rejectChain
}

// outside returns the rules of connections from outside; name is the chain of those from inside, if there is one.
func (d *dialect) outside(r *rendering, p *port, name string, in bool, count []string) []string {
	if p.outside == nil {
		return []string{"jump " + markChain, "goto " + name}
	}
	var rules []string
	switch {
	case !p.keep:
		rules = append(rules, "jump "+markChain)
	case in:
		if n := d.options.local(d.family); n != "" {
			rules = append(rules, d.ip+" saddr { "+n+" } goto "+name)
		}
		rules = append(rules, "fib saddr type local jump "+markChain, "fib saddr type local goto "+name)
	}
	if len(p.outside.endpoints) == 0 {
		return append(rules, "drop")
	}
	return append(append(rules, count...), d.divide(r, p, p.outside)...)
}

// divide returns the rules that choose an endpoint, and adds what they need.
func (d *dialect) divide(r *rendering, p *port, v *division) []string {
	proto := string(p.Protocol)
	var rules []string
	var list strings.Builder
	at, sep := 0, ", "
	if p.affinity > 0 {
		sep = " , " // a chain's name would swallow the comma
	}
	for i, e := range v.endpoints {
		if i > 0 {
			list.WriteString(sep)
		}
		list.WriteString(strconv.Itoa(at))
		if e.n > 1 {
			list.WriteByte('-')
			list.WriteString(strconv.Itoa(at + e.n - 1))
		}
		list.WriteString(" : ")
		at += e.n
		host, p16 := e.addr.Addr().String(), strconv.Itoa(int(e.addr.Port()))
		first := !r.seen[e.addr]
		r.seen[e.addr] = true
		if first {
			r.pairs = append(r.pairs, pairOf(p.Protocol, e.addr))
		}
		if p.affinity == 0 {
			list.WriteString(host + " . " + p16)
			continue
		}
		ep := object(endpointPrefix, proto, p.Name+"/"+e.addr.String())
		// The timeout is part of the name: a set's timeout cannot change.
		set := object(affinityPrefix, proto, p.Name+"/"+e.addr.String()+"/"+p.affinity.String())
		list.WriteString("goto " + ep)
		if first {
			r.sets = append(r.sets, affinitySet{set, p.affinity})
			r.chains = append(r.chains, chain{ep, []string{
				"update @" + set + " { " + d.ip + " saddr }",
				"meta l4proto " + proto + " dnat to " + target(e.addr),
			}})
		}
		rules = append(rules, d.ip+" saddr @"+set+" goto "+ep)
	}
	mod := "numgen random mod " + strconv.Itoa(v.total)
	// A packet that meets the old rules while new ones are committed finds the old rules' map empty, because the kernel
	// looks elements up by the new generation. It must not fall through: a rule without a map catches it.
	most := slices.MaxFunc(v.endpoints, func(a, b slot) int { return cmp.Compare(a.n, b.n) })
	if p.affinity == 0 {
		return append(rules, "meta l4proto "+proto+" dnat "+d.ip+" addr . port to "+mod+" map { "+list.String()+" }",
			"meta l4proto "+proto+" dnat to "+target(most.addr))
	}
	return append(rules, mod+" vmap { "+list.String()+" }", "goto "+object(endpointPrefix, proto, p.Name+"/"+most.addr.String()))
}

func target(a netip.AddrPort) string { return a.String() } // "10.0.0.1:80", "[fd00::1]:80"

// object returns a name that nft can read and that no two Services share: a hash and as much of the name as
// is legible.
func object(prefix, proto, name string) string {
	h := fnv.New64a()
	fmt.Fprint(h, proto, "\x00", name)
	legible := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("-_./", r) {
			return r
		}
		return '-'
	}, name)
	return fmt.Sprintf("%s%016x-%s-%.150s", prefix, h.Sum64(), proto, legible)
}
