package endpoints_test

import (
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// In a table of the kernel, clients of endpoints that are gone are forgotten and no others.
func TestConntrack(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("a table of connections needs root: run as root to test it")
	}
	for _, program := range []string{"conntrack", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("a table of connections needs the program %s: apt-get install conntrack iproute2", program)
		}
	}
	runtime.LockOSThread() // never unlocked: the thread and with it the namespace end with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Skipf("a table of connections needs a network namespace: %v", err)
	}
	sh := func(command string) string {
		a := strings.Fields(command)
		out, err := exec.Command(a[0], a[1:]...).CombinedOutput()
		if err != nil {
			t.Errorf("%s: %v: %s", command, err, out)
		}
		return string(out)
	}
	sh("ip link set lo up")
	sh("ip addr add 192.0.2.1/32 dev lo")
	sh("ip addr add 2001:db8::1/128 dev lo nodad")
	type entry struct {
		protocol, to string
		port         int
		from         string
		fromPort     int
		stays        bool
	}
	var stale []endpoints.Stale
	var entries []entry
	for _, v6 := range []bool{false, true} {
		ip := func(v4, text string) string {
			if v6 {
				return text
			}
			return v4
		}
		vip, alone, node, other := ip("10.96.0.10", "fd96::a"), ip("10.96.0.11", "fd96::b"), ip("192.0.2.1", "2001:db8::1"), ip("203.0.113.5", "2001:db8:5::5")
		live, dead := ip("10.77.1.2", "fd77:1::2"), ip("10.77.1.3", "fd77:1::3")
		at := func(ip string, port uint16) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(ip), port) }
		kept := []netip.AddrPort{at(live, 8080)}
		stale = append(stale, endpoints.Stale{Service: at(vip, 53), Endpoints: kept}, endpoints.Stale{Service: at(ip("0.0.0.0", "::"), 30053), Endpoints: kept},
			endpoints.Stale{Service: at(alone, 53)})
		entries = append(entries,
			entry{"udp", vip, 53, live, 8080, true},
			entry{"udp", vip, 53, live, 8081, false}, // another port of that pod
			entry{"udp", vip, 53, dead, 8080, false},
			entry{"udp", vip, 53, vip, 53, false},   // from before there were rules
			entry{"udp", vip, 54, dead, 8080, true}, // another Service
			entry{"tcp", vip, 53, dead, 8080, true}, // the endpoint's own end is told to TCP
			entry{"udp", alone, 53, live, 8080, false},
			entry{"udp", node, 30053, live, 8080, true},
			entry{"udp", node, 30053, dead, 8080, false},
			entry{"udp", other, 30053, other, 30053, true}, // somebody else's port of that number
		)
	}
	for i, e := range entries {
		client := "10.77.0.9"
		if strings.Contains(e.to, ":") {
			client = "fd77::9"
		}
		for k := range 2 { // clients
			c := fmt.Sprintf("conntrack -I -p %s -s %s -d %s --sport %d --dport %d --reply-src %s --reply-dst %s --reply-port-src %d --reply-port-dst %[4]d --timeout 600",
				e.protocol, client, e.to, 2000+2*i+k, e.port, e.from, client, e.fromPort)
			if e.protocol == "tcp" {
				c += " --state ESTABLISHED"
			}
			sh(c)
		}
	}
	if t.Failed() {
		return
	}
	for range 2 { // the second time there is nothing to do
		if err := endpoints.Conntrack(t.Context(), stale); err != nil {
			t.Error(err)
		}
		var want, got []string
		for i, e := range entries {
			if e.stays {
				want = append(want, fmt.Sprintf("sport=%d", 2000+2*i), fmt.Sprintf("sport=%d", 2001+2*i))
			}
		}
		for _, family := range []string{"ipv4", "ipv6"} {
			for line := range strings.Lines(sh("conntrack -L -f " + family)) {
				if f := strings.Fields(line); strings.Contains(line, "src=") {
					got = append(got, f[slices.IndexFunc(f, func(s string) bool { return strings.HasPrefix(s, "sport=") })])
				}
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	}
}
