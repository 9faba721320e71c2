package config_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A machine of which nobody said anything is known by what its BMC says, over Redfish: the prior of a running site goes
// by it, and the session is closed in the end.
func TestSiteKnowsAMachineByItsBMC(t *testing.T) {
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	server, err := power.FindServer("Dell PowerEdge R740")
	if err != nil {
		t.Fatal(err)
	}
	bmc := emulate.NewBMC(func() emulate.Machine {
		m := emulate.Blank()
		m.Inlet, m.Watts = 22, float64(server.Watts[5])
		return m
	}, emulate.BMCOptions{User: "monitor", Password: "s3cret", NoBasic: true, System: &emulate.System{Manufacturer: "Dell Inc.", Model: "PowerEdge R740",
		CPU: server.CPU, Chips: server.Chips, Cores: server.Cores, Threads: server.Threads, MemoryGiB: server.MemoryGB}})
	listener, err := emulate.Listen(authority, bmc)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	kepler, err := emulate.Listen(nil, emulate.NewKepler("n1", func() emulate.Machine { return emulate.Machine{Utilization: 0.5, CPUWatts: 80, CPUJoules: 1} }, emulate.KeplerOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	defer kepler.Close()
	dir := t.TempDir()
	for name, data := range map[string]string{"pw": "s3cret", "ca.pem": string(authority.PEM())} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(data), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Parse(filepath.Join(dir, "site.yaml"), []byte(`
sensors:
  poll: {interval: 50ms}
  sources:
  - {type: redfish, url: '`+listener.URL+`', user: monitor, passwordFile: pw, session: true, tls: {caFile: ca.pem}}
  - {type: kepler, url: '`+kepler.URL+`/metrics', kinds: [cpu_utilization_ratio]}
models: [{name: rest, kind: prior}]
scoring: {refresh: 20ms}
`))
	if err != nil {
		t.Fatal(err)
	}
	site, err := c.NewSite(config.SiteOptions{})
	if err != nil {
		t.Fatal(err)
	}
	site.Put(scoring.Machine{Name: "n1", Cores: float64(server.Threads)})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- site.Run(ctx) }()
	await(t, func() bool {
		n := site.View().Node("n1")
		return n != nil && n.Err == nil && strings.Contains(n.Model, "same system")
	})
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if open, ever := bmc.Sessions(); open != 0 || ever == 0 {
		t.Errorf("%d of %d sessions are left", open, ever)
	}
}
