package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// bmcUser may read every BMC, with a password that each run draws anew.
const bmcUser = "leastwatt"

// hardware is what a scheduler can ask about the servers: a BMC that speaks Redfish over HTTPS and a Kepler
// exporter for each, in the fleet's order. They measure the plant.
type hardware struct {
	addresses
	devices []*emulate.Server // of this process
}

// startHardware opens the sensors of all servers, each on a port of its own.
func startHardware(p *plant) (_ *hardware, err error) {
	h := &hardware{addresses: addresses{Password: newPassword()}}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	authority, err := emulate.NewAuthority()
	if err != nil {
		return nil, fmt.Errorf("certificates of the BMCs: %w", err)
	}
	h.PEM = authority.PEM()
	for i := range p.fleet {
		live := func() emulate.Machine {
			measured := p.measure(i)
			m := emulate.Blank()
			m.Watts, m.Inlet, m.Utilization = float64(measured.watts), float64(measured.inlet), measured.utilization
			return m
		}
		name := p.fleet[i].name
		listen := func(a *emulate.Authority, device http.Handler, urls *[]string) error {
			s, err := emulate.Listen(a, device)
			if err != nil {
				return fmt.Errorf("sensors of %s: %w", name, err)
			}
			h.devices = append(h.devices, s)
			*urls = append(*urls, s.URL)
			return nil
		}
		bmc := emulate.NewBMC(live, emulate.BMCOptions{User: bmcUser, Password: h.Password})
		if err := listen(authority, bmc, &h.BMCs); err != nil {
			return nil, err
		}
		exporter := emulate.NewKepler(name, live, emulate.KeplerOptions{Platform: true})
		if err := listen(nil, exporter, &h.Exporters); err != nil {
			return nil, err
		}
		h.Names = append(h.Names, name)
	}
	return h, nil
}

// startPrometheus opens one server that has scraped the sensors of all servers.
func startPrometheus(p *plant) (*hardware, error) {
	s, err := emulate.Listen(nil, promAPI{p})
	if err != nil {
		return nil, fmt.Errorf("the Prometheus server: %w", err)
	}
	h := &hardware{addresses: addresses{Prometheus: s.URL}, devices: []*emulate.Server{s}}
	for i := range p.fleet {
		h.Names = append(h.Names, p.fleet[i].name)
	}
	return h, nil
}

// Close ends all sensors.
func (h *hardware) Close() error {
	var errs []error
	for _, s := range h.devices {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// newPassword draws a password. Nothing prints it; it is in a file of the work folder alone.
func newPassword() string { return strings.ToLower(rand.Text()) }
