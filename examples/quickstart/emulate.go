package main

import (
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// startBMCs starts a BMC for each server, over HTTPS with a password; that of "silent" hangs up on every request.
func startBMCs() (endpoints map[string]redfish.Endpoint, stop func(), err error) {
	authority, err := emulate.NewAuthority()
	if err != nil {
		return nil, nil, err
	}
	var running []*emulate.Server
	stop = func() {
		for _, s := range running {
			s.Close()
		}
	}
	endpoints = make(map[string]redfish.Endpoint)
	for node, inlet := range map[string]float64{"old": 27, "new": 22, "silent": 22} {
		bmc := emulate.NewBMC(func() emulate.Machine {
			m := emulate.Blank()
			m.Inlet = inlet
			return m
		}, emulate.BMCOptions{User: "monitor", Password: "quickstart"})
		if node == "silent" {
			bmc.SetFault(emulate.ResetConnection)
		}
		s, err := emulate.Listen(authority, bmc)
		if err != nil {
			stop()
			return nil, nil, err
		}
		running = append(running, s)
		endpoints[node] = redfish.Endpoint{URL: s.URL, User: "monitor", Password: "quickstart", TLS: authority.ClientTLS()}
	}
	return endpoints, stop, nil
}
