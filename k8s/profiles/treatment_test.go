package profiles_test

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A switchable device is one that can be made to fail.
type switchable struct {
	http.Handler
	off atomic.Bool
}

func (s *switchable) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.off.Load() {
		http.Error(w, "off", http.StatusInternalServerError)
		return
	}
	s.Handler.ServeHTTP(w, r)
}

func kepler(node string, watts float64) *switchable {
	return &switchable{Handler: emulate.NewKepler(node, func() emulate.Machine {
		m := machine()
		m.Watts = watts
		return m
	}, emulate.KeplerOptions{Platform: true})}
}

// measured returns a node's reading of a kind, and where it is from.
func measured(p *profiles.Provider, node string, kind sensors.Kind) (float64, string) {
	n := p.View().Node(node)
	if n == nil {
		return 0, ""
	}
	r, err := n.Readings.Fresh(kind, time.Now(), time.Minute)
	if err != nil {
		return 0, ""
	}
	source, _, _ := strings.Cut(r.Source, ":")
	return r.Value, source
}

// A fallback is read while its sensor gives nothing, and no longer; status tells which is which.
func TestFallback(t *testing.T) {
	main, other := kepler("n1", 150), kepler("n1", 170)
	quick, err := config.Parse("quick", []byte("models: [{kind: prior}]\nscoring: {refresh: 10ms}"))
	if err != nil {
		t.Fatal(err)
	}
	p := start(t, profiles.Options{Config: quick})
	p.Put(scoring.Machine{Name: "n1", Cores: 4})
	n := nodeProfile("n1",
		v1alpha1.Sensor{Name: "other", Type: "kepler", URL: listen(t, nil, other) + "/metrics"},
		v1alpha1.Sensor{Name: "main", Type: "kepler", URL: listen(t, nil, main) + "/metrics", Fallback: []string{"other"}})
	p.SetProfile(n)
	until(t, "150 W are measured", func() bool { w, _ := measured(p, "n1", sensors.Power); return w == 150 })
	r := p.Report("n1")
	if len(r.Sensors) != 2 || !r.Sensors[0].Standby || r.Sensors[0].Answering || r.Sensors[0].Message != "" || r.Sensors[1].Standby || !r.Sensors[1].Answering || r.Waiting {
		t.Errorf("%+v", r)
	}
	main.off.Store(true)
	until(t, "170 W of the fallback", func() bool { w, _ := measured(p, "n1", sensors.Power); return w == 170 })
	if r := p.Report("n1"); r.Sensors[0].Standby || !r.Sensors[0].Answering || r.Sensors[1].Answering || r.Sensors[1].Message == "" {
		t.Errorf("%+v", r)
	}
	main.off.Store(false)
	// On a machine that is busy its breaker may have opened meanwhile, for half a minute.
	within(t, time.Minute, "150 W again", func() bool { w, _ := measured(p, "n1", sensors.Power); return w == 150 })
	until(t, "the fallback is on standby", func() bool { r := p.Report("n1"); return r.Sensors[0].Standby && !r.Sensors[0].Answering })

	n = n.DeepCopy()
	n.Spec.Sensors[1].Fallback = []string{"nobody"}
	main.off.Store(true)
	p.SetProfile(n)
	until(t, "what is no fallback any more is read, though another's is missing", func() bool {
		r := p.Report("n1")
		return len(r.Sensors) == 2 && r.Sensors[0].Answering && !r.Sensors[1].Answering
	})
}

// Of a kind that several sensors give, the first listed wins, or the one that precedence names.
func TestPrecedenceOfSensors(t *testing.T) {
	p := start(t, profiles.Options{})
	p.Put(scoring.Machine{Name: "n1", Cores: 4})
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	bmc := v1alpha1.Sensor{Name: "bmc", Type: "redfish", URL: listen(t, authority, emulate.NewBMC(machine, emulate.BMCOptions{})), TLS: &v1alpha1.TLS{InsecureSkipVerify: true}}
	exporter := v1alpha1.Sensor{Type: "kepler", URL: listen(t, nil, kepler("n1", 170)) + "/metrics"}
	n := nodeProfile("n1", bmc, exporter)
	p.SetProfile(n)
	until(t, "the BMC's watts, listed first", func() bool { w, from := measured(p, "n1", sensors.Power); return w == 150 && from == "redfish" })
	n = n.DeepCopy()
	n.Spec.Precedence = v1alpha1.Precedence{string(sensors.Power): {"kepler"}}
	p.SetProfile(n)
	until(t, "Kepler's watts", func() bool { w, from := measured(p, "n1", sensors.Power); return w == 170 && from == "kepler" })
	if v, from := measured(p, "n1", sensors.InletTemp); v != 24 || from != "redfish" {
		t.Errorf("inlet temperature %v from %q", v, from)
	}
}

