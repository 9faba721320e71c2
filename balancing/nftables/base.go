package nftables

import (
	"fmt"
	"net/netip"
	"strings"

	"sigs.k8s.io/knftables"
)

// Options tune the rules. The zero value works.
type Options struct {
	// Table is the name of the table; "" means "leastwatt". Nothing else may write to it.
	Table string

	// Slots is in how many parts a Service's connections are quantised, by largest remainder; 0 means
	// 10,000. A Service with many endpoints uses more, so that a floor's share is one of them.
	Slots int

	// LocalCIDRs are the addresses of pods. Connections to a virtual address from elsewhere are
	// masqueraded, so that the answer comes back this way. Empty means that none are.
	LocalCIDRs []netip.Prefix

	// Mark is the bit of the packet mark that asks for masquerading; 0 means 0x1000. kube-proxy uses
	// 0x4000.
	Mark uint32

	// Count counts each Service's new connections in the kernel, for [Writer.Connections].
	Count bool
}

const defaultSlots = 10_000

func (o Options) withDefaults() (*Options, error) {
	if o.Table == "" {
		o.Table = "leastwatt"
	}
	if o.Slots == 0 {
		o.Slots = defaultSlots
	}
	if o.Slots < 1 || o.Slots > 1_000_000 {
		return nil, fmt.Errorf("nftables: %d slots: want 1 to 1,000,000", o.Slots)
	}
	if o.Mark == 0 {
		o.Mark = 0x1000
	}
	if o.Mark&(o.Mark-1) != 0 {
		return nil, fmt.Errorf("nftables: mark %#x is not a single bit", o.Mark)
	}
	return &o, nil
}

// local returns the local addresses of a family as an nft list.
func (o *Options) local(f knftables.Family) string {
	var out []string
	for _, p := range o.LocalCIDRs {
		if p.IsValid() && p.Addr().Is6() == (f == knftables.IPv6Family) {
			out = append(out, p.Masked().String())
		}
	}
	return strings.Join(out, ", ")
}

// tables returns the maps and the set that all Services share.
func (d *dialect) tables() []knftables.Object {
	vip := d.addr + " . inet_proto . inet_service : verdict"
	return []knftables.Object{
		&knftables.Map{Name: ipsMap, Type: vip, Comment: new("virtual addresses with endpoints")},
		&knftables.Map{Name: nodePortsMap, Type: "inet_proto . inet_service : verdict", Comment: new("node ports with endpoints")},
		&knftables.Map{Name: emptyIPsMap, Type: vip, Comment: new("virtual addresses without endpoints")},
		&knftables.Map{Name: emptyPortsMap, Type: "inet_proto . inet_service : verdict", Comment: new("node ports without endpoints")},
		&knftables.Set{Name: hairpinSet, Type: d.addr + " . " + d.addr + " . inet_proto . inet_service", Comment: new("endpoints that may reach themselves through a Service")},
	}
}

// A hook is a base chain with one rule. NAT comes just before kube-proxy's, so that both can be there.
type hook struct {
	name     string
	kind     knftables.BaseChainType
	at       knftables.BaseChainHook
	priority knftables.BaseChainPriority
	rule     string
}

var hooks = [...]hook{
	{"nat-prerouting", knftables.NATType, knftables.PreroutingHook, knftables.DNATPriority + "-5", "jump " + servicesChain},
	{"nat-output", knftables.NATType, knftables.OutputHook, "-105", "jump " + servicesChain},
	{"nat-postrouting", knftables.NATType, knftables.PostroutingHook, knftables.SNATPriority + "-5", "jump " + postChain},
	{"filter-input", knftables.FilterType, knftables.InputHook, knftables.FilterPriority + "-5", "ct state new jump " + emptyChain},
	{"filter-forward", knftables.FilterType, knftables.ForwardHook, knftables.FilterPriority + "-5", "ct state new jump " + emptyChain},
	{"filter-output", knftables.FilterType, knftables.OutputHook, knftables.FilterPriority + "-5", "ct state new jump " + emptyChain},
}

// chains returns the regular chains that all Services share.
func (d *dialect) chains() []chain {
	local := "fib daddr type local " + d.ip + " daddr != " + d.loopback + " meta l4proto . th dport vmap @"
	return []chain{
		{rejectChain, []string{"reject"}},
		{dropChain, []string{"drop"}},
		{markChain, []string{fmt.Sprintf("meta mark set mark or %#x", d.options.Mark)}},
		{servicesChain, []string{
			d.ip + " daddr . meta l4proto . th dport vmap @" + ipsMap,
			local + nodePortsMap,
		}},
		{emptyChain, []string{
			d.ip + " daddr . meta l4proto . th dport vmap @" + emptyIPsMap,
			local + emptyPortsMap,
		}},
		{postChain, []string{
			d.ip + " saddr . " + d.ip + " daddr . meta l4proto . th dport @" + hairpinSet + " ct status dnat masquerade fully-random",
			fmt.Sprintf("mark and %#x == 0 return", d.options.Mark),
			fmt.Sprintf("meta mark set mark xor %#x", d.options.Mark),
			"masquerade fully-random",
		}},
	}
}
