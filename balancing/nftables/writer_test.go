package nftables_test

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing/nftables"
)

func TestSharesBecomeSlots(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{Slots: 100})
	apply(t, w, web(0.7, 0.2, 0.1))
	holds(t, nft, "meta l4proto tcp dnat ip addr . port to numgen random mod 100 map { 0-69 : 10.77.0.2 . 8080, 70-89 : 10.77.0.3 . 8080, 90-99 : 10.77.0.4 . 8080 }")
	holds(t, nft, "10.96.0.10 . tcp . 80 : goto svc-")
	apply(t, w, web(0.005, 0.99, 0.005)) // a share above 0 keeps a slot
	holds(t, nft, "map { 0 : 10.77.0.2 . 8080, 1-98 : 10.77.0.3 . 8080, 99 : 10.77.0.4 . 8080 }")
	apply(t, w, web(0, 1, 0)) // none has none
	holds(t, nft, "map { 0-99 : 10.77.0.3 . 8080 }")
	lacks(t, nft, " : 10.77.0.2")
}

func TestIPv6(t *testing.T) {
	nft, w := fake(t, knftables.IPv6Family, nftables.Options{Slots: 10, LocalCIDRs: []netip.Prefix{netip.MustParsePrefix("fd77::/64"), netip.MustParsePrefix("10.0.0.0/8")}})
	s := nftables.Service{Name: "shop/dns:udp", Protocol: nftables.UDP, IPs: []netip.Addr{netip.MustParseAddr("fd96::a")}, Port: 53,
		Endpoints: []nftables.Endpoint{{Addr: netip.MustParseAddrPort("[fd77::2]:5353"), Share: 1}}}
	apply(t, w, s)
	holds(t, nft, "meta l4proto udp dnat ip6 addr . port to numgen random mod 10 map { 0-9 : fd77::2 . 5353 }")
	holds(t, nft, "ip6 saddr != { fd77::/64 } jump mark-masquerade")
	if r := apply(t, w, web(1)); len(r.Refused) != 1 || !strings.Contains(r.Refused[0].Error(), "family") {
		t.Errorf("an IPv4 Service in the IPv6 table: %v", r.Refused)
	}
	lacks(t, nft, "fd77::2")
}

func TestOnlyWhatChangedIsWritten(t *testing.T) {
	_, w := fake(t, knftables.IPv4Family, nftables.Options{})
	services := make([]nftables.Service, 200)
	for i := range services {
		services[i] = web(1, 2, 3)
		services[i].Name = fmt.Sprintf("ns/s%d:http", i)
		services[i].IPs = []netip.Addr{netip.AddrFrom4([4]byte{10, 96, 1, byte(i)})}
	}
	apply(t, w, services...)
	if r := apply(t, w, services...); r.Operations != 0 || r.Changed != 0 {
		t.Errorf("nothing changed: %+v", r)
	}
	services[7].Endpoints[0].Share = 5
	if r := apply(t, w, services...); r.Changed != 1 || r.Operations > 3 {
		t.Errorf("one Service's weights: %+v", r)
	}
	services[7].Endpoints[0].Share = 5.0000001 // less than a slot
	if r := apply(t, w, services...); r.Operations != 0 {
		t.Errorf("a change below a slot: %+v", r)
	}
	// The order of Services and endpoints is no change.
	services[3], services[9] = services[9], services[3]
	e := services[5].Endpoints
	e[0], e[2] = e[2], e[0]
	if r := apply(t, w, services...); r.Operations != 0 {
		t.Errorf("another order: %+v", r)
	}
}

