package config_test

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/config"
	"github.com/leastwatt/leastwatt/sensors/sensorstest"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

const password = "s3cret-Pa55-word"

var update = flag.Bool("update", false, "write schema.json")

func TestErrorsTellFileLineAndField(t *testing.T) {
	for text, want := range map[string]string{
		"":                                       "site.yaml: is empty",
		"models: []":                             "site.yaml:1: sensors: is missing",
		"sensor: {}":                             "site.yaml:1: sensor: there is no such field",
		"sensors: {}":                            "site.yaml:1: sensors.sources: is missing",
		"sensors: {sources: []}":                 "sensors.sources: is empty",
		"sensors:\n  sources:\n  - type: redfsh": `site.yaml:3: sensors.sources[0].type: is "redfsh": want redfish, ipmi`,
		"sensors:\n  sources:\n  - type: redfish":                                                           "site.yaml:3: sensors.sources[0]: has no url",
		"sensors:\n  sources:\n  - {type: kepler, url: h}\n  - {type: kepler, url: h}":                      `site.yaml:4: sensors.sources[1]: a second source is called "kepler"`,
		"sensors:\n  sources:\n  - type: kepler\n    url: h\n    chassis: a":                                "site.yaml:5: sensors.sources[0].chassis: is not for type kepler",
		"sensors:\n  sources:\n  - type: kepler\n    url: '{{.Nmae}'":                                       "site.yaml:4: sensors.sources[0].url: template",
		"sensors:\n  sources:\n  - type: kepler\n    url: http://u:" + password + "@h":                      "site.yaml:4: sensors.sources[0].url: holds an @",
		"sensors:\n  sources:\n  - type: kepler\n    url: h\n    password: " + password:                     "site.yaml:5: sensors.sources[0].password: there is no such field",
		"sensors:\n  sources:\n  - type: kepler\n    url: h\n    kinds: [power]":                            `sensors.sources[0].kinds[0]: there is no kind "power"`,
		"sensors:\n  sources:\n  - type: kepler\n    url: h\n    nodes: ['[']":                              "sensors.sources[0].nodes[0]",
		"sensors:\n  sources:\n  - type: kepler\n    url: h\n    tls: {caFile: /nowhere/ca.pem}":            "site.yaml:5: sensors.sources[0].tls: tls: caFile",
		"sensors:\n  sources:\n  - type: kepler\n    url: h\n    fallback: [{type: ipmi, url: h, tls: {}}]": "sensors.sources[0].fallback[0].tls: is not for type ipmi",
		"sensors:\n  sources: [{type: kepler, url: h}]\n  precedence:\n    power_watts: [bmc]":              `site.yaml:4: sensors.precedence.power_watts: no source is called "bmc"`,
		"sensors:\n  sources:\n  - {type: prometheus, url: http://h, ready: [nodeexporter]}":                `sources[0]: ready: there are no queries for "nodeexporter"`,
		"sensors:\n  sources:\n  - {type: prometheus, url: http://h}":                                       "sensors.sources[0]: has no query",
		"sensors:\n  sources:\n  - {type: prometheus, url: 'http://{{.Name}}', ready: [kepler]}":            "sensors.sources[0].url: cannot be a template",
		"sensors:\n  sources:\n  - {type: kepler, url: http://h, window: 1m}":                               "are for type prometheus, not kepler",
		"sensors:\n  sources: [{type: kepler, url: h}]\n  poll: {interval: 0s}":                             "site.yaml:3: sensors.poll.interval",
		"sensors:\n  sources: [{type: kepler, url: h}]\n  nodes:\n  - name: a\n  - name: a":                 `site.yaml:5: sensors.nodes[1].name: "a" is listed twice`,
	} {
		_, err := config.Parse("site.yaml", []byte(text))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q", text, err, want)
		}
		if err != nil && strings.Contains(err.Error(), password) {
			t.Errorf("the error holds the password: %v", err)
		}
	}
}

// site is a folder with a file, devices, and their credentials.
type site struct {
	dir       string
	authority *emulate.Authority
}

