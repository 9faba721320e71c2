package nftables_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing/nftables"
)

func web(shares ...float64) nftables.Service {
	s := nftables.Service{Name: "shop/web:http", Protocol: nftables.TCP, IPs: []netip.Addr{netip.MustParseAddr("10.96.0.10")}, Port: 80}
	for i, v := range shares {
		s.Endpoints = append(s.Endpoints, nftables.Endpoint{Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 77, 0, byte(2 + i)}), 8080), Share: v})
	}
	return s
}

func fake(t *testing.T, f knftables.Family, o nftables.Options) (*knftables.Fake, *nftables.Writer) {
	t.Helper()
	table := o.Table
	if table == "" {
		table = "leastwatt"
	}
	nft := knftables.NewFake(f, table)
	w, err := nftables.New(nft, f, o)
	if err != nil {
		t.Fatal(err)
	}
	return nft, w
}

func apply(t *testing.T, w *nftables.Writer, services ...nftables.Service) nftables.Result {
	t.Helper()
	r, err := w.Apply(t.Context(), services)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func holds(t *testing.T, nft *knftables.Fake, want string) {
	t.Helper()
	if !strings.Contains(nft.Dump(), want) {
		t.Errorf("no %q in\n%s", want, nft.Dump())
	}
}

func lacks(t *testing.T, nft *knftables.Fake, what string) {
	t.Helper()
	if strings.Contains(nft.Dump(), what) {
		t.Errorf("still %q in\n%s", what, nft.Dump())
	}
}

func hairpin(line string) bool { return strings.HasPrefix(line, "add element ip leastwatt hairpin ") }

// lines is a dump with the elements of sets and maps in one order; that of rules stays.
func lines(nft *knftables.Fake) []string {
	var elements, others []string
	for l := range strings.Lines(nft.Dump()) {
		if strings.HasPrefix(l, "add element") {
			elements = append(elements, l)
		} else {
			others = append(others, l)
		}
	}
	slices.Sort(elements)
	return append(others, elements...)
}