// Whatever the way, the table ends as if it had been written at once, but for endpoints in the hairpin set that are gone.
func TestTheWayDoesNotMatter(t *testing.T) {
	affine := web(1, 2)
	affine.Name, affine.Affinity, affine.IPs = "shop/cart:http", 90*time.Minute, []netip.Addr{netip.MustParseAddr("10.96.0.11")}
	affine.NodePort = 30080
	other := affine
	other.Affinity = time.Hour
	other.Endpoints = other.Endpoints[:1]
	none := web()
	none.NodePort = 30081
	drop := none
	drop.Drop = true
	moved := web(1)
	moved.IPs = []netip.Addr{netip.MustParseAddr("10.96.0.99")}
	states := [][]nftables.Service{
		{web(1, 1)}, {web(3, 1), affine}, {affine}, {other, web(1)}, {none, other}, {drop}, {}, {moved, affine}, {web(1, 2, 3), other},
	}
	for _, nodePortOnly := range []bool{false, true} {
		nft, w := fake(t, knftables.IPv4Family, nftables.Options{})
		for i, a := range states {
			for j, b := range states {
				if nodePortOnly != ((i+j)%2 == 0) {
					continue
				}
				apply(t, w, a...)
				apply(t, w, b...)
				fresh, v := fake(t, knftables.IPv4Family, nftables.Options{})
				apply(t, v, b...)
				want, got := lines(fresh), lines(nft)
				got = slices.DeleteFunc(got, func(l string) bool { return hairpin(l) && !slices.Contains(want, l) })
				if d := cmp.Diff(want, got); d != "" {
					t.Fatalf("from state %d to %d:\n%s", i, j, d)
				}
			}
		}
	}
}

// What an endpoint that is gone leaves in the hairpin set is used again when it is back, and goes when another element is
// written, when it is too much, and with a new process.
func TestEndpointsThatAreGone(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{})
	left := func() (out int) {
		for _, l := range lines(nft) {
			if hairpin(l) {
				out++
			}
		}
		return out
	}
	apply(t, w, web(1, 1, 1))
	for range 5 { // it flaps
		if r := apply(t, w, web(1, 1)); r.Operations > 3 || left() != 3 {
			t.Errorf("an endpoint goes: %+v, %d elements", r, left())
		}
		if r := apply(t, w, web(1, 1, 1)); r.Operations > 3 || left() != 3 {
			t.Errorf("it is back: %+v, %d elements", r, left())
		}
	}
	apply(t, w, web(1))
	moved := web(1)
	moved.IPs = []netip.Addr{netip.MustParseAddr("10.96.0.99")}
	if apply(t, w, moved); left() != 1 {
		t.Errorf("%d elements of one endpoint after others were written", left())
	}
	big := web()
	for i := range 1500 {
		big.Endpoints = append(big.Endpoints, nftables.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 78, byte(i >> 8), byte(i)}), 8080), Share: 1})
	}
	apply(t, w, big)
	small := big
	small.Endpoints = big.Endpoints[:900]
	if apply(t, w, small); left() != 1500 {
		t.Errorf("%d elements after 600 of 1,500 endpoints went", left())
	}
	small.Endpoints = big.Endpoints[:400]
	if apply(t, w, small); left() != 400 {
		t.Errorf("%d elements after 1,100 of 1,500 endpoints went", left())
	}
	small.Endpoints = big.Endpoints[:399]
	apply(t, w, small)
	again, err := nftables.New(nft, knftables.IPv4Family, nftables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if apply(t, again, small); left() != 399 {
		t.Errorf("%d elements after a restart with 399 endpoints", left())
	}
	if apply(t, again); left() != 0 {
		t.Errorf("%d elements without Services", left())
	}
}

func TestRestartAdoptsTheTable(t *testing.T) {
	affine := web(1, 1)
	affine.Affinity = time.Hour
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{})
	gone := web(1)
	gone.Name, gone.IPs = "shop/gone:http", []netip.Addr{netip.MustParseAddr("10.96.0.12")}
	apply(t, w, affine, gone)
	// A client that the kernel remembers.
	var set string
	names, err := nft.List(t.Context(), "set")
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range names {
		if strings.HasPrefix(n, "aff-") {
			set = n
		}
	}
	tx := nft.NewTransaction()
	tx.Add(&knftables.Element{Set: set, Key: []string{"10.77.0.200"}})
	if err := nft.Run(t.Context(), tx); err != nil {
		t.Fatal(err)
	}
	again, err := nftables.New(nft, knftables.IPv4Family, nftables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, again, affine)
	holds(t, nft, "10.77.0.200")
	lacks(t, nft, "gone")
	if r := apply(t, again, affine); r.Operations != 0 {
		t.Errorf("after the adoption: %+v", r)
	}
}

func TestWithoutEndpointsRejects(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{})
	s := web()
	s.NodePort = 30080
	apply(t, w, s)
	holds(t, nft, "no-endpoint-ips { 10.96.0.10 . tcp . 80 : goto reject-new }")
	holds(t, nft, "no-endpoint-nodeports { tcp . 30080 : goto reject-new }")
	s.Drop = true
	apply(t, w, s)
	holds(t, nft, "10.96.0.10 . tcp . 80 : goto drop-new")
}