func newSite(t *testing.T) *site {
	t.Helper()
	a, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t.TempDir(), a}
	s.write(t, "ca.pem", string(a.PEM()))
	s.write(t, "password", password+"\n")
	return s
}

func (s *site) write(t *testing.T, name, text string) string {
	t.Helper()
	name = filepath.Join(s.dir, name)
	if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// serve listens for a device and returns its URL.
func (s *site) serve(t *testing.T, tls bool, device http.Handler) string {
	t.Helper()
	a := s.authority
	if !tls {
		a = nil
	}
	srv, err := emulate.Listen(a, device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = srv.Close() })
	return srv.URL
}

func (s *site) build(t *testing.T, text string) *config.Set {
	t.Helper()
	c, err := config.Load(s.write(t, "site.yaml", text))
	if err != nil {
		t.Fatal(err)
	}
	set, err := c.Build(config.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := set.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return set
}

func machine() emulate.Machine {
	m := emulate.Blank()
	m.Inlet, m.Watts, m.Utilization, m.CPUWatts = 22, 200, 0.4, 90
	return m
}

func port(t *testing.T, s string) string {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	_, p, err := net.SplitHostPort(u.Host)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func read(t *testing.T, s sensors.SensorSource, node string) map[sensors.Kind]string {
	t.Helper()
	rs, err := s.Read(t.Context(), node)
	if err != nil {
		t.Errorf("%s: %v", node, err)
	}
	got := map[sensors.Kind]string{}
	for _, r := range rs {
		got[r.Kind], _, _ = strings.Cut(r.Source, ":")
	}
	return got
}

func TestASiteOfTwoProtocols(t *testing.T) {
	s := newSite(t)
	opts := emulate.BMCOptions{User: "monitor", Password: password, Without: []string{"Thermal"}}
	bmc := s.serve(t, true, emulate.NewBMC(machine, opts))
	session := opts
	session.NoBasic, session.User = true, "other"
	other := s.serve(t, true, emulate.NewBMC(machine, session))
	exporter := s.serve(t, false, emulate.NewKepler("a", machine, emulate.KeplerOptions{Platform: true}))
	set := s.build(t, `
sensors:
  poll: {interval: 5s}
  nodes:
  - {name: a, address: 127.0.0.1, labels: {port: "`+port(t, exporter)+`"}}
  - {name: b, address: 127.0.0.1, labels: {port: "`+port(t, exporter)+`"}}
  - {name: "..", address: 127.0.0.1}
  sources:
  - name: bmc
    type: redfish
    url: https://{{.Address}}:`+port(t, bmc)+`
    user: monitor
    passwordFile: password
    tls: {caFile: ca.pem}
    nodes: [a, b]
    perNode:
      b: {url: "`+other+`", user: "{{lower \"OTHER\"}}", session: true}
  - type: kepler
    url: http://{{.Address}}:{{.Labels.port}}/metrics
    nodes: ["[ab]"]
  precedence:
    power_watts: [kepler]
`)
	for _, node := range []string{"a", "b"} {
		want := map[sensors.Kind]string{sensors.InletTemp: "redfish", sensors.Power: "kepler", sensors.CPUUtilization: "kepler", sensors.CPUPower: "kepler"}
		if d := cmp.Diff(want, read(t, set.Source, node)); d != "" {
			t.Errorf("%s (-want +got):\n%s", node, d)
		}
	}
	if err := sensorstest.TestSource(set.Source, sensorstest.Want{Node: "a", Kinds: []sensors.Kind{sensors.Power}, Secrets: []string{password}}); err != nil {
		t.Error(err)
	}
	if got := set.NewPoller(nil).Nodes(); !cmp.Equal(got, []string{"..", "a", "b"}) {
		t.Errorf("the poller's nodes are %v, want those that the file lists", got)
	}
}

func TestFallback(t *testing.T) {
	s := newSite(t)
	exporter := s.serve(t, false, emulate.NewKepler("a", machine, emulate.KeplerOptions{Platform: true}))
	set := s.build(t, `
sensors:
  sources:
  - type: redfish
    url: https://127.0.0.1:1
    fallback:
    - {type: kepler, url: "`+exporter+`", kinds: [power_watts]}
`)
	rs, err := set.Source.Read(t.Context(), "a")
	if len(rs) != 1 || rs[0].Value != 200 || !errors.Is(err, sensors.ErrUnreachable) {
		t.Errorf("%v, %v, want 200 W of the fallback and why it was needed", rs, err)
	}
}

func TestTreatment(t *testing.T) {
	s := newSite(t)
	device := emulate.NewKepler("a", machine, emulate.KeplerOptions{Platform: true})
	set := s.build(t, `
sensors:
  nodes: [{name: a, cores: 8}]
  sources:
  - type: kepler
    url: `+s.serve(t, false, device)+`
    breaker: {failures: 1}
    plausible: {power_watts: {max: 100}}
    derive: true
    limit: 1ms
    kinds: [power_watts, cpu_power_watts]
`)
	rs, err := set.Source.Read(t.Context(), "a")
	if len(rs) != 1 || rs[0].Kind != sensors.CPUPower || !errors.Is(err, sensors.ErrImplausible) {
		t.Errorf("%v, %v, want CPU power, and 200 W refused", rs, err)
	}
	reg := prometheus.NewPedanticRegistry()
	if err := set.Register(reg); err != nil {
		t.Fatal(err)
	}
	device.SetFault(emulate.Fail500)
	for range 2 {
		if _, err = set.Source.Read(t.Context(), "a"); !errors.Is(err, sensors.ErrDevice) {
			t.Errorf("error %v, want ErrDevice", err)
		}
	}
	if families, err := reg.Gather(); err != nil || len(families) != 1 {
		t.Errorf("%v, %v, want the breaker that is open", families, err)
	}
	if !strings.Contains(err.Error(), "not asked again") {
		t.Errorf("error %v, want the breaker's", err)
	}
}

// Nodes choose their own names: a name must not lead a template out of the folder of secrets.
func TestSecretsOfTemplatesStayInTheirFolder(t *testing.T) {
	s := newSite(t)
	s.write(t, "secrets/a/password", password)
	s.write(t, "outside/password", password)
	bmc := s.serve(t, true, emulate.NewBMC(machine, emulate.BMCOptions{User: "monitor", Password: password}))
	if err := os.Symlink(filepath.Join(s.dir, "outside"), filepath.Join(s.dir, "secrets/link")); err != nil {
		t.Fatal(err)
	}
	set := s.build(t, `
sensors:
  sources:
  - type: redfish
    url: `+bmc+`
    user: monitor
    passwordFile: secrets/{{.Name}}/password
    tls: {caFile: ca.pem}
`)
	if got := read(t, set.Source, "a"); got[sensors.Power] != "redfish" {
		t.Errorf("%v, want power from the BMC", got)
	}
	for _, node := range []string{"../outside", "link", "nobody"} {
		rs, err := set.Source.Read(t.Context(), node)
		if len(rs) > 0 || err == nil {
			t.Errorf("node %q was read with a secret from elsewhere", node)
		}
	}
}

func TestKeplersOwnFile(t *testing.T) {
	s := newSite(t)
	bmc := s.serve(t, true, emulate.NewBMC(machine, emulate.BMCOptions{User: "admin", Password: password}))
	s.write(t, "kepler.yaml", "nodes: {worker-1: bmc-1}\nbmcs: {bmc-1: {endpoint: '"+bmc+"', username: admin, password: "+password+", insecure: true, timeout: 3}}\n")
	set := s.build(t, "sensors: {sources: [{type: redfish, keplerFile: kepler.yaml}]}")
	if got := read(t, set.Source, "worker-1"); got[sensors.Power] != "redfish" {
		t.Errorf("%v, want power from the BMC", got)
	}
	if _, err := set.Source.Read(t.Context(), "worker-2"); !errors.Is(err, sensors.ErrUnknownNode) {
		t.Errorf("a node that the file lacks: %v, want ErrUnknownNode", err)
	}
	for text, want := range map[string]string{
		"nodes: {a: b}\nbmcs: {}": `nodes.a: there is no BMC "b"`,
		"nodes: {a: b}\nbmcs: {b: {endpoint: x, password: " + password + "}}": "bmcs.b: endpoint",
		"nodes: {a: b}\nbmcs: {b: {endpoint: [" + password + "]}}":            "not a file of nodes and bmcs",
		"{}": "nodes: is missing",
	} {
		s.write(t, "kepler.yaml", text)
		c, err := config.Parse(filepath.Join(s.dir, "site.yaml"), []byte("sensors: {sources: [{type: redfish, keplerFile: kepler.yaml}]}"))
		if err != nil {
			t.Fatal(err)
		}
		_, err = c.Build(config.BuildOptions{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), password) {
			t.Errorf("%q: error %v, want %q and no password", text, err, want)
		}
	}
}

func TestTemplates(t *testing.T) {
	for text, want := range map[string]string{
		"https://{{.Name}}-bmc":                                  "https://rack1-n7-bmc",
		"https://10.1.{{.IPv4.Octet3}}.{{add .IPv4.Octet4 100}}": "https://10.1.3.104",
		"{{.Address}}":                    "192.0.3.4",
		"{{.Labels.rack}}":                "one",
		"{{index (split \"-\" .Name) 0}}": "rack1",
		"{{regexReplace \"^rack([0-9]+)-n\" \"r${1}u\" .Name}}": "r1u7",
		"{{trimPrefix \"rack1-\" .Name | upper}}":               "N7",
		"{{.Labels.row}}":  "",
		"{{env \"HOME\"}}": "",
		"{{range $i, $e := split \"\" (printf \"%09000d\" 1)}}{{$e}}{{end}}": "",
	} {
		got, err := config.Expand(text, config.Node{Name: "rack1-n7", Address: "192.0.3.4", Labels: map[string]string{"rack": "one"}})
		if got != want || (err == nil) != (want != "") {
			t.Errorf("%s: %q, %v, want %q", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"http://{{.Address}}:28282/metrics":   "http://[fd00::7]:28282/metrics",
		"http://[{{.Address}}]:28282/metrics": "http://[fd00::7]:28282/metrics",
		"https://{{.Address}}":                "https://[fd00::7]",
		"https://{{.Address}}/redfish/v1":     "https://[fd00::7]/redfish/v1",
		"https://{{.Address}}1":               "https://fd00::71", // another address
		"{{.Address}}":                        "fd00::7",
		"{{.Address}}:623":                    "[fd00::7]:623",
		"https://bmc-{{.Address}}":            "https://bmc-fd00::7",
		"https://{{.Name}}":                   "https://rack1-n7",
	} {
		if got, err := config.Expand(text, config.Node{Name: "rack1-n7", Address: "fd00::7"}); err != nil || got != want {
			t.Errorf("%s of a node with IPv6: %q, %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"{{.Address}}", "{{.IPv4.Octet1}}"} {
		if _, err := config.Expand(text, config.Node{Name: "n"}); err == nil || !strings.Contains(err.Error(), "sensors.nodes") {
			t.Errorf("%s of a node without an address: error %v, want what to do", text, err)
		}
	}
}

// The published schema is that of the structs that are read.
func TestSchemaIsCurrent(t *testing.T) {
	want, err := json.MarshalIndent(config.Schema(), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want = append(want, '\n')
	if *update {
		if err := os.WriteFile("schema.json", want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile("schema.json")
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("schema.json is old: run go test ./sensors/config -run Schema -update\n%s", d)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("sensors: {sources: [{type: kepler, url: 'http://{{.Name}}'}], nodes: [{name: a}]}")
	f.Add("sensors: {sources: [{type: redfish, url: h, perNode: {a: {tls: {serverName: x}}}}]}")
	f.Fuzz(func(t *testing.T, text string) {
		if c, err := config.Parse("f.yaml", []byte(text)); err == nil {
			if strings.Contains(text, "File") { // reads files
				return
			}
			if _, err := c.Build(config.BuildOptions{}); err != nil {
				t.Errorf("what was parsed cannot be built: %v", err)
			}
		}
	})
}
