//go:build linux

package nftables_test

import (
	"context"
	"fmt"
	"io"
	"math"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing/nftables"
)

// enterNamespace moves the test to a network namespace of its own, where addresses are local ones of the
// loopback interface. It skips where that is not possible.
func enterNamespace(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("real nft rules need root: run as root to test them")
	}
	for _, program := range []string{"nft", "ip"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("real nft rules need the program %s: apt-get install nftables iproute2", program)
		}
	}
	runtime.LockOSThread() // never unlocked: the thread and with it the namespace end with the test
	if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
		t.Skipf("real nft rules need a network namespace: %v", err)
	}
	for _, c := range []string{
		"ip link set lo up",
		"ip addr add 10.77.0.1/32 dev lo", "ip addr add 10.77.0.2/32 dev lo", "ip addr add 10.77.0.3/32 dev lo", "ip addr add 10.77.0.4/32 dev lo",
		// The way to virtual addresses, as a default route would be; nothing listens at its other end.
		"ip link add v0 type veth peer name v1", "ip link set v0 up", "ip link set v1 up",
		"ip route add 10.96.0.0/16 dev v0 src 10.77.0.1",
		"ip addr add fd77::2/128 dev lo nodad", "ip addr add fd77::3/128 dev lo nodad", "ip -6 route add fd96::/64 dev v0",
	} {
		a := strings.Fields(c)
		if out, err := exec.Command(a[0], a[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v: %s", c, err, out)
		}
	}
}

// answer serves "i" to whoever connects to the i-th address.
func answer(t *testing.T, addrs ...string) {
	for i, a := range addrs {
		l, err := net.Listen("tcp", a)
		if err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				fmt.Fprint(c, i)
				go func() { // a connection lives until its client ends it
					_, _ = io.Copy(c, c)
					c.Close()
				}()
			}
		}()
	}
}

// ask connects n times and counts who answers; it must run on the namespace's thread.
func ask(t *testing.T, to string, n int) map[string]int {
	t.Helper()
	count := map[string]int{}
	d := net.Dialer{Timeout: 3 * time.Second}
	for range n {
		c, err := d.Dial("tcp", to)
		if err != nil {
			count["error: "+err.Error()]++
			continue
		}
		b := make([]byte, 1)
		if _, err := io.ReadFull(c, b); err != nil {
			t.Error(err)
		}
		count[string(b)]++
		c.(*net.TCPConn).SetLinger(0)
		c.Close()
	}
	return count
}

func TestKernelDividesConnections(t *testing.T) {
	enterNamespace(t)
	w, err := nftables.Open(knftables.IPv4Family, nftables.Options{})
	if err != nil {
		t.Error(err)
		return
	}
	answer(t, "10.77.0.2:8080", "10.77.0.3:8080", "10.77.0.4:8080")
	apply(t, w, web(0.7, 0.2, 0.1))
	const n = 3000
	// 9.210 is the 99 % quantile of chi-square with two degrees of freedom. A test at one per cent fails once in a
	// hundred runs; a second sample tells chance from a mistake.
	for try := 1; ; try++ {
		got, chi := ask(t, "10.96.0.10:80", n), 0.0
		for i, p := range []float64{0.7, 0.2, 0.1} {
			chi += math.Pow(float64(got[fmt.Sprint(i)])-n*p, 2) / (n * p)
		}
		t.Logf("shares 0.7, 0.2, 0.1 of %d connections: %v, chi-square %.2f", n, got, chi)
		if chi < 9.210 {
			break
		}
		if try == 2 {
			t.Errorf("the split does not match the shares")
			break
		}
	}

	// An established connection survives a change of weights and the end of its endpoint's share.
	c, err := net.Dial("tcp", "10.96.0.10:80")
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	b := make([]byte, 1)
	_, _ = io.ReadFull(c, b)
	shares := []float64{1, 1, 1}
	shares[b[0]-'0'] = 0
	apply(t, w, web(shares...))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Error(err)
	}
	if _, err := io.ReadFull(c, b); err != nil || b[0] != 'x' {
		t.Errorf("the established connection is cut: %v", err)
	}
	r := apply(t, w, web(0, 1, 0))
	if r.Changed != 1 {
		t.Errorf("%+v", r)
	}
	if got := ask(t, "10.96.0.10:80", 100); got["1"] != 100 {
		t.Errorf("all to the second: %v", got)
	}
	// Somebody reloads the host's own rules and flushes all others.
	if out, err := exec.Command("nft", "flush", "ruleset").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	apply(t, w, web(0, 1, 0))
	if got := ask(t, "10.96.0.10:80", 100); got["1"] != 100 {
		t.Errorf("after all rules were flushed: %v", got)
	}
	// Without endpoints a client is told so at once.
	apply(t, w, web())
	if got := ask(t, "10.96.0.10:80", 1); len(got) != 1 || !strings.Contains(fmt.Sprint(got), "refused") {
		t.Errorf("without endpoints: %v", got)
	}
	if err := w.Cleanup(t.Context()); err != nil {
		t.Error(err)
	}
	if out, _ := exec.Command("nft", "list", "ruleset").CombinedOutput(); strings.Contains(string(out), "leastwatt") {
		t.Errorf("after the clean-up:\n%s", out)
	}
}