func TestAffinity(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{Slots: 4})
	s := web(1, 3)
	s.Affinity = 3 * time.Hour
	apply(t, w, s)
	holds(t, nft, "timeout 10800s")
	holds(t, nft, "numgen random mod 4 vmap { 0 : goto ep-")
	holds(t, nft, "dnat to 10.77.0.3:8080")
}

func TestConcurrentApply(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{Slots: 100})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 20 {
				if _, err := w.Apply(t.Context(), []nftables.Service{web(float64(1+i), float64(1+j))}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	apply(t, w, web(1, 1))
	holds(t, nft, "map { 0-49 : 10.77.0.2 . 8080, 50-99 : 10.77.0.3 . 8080 }")
}

func TestCleanup(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{})
	apply(t, w, web(1))
	for range 2 {
		if err := w.Cleanup(t.Context()); err != nil {
			t.Fatal(err)
		}
		lacks(t, nft, "leastwatt")
	}
	apply(t, w, web(1))
	holds(t, nft, "10.77.0.2")
}

func TestOptions(t *testing.T) {
	nft := knftables.NewFake(knftables.IPv4Family, "x")
	for _, o := range []nftables.Options{{Slots: -1}, {Slots: 1e9}, {Mark: 3}} {
		if _, err := nftables.New(nft, knftables.IPv4Family, o); err == nil {
			t.Errorf("%+v: no error", o)
		}
	}
	if _, err := nftables.New(nft, knftables.InetFamily, nftables.Options{}); err == nil {
		t.Error("family inet: no error")
	}
}

func TestFromOutside(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{Slots: 10, Count: true})
	s := web(0.5, 0.5)
	s.NodePort, s.External, s.Balancers = 30080, []netip.Addr{netip.MustParseAddr("198.51.100.7"), s.IPs[0]}, []netip.Addr{netip.MustParseAddr("198.51.100.8")}
	s.SourceRanges = []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("192.0.2.9/32"), netip.MustParsePrefix("10.0.0.0/8")}
	apply(t, w, s)
	holds(t, nft, "198.51.100.7 . tcp . 80 : goto out-")
	holds(t, nft, "198.51.100.8 . tcp . 80 : goto lb-")
	holds(t, nft, "ip saddr != { 10.0.0.0/8, 192.0.2.0/24 } drop")
	holds(t, nft, "10.96.0.10 . tcp . 80 : goto svc-") // whatever else claims it
	holds(t, nft, "counter name new-")

	// What comes from outside meets other endpoints; its clients keep their addresses.
	s.Outside = &nftables.Outside{Endpoints: s.Endpoints[1:], KeepSource: true, Drop: true}
	if r := apply(t, w, s); r.Changed != 1 {
		t.Errorf("%+v", r)
	}
	holds(t, nft, "fib saddr type local goto svc-")
	holds(t, nft, "map { 0-9 : 10.77.0.3 . 8080 }")
	holds(t, nft, "map { 0-4 : 10.77.0.2 . 8080, 5-9 : 10.77.0.3 . 8080 }")
	if r := apply(t, w, s); r.Operations != 0 {
		t.Errorf("nothing changed, but %+v", r)
	}
	flows, err := w.Connections(t.Context())
	if err != nil || len(flows) != 1 || flows[0].Service != s.Name || flows[0].Protocol != nftables.TCP {
		t.Errorf("connections %v, %v", flows, err)
	}
	// Nobody inside, somebody outside; and the other way round.
	s.Endpoints, s.Drop = nil, true
	apply(t, w, s)
	holds(t, nft, "10.96.0.10 . tcp . 80 : goto drop-new")
	holds(t, nft, "tcp . 30080 : goto out-")
	apply(t, w, web())
	lacks(t, nft, "198.51.100")
	lacks(t, nft, "out-")
	lacks(t, nft, "new-") // no counter without endpoints
	if _, err := func() ([]nftables.Flow, error) {
		_, w := fake(t, knftables.IPv4Family, nftables.Options{})
		return w.Connections(t.Context())
	}(); err == nil {
		t.Error("connections that nobody counts: no error")
	}
}
