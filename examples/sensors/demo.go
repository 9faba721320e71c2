package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/dcgm"
	"github.com/leastwatt/leastwatt/sensors/ipmi"
	"github.com/leastwatt/leastwatt/sensors/ipmiexporter"
	"github.com/leastwatt/leastwatt/sensors/kepler"
	"github.com/leastwatt/leastwatt/sensors/loadwatcher"
	"github.com/leastwatt/leastwatt/sensors/pressure"
	"github.com/leastwatt/leastwatt/sensors/prometheus"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A demo is one emulated device per protocol, each the only one of a node that bears the protocol's name.
// It is a source of all of them.
type demo struct {
	sources map[string]sensors.SensorSource
	closers []func()
}

const (
	demoUser     = "monitor"
	demoPassword = "demo-password"
)

// live is a server whose load goes up and down once a minute.
func live(began time.Time) func() emulate.Machine {
	return func() emulate.Machine {
		s := time.Since(began).Seconds()
		u := 0.5 + 0.4*math.Sin(2*math.Pi*s/60)
		cpu, dram, gpu := 40+120*u, 8+10*u, 60+240*u
		integral := 0.5*s + 0.4*60/(2*math.Pi)*(1-math.Cos(2*math.Pi*s/60)) // of u
		return emulate.Machine{
			Watts: 120 + 180*u, Inlet: 22 + 2*u, Exhaust: 30 + 12*u, CPUTemp: 45 + 30*u, FanRPM: 4000 + 4000*u, Utilization: u,
			CPUWatts: cpu, DRAMWatts: dram, Joules: 120*s + 180*integral, CPUJoules: 40*s + 120*integral, DRAMJoules: 8*s + 10*integral,
			GPUWatts: gpu, GPUJoules: 60*s + 240*integral, GPUUtil: u, GPUTemp: 40 + 35*u, Pressure: 10 + 15*u,
		}
	}
}

func startDemo() (d *demo, err error) {
	d = &demo{sources: make(map[string]sensors.SensorSource)}
	defer func() {
		if err != nil {
			d.close()
		}
	}()
	machine := live(time.Now())
	authority, err := emulate.NewAuthority()
	if err != nil {
		return nil, err
	}
	serve := func(a *emulate.Authority, device http.Handler) (url string) {
		if err != nil {
			return ""
		}
		var s *emulate.Server
		if s, err = emulate.Listen(a, device); err != nil {
			return ""
		}
		d.closers = append(d.closers, func() { _ = s.Close() })
		return s.URL
	}
	open := emulate.ExporterOptions{}

	url := serve(authority, emulate.NewBMC(machine, emulate.BMCOptions{User: demoUser, Password: demoPassword}))
	d.add("redfish", redfish.New(redfish.Nodes(map[string]redfish.Endpoint{
		"redfish": {URL: url, User: demoUser, Password: demoPassword, TLS: authority.ClientTLS()}}), redfish.Options{}))

	bmc, e := emulate.NewIPMI(demoUser, demoPassword, emulate.MachineSensors(machine)...)
	if e != nil {
		return d, errors.Join(err, e)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = bmc.Run(ctx) })
	d.closers = append(d.closers, func() { cancel(); wg.Wait() })
	d.add("ipmi", ipmi.New(ipmi.Nodes(map[string]ipmi.BMC{"ipmi": {Address: bmc.Addr(), Username: demoUser, Password: demoPassword}}), ipmi.Options{}))

	d.add("ipmi-exporter", ipmiexporter.New(ipmiexporter.Nodes(map[string]ipmiexporter.Endpoint{
		"ipmi-exporter": {URL: serve(nil, emulate.NewIPMIExporter(machine, true, open)) + "/ipmi?target=10.0.0.7"}}), ipmiexporter.Options{}))
	d.add("kepler", kepler.New(kepler.Nodes(map[string]kepler.Endpoint{
		"kepler": {URL: serve(nil, emulate.NewKepler("kepler", machine, emulate.KeplerOptions{Platform: true})) + "/metrics"}}), kepler.Options{}))
	d.add("kepler-0.7", kepler.New(kepler.Nodes(map[string]kepler.Endpoint{
		"kepler-0.7": {URL: serve(nil, emulate.NewKepler("kepler-0.7", machine, emulate.KeplerOptions{Legacy: true})) + "/metrics"}}), kepler.Options{}))
	d.add("scaphandre", scaphandre.New(scaphandre.Nodes(map[string]scaphandre.Endpoint{
		"scaphandre": {URL: serve(nil, emulate.NewScaphandre(machine, open)) + "/metrics"}}), scaphandre.Options{}))
	d.add("dcgm", dcgm.New(dcgm.Nodes(map[string]dcgm.Endpoint{
		"dcgm": {URL: serve(nil, emulate.NewDCGM("dcgm", machine, open)) + "/metrics"}}), dcgm.Options{}))
	if err != nil {
		return d, err
	}

	watcher, e1 := loadwatcher.New(loadwatcher.Endpoint{URL: serve(nil, emulate.NewLoadWatcher(machine, open, "load-watcher"))}, loadwatcher.Options{})
	aisles, e2 := pressure.New(pressure.Endpoint{URL: serve(nil, emulate.NewPressure(machine, open, "pressure"))}, pressure.Options{})
	prom, e3 := prometheus.New(prometheus.Endpoint{URL: serve(nil, emulate.NewPrometheus(machine, open, "prometheus"))}, []prometheus.Query{
		{Kind: sensors.InletTemp, Expr: "inlet_celsius"}, {Kind: sensors.Power, Expr: "server_watts"}}, prometheus.Options{})
	if err := errors.Join(err, e1, e2, e3); err != nil {
		return d, err
	}
	d.add("load-watcher", watcher)
	d.add("pressure", aisles)
	d.add("prometheus", prom)
	return d, nil
}

// add adds the source of a node; it is closed before its device.
func (d *demo) add(node string, s sensors.SensorSource) {
	d.sources[node] = s
	switch c := s.(type) {
	case io.Closer:
		d.closers = append(d.closers, func() { _ = c.Close() })
	case interface{ Close(context.Context) error }:
		d.closers = append(d.closers, func() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			defer cancel()
			_ = c.Close(ctx)
		})
	}
}

func (d *demo) nodes() []string { return slices.Sorted(maps.Keys(d.sources)) }

// Read implements [sensors.SensorSource].
func (d *demo) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	s := d.sources[node]
	if s == nil {
		return nil, &sensors.Error{Source: "demo", Node: node, Err: fmt.Errorf("%w: one of %v", sensors.ErrUnknownNode, d.nodes())}
	}
	return s.Read(ctx, node)
}

func (d *demo) close() {
	for _, c := range slices.Backward(d.closers) {
		c()
	}
}