func TestKernelAffinityAndRestart(t *testing.T) {
	enterNamespace(t)
	open := func() *nftables.Writer {
		w, err := nftables.Open(knftables.IPv4Family, nftables.Options{})
		if err != nil {
			t.Error(err)
		}
		return w
	}
	w := open()
	answer(t, "10.77.0.2:8080", "10.77.0.3:8080", "10.77.0.4:8080")
	s := web(1, 1, 1)
	s.Affinity = time.Hour
	apply(t, w, s)
	first := ask(t, "10.96.0.10:80", 50)
	if len(first) != 1 {
		t.Errorf("one client meets %v", first)
	}
	gone := web(1)
	gone.Name, gone.IPs = "shop/gone:http", []netip.Addr{netip.MustParseAddr("10.96.0.12")}
	apply(t, w, s, gone)
	apply(t, open(), s) // a new process
	if again := ask(t, "10.96.0.10:80", 50); fmt.Sprint(again) != fmt.Sprint(first) {
		t.Errorf("before the restart %v, after it %v", first, again)
	}
	if out, _ := exec.Command("nft", "list", "ruleset").CombinedOutput(); strings.Contains(string(out), "gone") {
		t.Errorf("a Service that is gone is still there:\n%s", out)
	}
}

func TestKernelIPv6UDPAndSCTP(t *testing.T) {
	enterNamespace(t)
	w, err := nftables.Open(knftables.IPv6Family, nftables.Options{LocalCIDRs: []netip.Prefix{netip.MustParsePrefix("fd77::/64")}})
	if err != nil {
		t.Error(err)
		return
	}
	s := func(p nftables.Protocol) nftables.Service {
		return nftables.Service{Name: "shop/" + string(p) + ":x", Protocol: p, IPs: []netip.Addr{netip.MustParseAddr("fd96::a")}, Port: 53, NodePort: 30053,
			Endpoints: []nftables.Endpoint{{Addr: netip.MustParseAddrPort("[fd77::2]:5353"), Share: 1}, {Addr: netip.MustParseAddrPort("[fd77::3]:5353"), Share: 3}}}
	}
	apply(t, w, s(nftables.TCP), s(nftables.UDP), s(nftables.SCTP)) // SCTP: the kernel takes the rules
	answer(t, "[fd77::2]:5353", "[fd77::3]:5353")
	if got := ask(t, "[fd96::a]:53", 400); got["0"]+got["1"] != 400 || got["0"] < 60 || got["0"] > 140 {
		t.Errorf("TCP over IPv6: %v", got)
	}
	if got := ask(t, "[fd77::2]:30053", 40); got["0"]+got["1"] != 40 {
		t.Errorf("node port over IPv6: %v", got)
	}
	for i, a := range []string{"[fd77::2]:5353", "[fd77::3]:5353"} {
		l, err := net.ListenPacket("udp", a)
		if err != nil {
			t.Error(err)
			return
		}
		defer l.Close()
		go func() {
			b := make([]byte, 16)
			for {
				_, from, err := l.ReadFrom(b)
				if err != nil {
					return
				}
				_, _ = l.WriteTo([]byte{'0' + byte(i)}, from)
			}
		}()
	}
	count := map[string]int{}
	for range 200 {
		c, err := net.Dial("udp", "[fd96::a]:53")
		if err != nil {
			t.Error(err)
			return
		}
		_ = c.SetDeadline(time.Now().Add(3 * time.Second))
		b := make([]byte, 1)
		_, _ = c.Write([]byte("?"))
		if _, err := io.ReadFull(c, b); err != nil {
			t.Error(err)
		}
		count[string(b)]++
		c.Close()
	}
	if count["0"] < 20 || count["0"] > 85 {
		t.Errorf("UDP over IPv6: %v", count)
	}
}

func BenchmarkKernelChangeOneOf1000(b *testing.B) {
	enterNamespace(b)
	w, err := nftables.Open(knftables.IPv4Family, nftables.Options{})
	if err != nil {
		b.Fatal(err)
	}
	services := make([]nftables.Service, 1000)
	for i := range services {
		s := web()
		s.Name, s.IPs = fmt.Sprintf("ns/s%d:http", i), []netip.Addr{netip.AddrFrom4([4]byte{10, 96, byte(i >> 8), byte(i)})}
		for j := range 20 {
			s.Endpoints = append(s.Endpoints, nftables.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 78, byte(j), byte(i)}), 8080), Share: 1 + float64(j)})
		}
		services[i] = s
	}
	if _, err := w.Apply(context.Background(), services); err != nil {
		b.Fatal(err)
	}
	// What others do on the machine lengthens the time, but hardly the CPU time of this process and of nft.
	used := func() (d time.Duration) {
		for _, who := range []int{syscall.RUSAGE_SELF, syscall.RUSAGE_CHILDREN} {
			var u syscall.Rusage
			if err := syscall.Getrusage(who, &u); err != nil {
				b.Fatal(err)
			}
			d += time.Duration(u.Utime.Nano() + u.Stime.Nano())
		}
		return d
	}
	before := used()
	k := 0
	for b.Loop() {
		k++
		services[k%1000].Endpoints[0].Share = float64(2 + k%7)
		r, err := w.Apply(context.Background(), services)
		if err != nil {
			b.Fatal(err)
		}
		if r.Changed != 1 {
			b.Fatalf("%+v", r)
		}
	}
	b.ReportMetric((used()-before).Seconds()*1000/float64(k), "cpu-ms/op")
}
