package nftables_test

import (
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing/nftables"
)

func TestBadServicesAreRefusedAlone(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{})
	thief := web(1)
	thief.Name = "zoo/thief:http"
	twice := web(1)
	bad := web(1)
	bad.Name, bad.Endpoints[0].Share = "a/bad:http", -1
	zero := web(1)
	zero.Name, zero.Port = "a/zero:http", 0
	odd := web(1)
	odd.Name, odd.Protocol = "a/odd:http", "icmp"
	r := apply(t, w, thief, web(1, 1), twice, bad, zero, odd)
	if len(r.Refused) != 5 {
		t.Errorf("refused: %v", errors.Join(r.Refused...))
	}
	n := 0
	for _, err := range r.Refused {
		if errors.Is(err, nftables.ErrDuplicate) {
			n++
		}
	}
	if n != 2 {
		t.Errorf("%d of %v are duplicates: want 2", n, r.Refused)
	}
	holds(t, nft, "10.77.0.3")
	lacks(t, nft, "thief")
}

// Who asks for the virtual address of another Service as an address from outside does not get it, whatever its name.
func TestVirtualAddressesAreNotTaken(t *testing.T) {
	thief := web(1)
	thief.Name, thief.IPs, thief.External = "a/thief:http", []netip.Addr{netip.MustParseAddr("10.96.0.11")}, web().IPs
	balancer := thief
	balancer.Name, balancer.IPs, balancer.External, balancer.Balancers = "b/thief:http", []netip.Addr{netip.MustParseAddr("10.96.0.12")}, nil, web().IPs
	first, second := thief, thief // of an address that is nobody's the first one gets it
	first.Name, first.IPs, first.External = "c/first:http", []netip.Addr{netip.MustParseAddr("10.96.0.13")}, []netip.Addr{netip.MustParseAddr("198.51.100.7")}
	second.Name, second.IPs, second.External = "d/second:http", []netip.Addr{netip.MustParseAddr("10.96.0.14")}, first.External
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{})
	r := apply(t, w, thief, balancer, second, web(1, 1), first)
	var refused []string
	for _, err := range r.Refused {
		e, ok := errors.AsType[*nftables.RefusedError](err)
		if !ok || !errors.Is(err, nftables.ErrDuplicate) {
			t.Fatal(err)
		}
		refused = append(refused, e.Service)
	}
	if d := cmp.Diff([]string{thief.Name, balancer.Name, second.Name}, refused); d != "" {
		t.Error(d)
	}
	holds(t, nft, "10.96.0.10 . tcp . 80 : goto svc-")
	holds(t, nft, "198.51.100.7 . tcp . 80 : goto out-")
	lacks(t, nft, "thief")
	lacks(t, nft, "second")
}

// refusing fails while told to.
type refusing struct {
	knftables.Interface
	mu  sync.Mutex
	err error
}

func (r *refusing) Run(ctx context.Context, tx *knftables.Transaction) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	return r.Interface.Run(ctx, tx)
}

func TestNftRefuses(t *testing.T) {
	nft := knftables.NewFake(knftables.IPv4Family, "leastwatt")
	r := &refusing{Interface: nft}
	w, err := nftables.New(r, knftables.IPv4Family, nftables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	apply(t, w, web(1, 1))
	before := nft.Dump()
	why := errors.New("no")
	r.err = why
	if _, err := w.Apply(t.Context(), []nftables.Service{web(1, 5)}); !errors.Is(err, why) {
		t.Errorf("error is %v", err)
	}
	if nft.Dump() != before {
		t.Error("the rules changed")
	}
	r.err = nil
	apply(t, w, web(1, 4))
	holds(t, nft, "0-1999 : 10.77.0.2")
}

// Somebody flushes all rules of the host, as a reload of its firewall does: the next Apply writes them anew, changed or not.
func TestTableIsRemovedByOthers(t *testing.T) {
	nft, w := fake(t, knftables.IPv4Family, nftables.Options{})
	flush := func() {
		t.Helper()
		tx := nft.NewTransaction()
		tx.Delete(&knftables.Table{})
		if err := nft.Run(t.Context(), tx); err != nil {
			t.Fatal(err)
		}
	}
	apply(t, w, web(1, 1))
	before := nft.Dump()
	flush()
	if r := apply(t, w, web(1, 1)); r.Operations == 0 || nft.Dump() != before {
		t.Errorf("%+v, and then\n%s", r, nft.Dump())
	}
	if r := apply(t, w, web(1, 1)); r.Operations != 0 {
		t.Errorf("it was there: %+v", r)
	}
	flush()
	if _, err := w.Apply(t.Context(), []nftables.Service{web(1, 3)}); err == nil {
		t.Error("a change of what is gone: no error")
	}
	apply(t, w, web(1, 3))
	holds(t, nft, "0-2499 : 10.77.0.2")
}
