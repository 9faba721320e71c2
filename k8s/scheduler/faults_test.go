package scheduler

import (
	"cmp"
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/kepler"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// modelFile is a model of the format that files have. It needs the inlet temperature.
const modelFile = `{"format": "leastwatt.model/1", "name": "m", "inputs": [{"name": "utilization", "unit": "ratio"}, {"name": "inlet", "unit": "celsius"}],
	"form": {"kind": "inlet", "base": {"kind": "linear", "idle": 50, "peak": 150}, "reference": 23, "perDegree": 0.004,
	"fan": 0, "fanKnee": 0, "fanGain": 0, "fanLimit": 0, "low": 23, "high": 30}}`

// Whatever a BMC or a model file has wrong ends with its own node: it is unknown for a reason that metrics and the
// explanation tell, the other node gets the best score, and no pod is refused.
func TestFaultsStayWithTheirNode(t *testing.T) {
	onlySensors := []string{"ThermalSubsystem", "Thermal", "EnvironmentMetrics", "Power", "PowerSubsystem"}
	for name, test := range map[string]struct {
		fault   emulate.Fault
		without []string // views that the BMC lacks
		file    string   // of the model; "" is a good one
		reason  string   // of the metric
		says    string   // the explanation, in part
	}{
		"hangs":                {fault: emulate.Hang, reason: "unreachable", says: "redfish"},
		"401":                  {fault: emulate.Refuse401, reason: "unauthorized", says: "401"},
		"500":                  {fault: emulate.Fail500, reason: "device", says: "500"},
		"2 MB of text":         {fault: emulate.Text2MB, reason: "malformed", says: "JSON"},
		"null readings":        {fault: emulate.NullReadings, reason: "no_reading", says: "inlet_temp_celsius"},
		"wrong type":           {fault: emulate.WrongType, reason: "no_reading", says: "inlet_temp_celsius"},
		"no inlet":             {fault: emulate.NoInlet, reason: "no_reading", says: "inlet_temp_celsius"},
		"a clock in the past":  {fault: emulate.ClockBehind, without: onlySensors, reason: "stale", says: "inlet_temp_celsius"},
		"a model with NaN":     {file: strings.Replace(modelFile, "150", "NaN", 1), reason: "bad_model", says: "line 2: invalid character 'N'"},
		"a model with 1e999":   {file: strings.Replace(modelFile, "150", "1e999", 1), reason: "bad_model", says: "1e999"},
		"a model without idle": {file: strings.Replace(modelFile, `"idle": 50, `, "", 1), reason: "bad_model", says: "idle"},
		"a model of what kind": {file: strings.Replace(modelFile, "linear", "liner", 1), reason: "bad_model", says: "liner"},
	} {
		t.Run(name, func(t *testing.T) {
			p, nodes := faulty(t, test.fault, test.without, test.file)
			infos := infosOf(nodes...)
			waiting := pod("p", "1")
			var scores map[string]int64
			if err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
				view := p.site.View()
				good, bad := view.Node("good"), view.Node("bad")
				if good == nil || bad == nil || good.Err != nil || bad.Err == nil || reasonOf(bad.Err).String() != test.reason {
					return false, nil // nobody has asked them yet
				}
				_, scores = cycle(t, p, waiting, infos)
				return true, nil
			}); err != nil {
				t.Fatalf("%v: good is %v, bad is %v", err, p.site.View().Node("good"), p.site.View().Node("bad"))
			}
			if scores["good"] != levelBest || scores["bad"] != levelUnknown {
				t.Errorf("scores are %v: want good best and bad unknown", scores)
			}
			for word, counter := range map[string]float64{
				test.reason: testutil.ToFloat64(p.metrics.unknown[reasonOfWord(t, test.reason)]),
				"known":     testutil.ToFloat64(p.metrics.known),
			} {
				if counter != 1 {
					t.Errorf("%v candidates are counted as %s: want 1", counter, word)
				}
			}
			d := p.decisions.Last(t.Context())[0]
			if d.Unknown[test.reason] != 1 || len(d.UnknownNodes) != 1 || d.UnknownNodes[0].Node != "bad" {
				t.Fatalf("the decision is %+v", d)
			}
			if why := d.UnknownNodes[0].Reason; !strings.Contains(why, test.says) {
				t.Errorf("the explanation is %q: want %q in it", why, test.says)
			} else {
				t.Log(why)
			}
		})
	}
}

func reasonOfWord(t *testing.T, word string) reason {
	t.Helper()
	for r := range reason(reasons) {
		if r.String() == word {
			return r
		}
	}
	t.Fatalf("there is no reason %q", word)
	return 0
}

// faulty runs the plugin over two nodes with BMCs and exporters, of which "bad" has the fault and the model file.
func faulty(t *testing.T, fault emulate.Fault, without []string, file string) (*Plugin, []*v1.Node) {
	t.Helper()
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	live := func() emulate.Machine {
		m := emulate.Blank()
		m.Utilization, m.Inlet, m.Watts = 0.2, 24, 100
		return m
	}
	bmcs, exporters := map[string]redfish.Endpoint{}, map[string]kepler.Endpoint{}
	var nodes []*v1.Node
	for _, name := range []string{"good", "bad"} {
		bmc := emulate.NewBMC(live, emulate.BMCOptions{User: "monitor", Password: "secret", Without: without})
		if name == "bad" {
			bmc.SetFault(fault)
		}
		b, err := emulate.Listen(authority, bmc)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = b.Close() })
		k, err := emulate.Listen(nil, emulate.NewKepler(name, live, emulate.KeplerOptions{}))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = k.Close() })
		bmcs[name] = redfish.Endpoint{URL: b.URL, User: "monitor", Password: "secret", TLS: authority.ClientTLS()}
		exporters[name] = kepler.Endpoint{URL: k.URL + "/metrics"}
		nodes = append(nodes, node(name, 10))
	}
	source := sensors.Merge(redfish.New(redfish.Nodes(bmcs), redfish.Options{Timeout: time.Second}), kepler.New(kepler.Nodes(exporters), kepler.Options{}))
	dir := t.TempDir()
	for name, text := range map[string]string{"good.json": modelFile, "bad.json": cmp.Or(file, modelFile)} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := config.Parse(filepath.Join(dir, "site.yaml"), []byte("scoring: {refresh: 50ms}\nmodels:\n"+
		"- {name: of bad, kind: file, file: bad.json, nodes: [bad]}\n- {name: of others, kind: file, file: good.json}\n"))
	if err != nil {
		t.Fatal(err)
	}
	site, err := c.NewSite(config.SiteOptions{Sources: []sensors.SensorSource{source}, Interval: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	p, h := startLive(t, ctx, site, Options{}, nodes...)
	t.Cleanup(func() {
		cancel()
		h.factory.Shutdown()
	})
	return p, nodes
}
