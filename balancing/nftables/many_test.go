package nftables_test

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/nftables"
)

func TestDuplicateEndpointsAreOne(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{Slots: 4})
	s := web(1, 2)
	s.Endpoints = append(s.Endpoints, s.Endpoints[0])
	apply(t, w, s)
	holds(t, nft, "map { 0-1 : 10.77.0.2 . 8080, 2-3 : 10.77.0.3 . 8080 }")
}

func TestManyEndpoints(t *testing.T) {
	s := web()
	for i := range 6000 {
		s.Endpoints = append(s.Endpoints, nftables.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 78, byte(i >> 8), byte(i)}), 80), Share: 1e-9})
	}
	s.Endpoints[0].Share = 1
	script, refused, err := nftables.Script(knftables.IPv4Family, nftables.Options{}, []nftables.Service{s})
	if err != nil || len(refused) > 0 {
		t.Fatal(err, refused)
	}
	for _, want := range []string{"numgen random mod 1000000 ", "10.78.23.111 . 80 }"} {
		if !strings.Contains(script, want) {
			t.Errorf("no %q in %d bytes of rules", want, len(script))
		}
	}
}

// However many endpoints a Service has, what its connections get is what the shares say, floors among them.
func TestSlotsOfManyEndpoints(t *testing.T) {
	for _, n := range []int{2, 200, 500, 501, 1000, 5000} {
		nft, w := fake(t, knftables.IPv4Family, nftables.Options{})
		s, want := web(), make(map[string]float64, n)
		floor := balancing.DefaultFloor / float64(n)
		for i := range n {
			share := floor
			if i == 0 {
				share = 1 - float64(n-1)*floor
			}
			a := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 78, byte(i >> 8), byte(i)}), 80)
			s.Endpoints = append(s.Endpoints, nftables.Endpoint{Addr: a, Share: share})
			want[fmt.Sprint(a.Addr(), " . 80")] = share
		}
		apply(t, w, s)
		_, rule, _ := strings.Cut(nft.Dump(), "numgen random mod ")
		mod, rule, _ := strings.Cut(rule, " map { ")
		total, err := strconv.Atoi(mod)
		if err != nil {
			t.Fatal(err)
		}
		rule, _, _ = strings.Cut(rule, " }")
		off := 0.0
		for part := range strings.SplitSeq(rule, ", ") {
			at, endpoint, _ := strings.Cut(part, " : ")
			from, to, ok := strings.Cut(at, "-")
			if !ok {
				to = from
			}
			a, err := strconv.Atoi(from)
			b, err2 := strconv.Atoi(to)
			if err := errors.Join(err, err2); err != nil {
				t.Fatal(err)
			}
			off += math.Abs(float64(b-a+1)/float64(total)-want[endpoint]) / 2
		}
		if off > 0.03 {
			t.Errorf("%d endpoints: %.1f %% of the connections meet another endpoint than the shares say", n, 100*off)
		}
	}
}
