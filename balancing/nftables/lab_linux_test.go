package nftables_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A host is a network namespace with one thread in it that does what is asked.
type host struct {
	t   testing.TB
	tid int
	do  chan func()
}

func newHost(t testing.TB) *host {
	t.Helper()
	h := &host{t: t, do: make(chan func())}
	ready := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread and with it the namespace end with the test
		err := syscall.Unshare(syscall.CLONE_NEWNET)
		h.tid = syscall.Gettid()
		ready <- err
		for f := range h.do {
			f()
		}
	}()
	if err := <-ready; err != nil {
		t.Skipf("real nft rules need a network namespace: %v", err)
	}
	t.Cleanup(func() { close(h.do) })
	h.sh("ip link set lo up")
	return h
}

// in runs f in the namespace and returns when it has.
func (h *host) in(f func()) {
	done := make(chan struct{})
	h.do <- func() { defer close(done); f() }
	<-done
}

func (h *host) sh(commands ...string) {
	h.t.Helper()
	h.in(func() {
		for _, c := range commands {
			a := strings.Fields(c)
			if out, err := exec.Command(a[0], a[1:]...).CombinedOutput(); err != nil {
				h.t.Errorf("%s: %v: %s", c, err, out)
			}
		}
	})
	if h.t.Failed() {
		h.t.FailNow()
	}
}

// A lab is a node with two pods, a pod of another node and two clients from outside:
//
//	a 10.77.1.2, b 10.77.1.3   far 10.77.2.4   client 192.0.2.10, stranger 192.0.2.11
//
// and the same in IPv6, as fd77:1::2 and so on. All routes lead through the node, whose address is .1 everywhere.
type lab struct {
	node, a, b, far, client, stranger *host
}

func newLab(t testing.TB) *lab {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("real nft rules need root: run as root to test them")
	}
	for _, program := range []string{"nft", "ip", "conntrack"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("real nft rules need the program %s: apt-get install nftables iproute2 conntrack", program)
		}
	}
	l := &lab{node: newHost(t)}
	l.node.in(func() {
		// A rejection is an ICMP message; the kernel sends few of them, and fewer to whom it has sent redirects.
		for f, v := range map[string]string{"ipv4/ip_forward": "1", "ipv6/conf/all/forwarding": "1", "ipv4/icmp_ratelimit": "0", "ipv6/icmp/ratelimit": "0",
			"ipv4/conf/all/send_redirects": "0", "ipv4/conf/default/send_redirects": "0"} {
			if err := os.WriteFile("/proc/sys/net/"+f, []byte(v), 0); err != nil {
				t.Errorf("%s: %v", f, err)
			}
		}
	})
	for i, x := range []struct {
		h      **host
		v4, v6 string
	}{{&l.a, "10.77.1.2", "fd77:1::2"}, {&l.b, "10.77.1.3", "fd77:1::3"}, {&l.far, "10.77.2.4", "fd77:2::4"}, {&l.client, "192.0.2.10", "2001:db8::10"}, {&l.stranger, "192.0.2.11", "2001:db8::11"}} {
		h := newHost(t)
		*x.h = h
		gate4, gate6 := x.v4[:strings.LastIndexByte(x.v4, '.')]+".1", x.v6[:strings.LastIndexByte(x.v6, ':')]+":1"
		l.node.sh(fmt.Sprintf("ip link add v%d type veth peer name eth0 netns %d", i, h.tid), fmt.Sprintf("ip link set v%d up", i),
			fmt.Sprintf("ip addr add %s/32 dev v%d", gate4, i), fmt.Sprintf("ip -6 addr add %s/128 dev v%d nodad", gate6, i))
		h.sh("ip link set eth0 up", "ip addr add "+x.v4+"/32 dev eth0", "ip -6 addr add "+x.v6+"/128 dev eth0 nodad",
			"ip route add "+gate4+" dev eth0", "ip route add default via "+gate4, "ip -6 route add "+gate6+" dev eth0", "ip -6 route add default via "+gate6)
		l.node.sh(fmt.Sprintf("ip route add %s dev v%d", x.v4, i), fmt.Sprintf("ip -6 route add %s dev v%d", x.v6, i))
	}
	// Where virtual addresses would leave the node if no rule caught them.
	l.node.sh("ip route add default dev v2", "ip -6 route add default dev v2")
	return l
}

// serve answers TCP connections and UDP packets on port 8080 of a host with its name and the address it sees.
func (h *host) serve(name string) {
	h.t.Helper()
	h.in(func() {
		l, err := net.Listen("tcp", ":8080")
		if err != nil {
			h.t.Error(err)
			return
		}
		h.t.Cleanup(func() { l.Close() })
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					fmt.Fprintf(c, "%s %s\n", name, plain(c.RemoteAddr()))
					_, _ = io.Copy(c, c)
				}()
			}
		}()
		for _, network := range []string{"udp4", "udp6"} {
			u, err := net.ListenPacket(network, ":8080")
			if err != nil {
				h.t.Error(err)
				return
			}
			h.t.Cleanup(func() { u.Close() })
			go func() {
				b := make([]byte, 64)
				for {
					_, from, err := u.ReadFrom(b)
					if err != nil {
						return
					}
					_, _ = u.WriteTo([]byte(name+" "+plain(from)), from)
				}
			}()
		}
	})
}

func plain(a net.Addr) string {
	p, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return a.String()
	}
	return p.Addr().Unmap().String()
}

// patience is for an answer that should come, on whatever machine.
const patience = 20 * time.Second

// ask connects n times, by "tcp" or "udp", and counts who answers and whom that one saw; what fails is counted as
// "refused" or "nobody".
func (h *host) ask(network, to string, n int) map[string]int {
	out := map[string]int{}
	h.in(func() {
		for range n {
			out[once(network, to, patience)]++
		}
	})
	return out
}

// silent tells whether nobody answers.
func (h *host) silent(network, to string) (silent bool) {
	h.in(func() { silent = once(network, to, 300*time.Millisecond) == "nobody" })
	return silent
}

// forget empties the node's table of connections: a UDP client's port is used again before its entry ends.
func (l *lab) forget() { l.node.sh("conntrack -F") }

func once(network, to string, patience time.Duration) string {
	d := net.Dialer{Timeout: patience}
	c, err := d.Dial(network, to)
	if err != nil {
		return failure(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	if network == "udp" {
		if _, err := c.Write([]byte("?")); err != nil {
			return failure(err)
		}
	} else {
		_ = c.(*net.TCPConn).SetLinger(0)
	}
	b := make([]byte, 64)
	k, err := c.Read(b)
	if err != nil {
		return failure(err)
	}
	return strings.TrimSpace(string(b[:k]))
}

func failure(err error) string {
	if errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.EPERM) { // EPERM: this host's own rules reject it
		return "refused"
	}
	return "nobody"
}

// who sums answers by name, whatever address they saw.
func who(answers map[string]int) map[string]int {
	out := map[string]int{}
	for k, n := range answers {
		name, _, _ := strings.Cut(k, " ")
		out[name] += n
	}
	return out
}
