package nftables_test

import (
	"context"
	"fmt"
	"net/netip"
	"strings"

	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing/nftables"
)

func ExampleScript() {
	s := nftables.Service{Name: "shop/web:http", Protocol: nftables.TCP, IPs: []netip.Addr{netip.MustParseAddr("10.96.0.10")}, Port: 80,
		Endpoints: []nftables.Endpoint{
			{Addr: netip.MustParseAddrPort("10.77.0.2:8080"), Share: 0.7},
			{Addr: netip.MustParseAddrPort("10.77.0.3:8080"), Share: 0.3},
		}}
	script, refused, err := nftables.Script(knftables.IPv4Family, nftables.Options{}, []nftables.Service{s})
	if err != nil || len(refused) > 0 {
		panic(fmt.Sprint(err, refused))
	}
	for line := range strings.Lines(script) {
		if strings.Contains(line, "numgen") {
			_, rule, _ := strings.Cut(line, "shop/web-http ")
			fmt.Print(rule)
		}
	}
	// Output:
	// meta l4proto tcp dnat ip addr . port to numgen random mod 10000 map { 0-6999 : 10.77.0.2 . 8080, 7000-9999 : 10.77.0.3 . 8080 }
}

// A writer keeps the table at the Services of the last Apply. In a cluster's node it is opened with [nftables.Open].
func ExampleWriter() {
	w, err := nftables.New(knftables.NewFake(knftables.IPv4Family, "leastwatt"), knftables.IPv4Family, nftables.Options{})
	if err != nil {
		panic(err)
	}
	s := nftables.Service{Name: "shop/web:http", Protocol: nftables.TCP, IPs: []netip.Addr{netip.MustParseAddr("10.96.0.10")}, Port: 80,
		Endpoints: []nftables.Endpoint{{Addr: netip.MustParseAddrPort("10.77.0.2:8080"), Share: 0.7}, {Addr: netip.MustParseAddrPort("10.77.0.3:8080"), Share: 0.3}}}
	thief := s // claims the same address
	thief.Name = "zoo/thief:http"
	for range 2 {
		r, err := w.Apply(context.Background(), []nftables.Service{s, thief})
		fmt.Println(r.Changed, r.Operations > 0, r.Refused, err)
	}
	// Output:
	// 1 true [service "zoo/thief:http": 10.96.0.10 . tcp . 80 belongs to "shop/web:http": address and port belong to another Service already] <nil>
	// 0 false [service "zoo/thief:http": 10.96.0.10 . tcp . 80 belongs to "shop/web:http": address and port belong to another Service already] <nil>
}
