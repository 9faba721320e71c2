package nftables

import (
	"fmt"
	"hash/fnv"
	"net/netip"
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
)

// A rendering is what one Service needs in the table.
type rendering struct {
	chains    []chain
	sets      []affinitySet
	elements  []element
	addresses int // how many of the elements are addresses and ports; they come first
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
	outside := outsidePrefix + name[len(servicePrefix):]
	var r rendering
	proto, number := string(p.Protocol), strconv.Itoa(int(p.Port))
	ips, ports, verdict := ipsMap, nodePortsMap, "goto "+name
	if len(p.endpoints) == 0 {
		ips, ports, verdict = emptyIPsMap, emptyPortsMap, "goto "+rejectChain
		if p.Drop {
			verdict = "goto " + dropChain
		}
	}
	for _, ip := range p.IPs {
		r.elements = append(r.elements, element{ips, ip.String() + " . " + proto + " . " + number, verdict})
	}
	if p.NodePort != 0 {
		if len(p.endpoints) > 0 {
			verdict = "goto " + outside
			r.chains = append(r.chains, chain{outside, []string{"jump " + markChain, "goto " + name}})
		}
		r.elements = append(r.elements, element{ports, proto + " . " + strconv.Itoa(int(p.NodePort)), verdict})
	}
	r.addresses = len(r.elements)
	if len(p.endpoints) == 0 {
		return r
	}
	main := chain{name: name}
	if n := d.options.local(d.family); n != "" {
		main.rules = append(main.rules, d.ip+" saddr != { "+n+" } jump "+markChain)
	}
	var list strings.Builder
	at, sep := 0, ", "
	if p.Affinity > 0 {
		sep = " , " // a chain's name would swallow the comma
	}
	for i, e := range p.endpoints {
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
		r.elements = append(r.elements, element{hairpinSet, host + " . " + host + " . " + proto + " . " + p16, ""})
		if p.Affinity == 0 {
			list.WriteString(host + " . " + p16)
			continue
		}
		ep := object(endpointPrefix, proto, p.Name+"/"+e.addr.String())
		// The timeout is part of the name: a set's timeout cannot change.
		set := object(affinityPrefix, proto, p.Name+"/"+e.addr.String()+"/"+p.Affinity.String())
		list.WriteString("goto " + ep)
		r.sets = append(r.sets, affinitySet{set, p.Affinity})
		r.chains = append(r.chains, chain{ep, []string{
			"update @" + set + " { " + d.ip + " saddr }",
			"meta l4proto " + proto + " dnat to " + target(e.addr),
		}})
		main.rules = append(main.rules, d.ip+" saddr @"+set+" goto "+ep)
	}
	mod := "numgen random mod " + strconv.Itoa(p.total)
	if p.Affinity == 0 {
		main.rules = append(main.rules, "meta l4proto "+proto+" dnat "+d.ip+" addr . port to "+mod+" map { "+list.String()+" }")
	} else {
		main.rules = append(main.rules, mod+" vmap { "+list.String()+" }")
	}
	r.chains = append(r.chains, main)
	return r
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
