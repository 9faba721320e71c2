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
	authority *emulate.Authority
	password  string
	names     []string
	bmcs      []*emulate.Server
	exporters []*emulate.Server
}

// startHardware opens the sensors of all servers, each on a port of its own.
func startHardware(p *plant) (_ *hardware, err error) {
	h := &hardware{password: newPassword()}
	defer func() {
		if err != nil {
			err = errors.Join(err, h.Close())
		}
	}()
	if h.authority, err = emulate.NewAuthority(); err != nil {
		return nil, fmt.Errorf("certificates of the BMCs: %w", err)
	}
	for i := range p.fleet {
		live := func() emulate.Machine {
			measured := p.measure(i)
			m := emulate.Blank()
			m.Watts, m.Inlet, m.Utilization = float64(measured.watts), float64(measured.inlet), measured.utilization
			return m
		}
		name := p.fleet[i].name
		listen := func(a *emulate.Authority, device http.Handler, all *[]*emulate.Server) error {
			s, err := emulate.Listen(a, device)
			if err != nil {
				return fmt.Errorf("sensors of %s: %w", name, err)
			}
			*all = append(*all, s)
			return nil
		}
		bmc := emulate.NewBMC(live, emulate.BMCOptions{User: bmcUser, Password: h.password})
		if err := listen(h.authority, bmc, &h.bmcs); err != nil {
			return nil, err
		}
		exporter := emulate.NewKepler(name, live, emulate.KeplerOptions{Platform: true})
		if err := listen(nil, exporter, &h.exporters); err != nil {
			return nil, err
		}
		h.names = append(h.names, name)
	}
	return h, nil
}

// Close ends all sensors.
func (h *hardware) Close() error {
	var errs []error
	for _, s := range h.bmcs {
		errs = append(errs, s.Close())
	}
	for _, s := range h.exporters {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// newPassword draws a password. Nothing prints it; it is in a file of the work folder alone.
func newPassword() string { return strings.ToLower(rand.Text()) }