// A value that is not plausible is told and not used: the next sensor's is.
func TestPlausible(t *testing.T) {
	p := start(t, profiles.Options{})
	p.Put(scoring.Machine{Name: "n1", Cores: 4})
	wild := v1alpha1.Sensor{Name: "wild", Type: "kepler", URL: listen(t, nil, kepler("n1", 9000)) + "/metrics",
		Plausible: v1alpha1.Checks{string(sensors.Power): {Min: new(20.0), Max: new(900.0), Settle: 3, StuckAfter: &metav1.Duration{Duration: time.Hour}}}}
	p.SetProfile(nodeProfile("n1", wild, v1alpha1.Sensor{Name: "tame", Type: "kepler", URL: listen(t, nil, kepler("n1", 170)) + "/metrics", Kinds: []v1alpha1.Kind{"power_watts"}}))
	until(t, "the other's 170 W", func() bool { w, _ := measured(p, "n1", sensors.Power); return w == 170 })
	if r := p.Report("n1"); !r.Sensors[0].Answering || !strings.Contains(r.Sensors[0].Message, "9000 is more than 900") {
		t.Errorf("%+v", r.Sensors)
	}
}

// Nodes whose profiles treat one Prometheus differently share it all the same.
func TestSharedSourceTreatedDifferently(t *testing.T) {
	var requests atomic.Int64
	names := []string{"n1", "n2", "n3", "n4"}
	server := emulate.NewPrometheus(machine, emulate.ExporterOptions{}, names...)
	url := listen(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		server.ServeHTTP(w, r)
	}))
	p, run := provider(t, profiles.Options{Interval: time.Minute}) // one round
	for i, n := range names {
		p.Put(scoring.Machine{Name: n, Cores: 4})
		p.SetProfile(nodeProfile(n, v1alpha1.Sensor{Type: "prometheus", URL: url, Ready: []string{"ipmi-exporter"},
			Plausible: v1alpha1.Checks{string(sensors.InletTemp): {Max: new(20 + 10*float64(i))}}}))
	}
	run()
	for i, n := range names {
		until(t, n+" is read", func() bool {
			inlet, _ := measured(p, n, sensors.InletTemp)
			w, _ := measured(p, n, sensors.Power)
			return w == 150 && (inlet == 24) == (i > 0) // 24 °C are too much for the first
		})
	}
	if n := requests.Load(); n > int64(3*len(names)) {
		t.Errorf("%d requests", n)
	}
}

// A node of which nobody said what it is has the prior of the server that its BMC says it is.
func TestHardwareFromTheBMC(t *testing.T) {
	server, err := power.FindServer("Dell PowerEdge R740")
	if err != nil {
		t.Fatal(err)
	}
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	bmc := emulate.NewBMC(machine, emulate.BMCOptions{System: &emulate.System{Manufacturer: "Dell Inc.", Model: "PowerEdge R740",
		CPU: server.CPU, Chips: server.Chips, Cores: server.Cores, Threads: server.Threads, MemoryGiB: server.MemoryGB}})
	p := start(t, profiles.Options{})
	p.SetProfile(nodeProfile("n1", v1alpha1.Sensor{Type: "redfish", URL: listen(t, authority, bmc), TLS: &v1alpha1.TLS{InsecureSkipVerify: true}, Derive: true}))
	p.Put(scoring.Machine{Name: "n1", Cores: float64(server.Threads)})
	until(t, "the model is of the same system", func() bool {
		n := p.View().Node("n1")
		return n != nil && strings.Contains(n.Model, "R740")
	})
}
