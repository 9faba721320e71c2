package endpoints

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"

	"github.com/leastwatt/leastwatt/balancing/nftables"
)

// Stale is what conntrack must forget: UDP packets that were sent to a Service and go to none of its endpoints that still
// answer. A client that keeps its port would follow its entry to nobody for as long as it sends.
type Stale struct {
	// Service is where clients send to. The unspecified address of a family, 0.0.0.0 or ::, stands for all addresses of
	// this node: the port is a node port then.
	Service netip.AddrPort

	// Endpoints are those that still answer, terminating ones among them: who goes there stays there.
	Endpoints []netip.AddrPort
}

// answering returns where UDP clients of each address may stay.
func answering(ports []servicePort) map[netip.AddrPort][]netip.AddrPort {
	out := make(map[netip.AddrPort][]netip.AddrPort)
	for i := range ports {
		sp := &ports[i]
		r := &sp.rules
		if r.Protocol != nftables.UDP {
			continue
		}
		add := func(ip netip.Addr, port uint16) {
			at := netip.AddrPortFrom(ip, port)
			if _, there := out[at]; !there { // of two Services with one address the first is served
				out[at] = sp.answering
			}
		}
		for _, ips := range [...][]netip.Addr{r.IPs, r.External, r.Balancers} {
			for _, ip := range ips {
				add(ip, r.Port)
			}
		}
		if r.NodePort != 0 {
			add(everywhere(sp.family == v1.IPv6Protocol), r.NodePort)
		}
	}
	return out
}

// everywhere stands for all addresses of this node.
func everywhere(v6 bool) netip.Addr {
	if v6 {
		return netip.IPv6Unspecified()
	}
	return netip.IPv4Unspecified()
}

// stale returns what conntrack must forget now: where an endpoint went, where the first one came, and at what was not there
// before, for example because this process has just begun.
func stale(before, now map[netip.AddrPort][]netip.AddrPort) []Stale {
	var out []Stale
	for service, eps := range now {
		old, known := before[service]
		gone := func(e netip.AddrPort) bool {
			_, still := slices.BinarySearchFunc(eps, e, netip.AddrPort.Compare)
			return !still
		}
		if !known || len(old) == 0 && len(eps) > 0 || slices.ContainsFunc(old, gone) {
			out = append(out, Stale{service, eps})
		}
	}
	for service := range before {
		if _, still := now[service]; !still {
			out = append(out, Stale{Service: service})
		}
	}
	slices.SortFunc(out, func(a, b Stale) int { return a.Service.Compare(b.Service) })
	return out
}

// forget tells of what is stale. What could not be forgotten is tried again at the next sync.
func (p *Proxier) forget(ctx context.Context, ports []servicePort) {
	if p.opts.Forget == nil {
		return
	}
	now := answering(ports)
	if s := stale(p.answering, now); len(s) > 0 {
		if err := p.opts.Forget(ctx, s); err != nil {
			if ctx.Err() == nil {
				p.opts.Log.Warn("UDP clients may stay with endpoints that are gone; trying again", "err", err)
			}
			return
		}
	}
	p.answering = now
}

// Conntrack forgets with the program conntrack, which needs CAP_NET_ADMIN: for [Options.Forget]. It reads the table of a
// family once and then runs the program once for each endpoint that is gone and each address that its clients sent to.
func Conntrack(ctx context.Context, stale []Stale) error {
	program, err := exec.LookPath("conntrack")
	if err != nil {
		return fmt.Errorf("conntrack: %w", err)
	}
	local, err := localAddresses()
	if err != nil {
		return fmt.Errorf("conntrack: addresses of this node: %w", err)
	}
	var errs []error
	for _, v6 := range [...]bool{false, true} {
		want := make(map[netip.AddrPort][]netip.AddrPort)
		for _, s := range stale {
			if s.Service.Addr().Is6() == v6 {
				want[s.Service] = s.Endpoints
			}
		}
		if len(want) > 0 {
			errs = append(errs, forgetFamily(ctx, program, v6, want, local))
		}
	}
	return errors.Join(errs...)
}

func localAddresses() (map[netip.Addr]bool, error) {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return nil, err
	}
	out := make(map[netip.Addr]bool, len(all))
	for _, a := range all {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out[p.Addr().Unmap()] = true
		}
	}
	return out, nil
}

// A path is what conntrack knows of a client's packets: where they were sent, and who answers.
type path struct {
	to, from netip.AddrPort
}

func forgetFamily(ctx context.Context, program string, v6 bool, want map[netip.AddrPort][]netip.AddrPort, local map[netip.Addr]bool) error {
	family := "ipv4"
	if v6 {
		family = "ipv6"
	}
	list := exec.CommandContext(ctx, program, "-L", "-f", family, "-p", "udp")
	out, err := list.StdoutPipe()
	if err != nil {
		return err
	}
	if err := list.Start(); err != nil {
		return fmt.Errorf("%s: %w", program, err)
	}
	dead, err := deadPaths(out, func(x path) bool {
		eps, ours := want[x.to]
		if !ours && local[x.to.Addr()] {
			eps, ours = want[netip.AddrPortFrom(everywhere(v6), x.to.Port())]
		}
		return ours && !slices.Contains(eps, x.from)
	})
	if err := cmp.Or(list.Wait(), err); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(list.Args, " "), err)
	}
	var errs []error
	for x := range dead {
		del := exec.CommandContext(ctx, program, "-D", "-f", family, "-p", "udp", "--orig-dst", x.to.Addr().String(), "--orig-port-dst", strconv.Itoa(int(x.to.Port())),
			"--reply-src", x.from.Addr().String(), "--reply-port-src", strconv.Itoa(int(x.from.Port())))
		text, err := del.CombinedOutput()
		if err != nil && !strings.Contains(string(text), "0 flow entries") { // they ended by themselves
			errs = append(errs, fmt.Errorf("%s: %w: %.200s", strings.Join(del.Args, " "), err, strings.TrimSpace(string(text))))
		}
	}
	return errors.Join(errs...)
}

// deadPaths returns the paths in conntrack's list of which dead is true, each once.
func deadPaths(list io.Reader, dead func(path) bool) (map[path]bool, error) {
	out := make(map[path]bool)
	sc := bufio.NewScanner(list)
	for sc.Scan() {
		if x, ok := parsePath(sc.Text()); ok && dead(x) {
			out[x] = true
		}
	}
	return out, sc.Err()
}

// parsePath reads a line such as
//
//	udp 17 29 src=10.0.0.9 dst=10.96.0.10 sport=5000 dport=53 src=10.77.1.2 dst=10.0.0.9 sport=8080 dport=5000 mark=0 use=1
func parsePath(line string) (path, bool) {
	var dst, dport, src, sport string // of the way there, and of the answer, which come in this order
	for f := range strings.FieldsSeq(line) {
		k, v, _ := strings.Cut(f, "=")
		switch {
		case k == "dst" && dst == "":
			dst = v
		case k == "dport" && dport == "":
			dport = v
		case k == "src":
			src = v
		case k == "sport":
			sport = v
		}
	}
	to, err := address(dst, dport)
	from, err2 := address(src, sport)
	return path{to, from}, err == nil && err2 == nil
}

func address(ip, port string) (netip.AddrPort, error) {
	a, err := netip.ParseAddr(ip)
	if err != nil {
		return netip.AddrPort{}, err
	}
	n, err := strconv.ParseUint(port, 10, 16)
	return netip.AddrPortFrom(a, uint16(n)), err
}
