package profiles_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// vault is Secrets in memory.
type vault struct {
	mu   sync.Mutex
	all  map[string]*v1.Secret
	read []string
}

func (v *vault) Secret(_ context.Context, name string) (*v1.Secret, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.read = append(v.read, name)
	if s := v.all[name]; s != nil {
		return s.DeepCopy(), nil
	}
	return nil, errors.New("not found")
}

func (v *vault) put(name, password string, authority *emulate.Authority, hosts string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	s := &v1.Secret{Data: map[string][]byte{"username": []byte("monitor"), "password": []byte(password), "ca.crt": authority.PEM()}}
	s.ResourceVersion = fmt.Sprint(len(v.read), password, hosts)
	if hosts != "" {
		s.Annotations = map[string]string{profiles.HostsAnnotation: hosts}
	}
	if v.all == nil {
		v.all = make(map[string]*v1.Secret)
	}
	v.all[name] = s
}

func (v *vault) reads() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.read)
}

// A door is a BMC whose password can be changed.
type door struct {
	mu   sync.Mutex
	bmc  http.Handler
	live func() emulate.Machine
}

func (d *door) lock(password string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.bmc = emulate.NewBMC(d.live, emulate.BMCOptions{User: "monitor", Password: password})
}

func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	h := d.bmc
	d.mu.Unlock()
	h.ServeHTTP(w, r)
}

func machine() emulate.Machine {
	m := emulate.Blank()
	m.Utilization, m.Inlet, m.Watts = 0.5, 24, 150
	return m
}

// listen serves an emulated device and returns its address.
func listen(t testing.TB, a *emulate.Authority, h http.Handler) string {
	t.Helper()
	s, err := emulate.Listen(a, h)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s.URL
}

// start runs a provider that reads often.
func start(t testing.TB, o profiles.Options) *profiles.Provider {
	t.Helper()
	p, run := provider(t, o)
	run()
	return p
}

// provider returns a provider that reads often, once it runs.
func provider(t testing.TB, o profiles.Options) (*profiles.Provider, func()) {
	t.Helper()
	o.Interval = cmp.Or(o.Interval, 50*time.Millisecond)
	p, err := profiles.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return p, func() {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
}

// until waits for what must come true.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	within(t, 20*time.Second, what, ok)
}

func within(t testing.TB, patience time.Duration, what string, ok func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func nodeProfile(name string, sensors ...v1alpha1.Sensor) *v1alpha1.NodeProfile {
	n := &v1alpha1.NodeProfile{Spec: v1alpha1.NodeProfileSpec{Sensors: sensors}}
	n.Name, n.UID = name, types.UID(name)
	return n
}

func powerModel(name, json string) *v1alpha1.PowerModel {
	m := &v1alpha1.PowerModel{Spec: v1alpha1.PowerModelSpec{JSON: json}}
	m.Name = name
	return m
}

func linear(t testing.TB, idle, peak power.Watts) string {
	t.Helper()
	b, err := model.Marshal(&model.Model{Name: "fitted", Form: power.Linear{Idle: idle, Peak: peak}})
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// watts predicts a node's power as it is now.
func watts(p *profiles.Provider, node string) power.Watts {
	n := p.View().Node(node)
	if n == nil || n.Err != nil {
		return -1
	}
	w, err := n.Predictor.Predict(context.Background(), n.State)
	if err != nil {
		return -2
	}
	return w
}

// A profile's sensors are read with the Secret's credentials, and its model is used; a changed Secret and a changed
// model are followed, and nothing is left when the profile goes.
func TestLifeOfAProfile(t *testing.T) {
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	bmc := &door{live: machine}
	bmc.lock("first-secret")
	url, exporter := listen(t, authority, bmc), listen(t, nil, emulate.NewKepler("n1", machine, emulate.KeplerOptions{}))
	var v vault
	v.put("bmc", "first-secret", authority, "")
	p := start(t, profiles.Options{Secrets: &v, Refresh: 100 * time.Millisecond})
	p.Put(scoring.Machine{Name: "n1", Cores: 16, Labels: map[string]string{"rack": "r7"}})
	p.SetProfile(nodeProfile("n1", v1alpha1.Sensor{Type: "redfish", URL: url, SecretName: "bmc"}, v1alpha1.Sensor{Type: "kepler", URL: exporter + "/metrics"}))
	m := powerModel("m", linear(t, 100, 300))
	m.Spec.NodeSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"rack": "r7"}}
	p.SetModel(m)
	until(t, "200 W are predicted at half load", func() bool { return watts(p, "n1") == 200 })
	if r := p.Report("n1"); !r.Sensors[0].Answering || !r.Sensors[1].Answering || r.Model == nil || r.Model.Name != "PowerModel m (by selector)" || r.Model.Prior {
		t.Errorf("%+v %+v", r, r.Model)
	}

	bmc.lock("second-secret")
	until(t, "the old password is refused", func() bool { return !p.Report("n1").Sensors[0].Answering })
	if text := fmt.Sprint(p.Report("n1")); strings.Contains(text, "first-secret") {
		t.Errorf("a password in %s", text)
	}
	v.put("bmc", "second-secret", authority, "")
	until(t, "the new password is used", func() bool { return p.Report("n1").Sensors[0].Answering })

	m = m.DeepCopy()
	m.Spec.JSON = linear(t, 10, 30)
	p.SetModel(m)
	until(t, "the new model is used", func() bool { return watts(p, "n1") == 20 })
	if got := p.Models()["m"]; got.Nodes != 1 || got.Model != "fitted" || got.Err != nil {
		t.Errorf("%+v", got)
	}
	m = m.DeepCopy()
	m.Spec.JSON = `{"format": "leastwatt.model/1", "name": "broken"}`
	p.SetModel(m)
	until(t, "a broken model is told", func() bool {
		err := p.Models()["m"].Err
		return err != nil && strings.Contains(err.Error(), "spec.json")
	})
	if w := watts(p, "n1"); w != 20 {
		t.Errorf("%v W: a broken model must leave the one before", w)
	}
	p.DeleteModel("m")
	p.DeleteProfile("n1")
	until(t, "no sensor is left", func() bool { return len(p.Report("n1").Sensors) == 0 })
	before := v.reads()
	time.Sleep(300 * time.Millisecond) // three refreshes
	if n := v.reads() - before; n > 1 {
		t.Errorf("a Secret that nobody uses was read %d times", n)
	}
}

// Credentials go where the Secret's annotation allows, never over http unasked, never after a redirect, and never to the
// model server that a BMC names.
func TestCredentialsStay(t *testing.T) {
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	var asked sync.Map
	thief := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Header.Get("Authorization") != "":
			asked.Store(r.Host, true)
		case strings.HasSuffix(r.URL.Path, "/infer"):
			asked.Store("without credentials", true)
		}
		w.WriteHeader(http.StatusUnauthorized)
	})
	secure, plain := listen(t, authority, thief), listen(t, nil, thief)
	redirects := emulate.NewKepler("redirected", machine, emulate.KeplerOptions{RedirectTo: secure})
	redirects.SetFault(emulate.RedirectAway)
	// A BMC that takes its password names a model server that it should not.
	names := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		switch r.URL.Path {
		case "/redfish/v1/Systems":
			fmt.Fprint(w, `{"Members":[{"@odata.id":"/redfish/v1/Systems/1"}]}`)
		case "/redfish/v1/Systems/1":
			fmt.Fprint(w, `{}`)
		case "/redfish/v1/Systems/1/MachineLearningModel":
			fmt.Fprintf(w, `{"PowerConsumptionModel":{"Name":"lab","Url":%q,"Type":"V2InferenceProtocol","Version":"v1"}}`, plain)
		default:
			http.NotFound(w, r)
		}
	})
	var v vault
	v.put("narrow", "secret", authority, "*.bmc.example.com, 10.0.0.0/8")
	v.put("wide", "secret", authority, "")
	p := start(t, profiles.Options{Secrets: &v, Refresh: time.Hour})
	for name, s := range map[string]v1alpha1.Sensor{
		"elsewhere":  {Type: "redfish", URL: secure, SecretName: "narrow"},
		"plain":      {Type: "redfish", URL: plain, SecretName: "wide"},
		"missing":    {Type: "redfish", URL: secure, SecretName: "nobody"},
		"impossible": {Type: "snmp", URL: secure},
		"redirected": {Type: "kepler", URL: listen(t, authority, redirects) + "/metrics", SecretName: "wide"},
	} {
		p.Put(scoring.Machine{Name: name, Cores: 4})
		p.SetProfile(nodeProfile(name, s))
	}
	for name, want := range map[string]string{"elsewhere": "does not allow host", "plain": "not sent over http", "missing": "not found", "impossible": "not built in", "redirected": ": "} {
		until(t, name+" is told", func() bool {
			r := p.Report(name)
			return len(r.Sensors) == 1 && !r.Sensors[0].Answering && strings.Contains(r.Sensors[0].Message, want)
		})
	}
	d := nodeProfile("discovers", v1alpha1.Sensor{Type: "kepler", URL: listen(t, nil, emulate.NewKepler("discovers", machine, emulate.KeplerOptions{})) + "/metrics"})
	d.Spec.Model = &v1alpha1.ModelReference{Remote: &v1alpha1.RemoteModel{Discover: true, Features: []v1alpha1.Feature{{Input: "utilization"}}, URL: listen(t, authority, names), SecretName: "wide"}}
	p.Put(scoring.Machine{Name: "discovers", Cores: 4})
	p.SetProfile(d)
	until(t, "the model server that a BMC names was asked", func() bool { _, ok := asked.Load("without credentials"); return ok })
	asked.Delete("without credentials")
	asked.Range(func(host, _ any) bool { t.Errorf("credentials went to %v", host); return true })
}

// Of what binds a model to a node, the profile goes before the name, that before the selector, that before hardware,
// and all before the file; among equals priority decides, then the name.
func TestPrecedenceOfModels(t *testing.T) {
	p := start(t, profiles.Options{})
	p.Put(scoring.Machine{Name: "n1", Cores: 4, Labels: map[string]string{"rack": "r7", "leastwatt.github.io/hardware": "PowerEdge_R610"}})
	name := func() string {
		if n := p.View().Node("n1"); n != nil {
			return n.Model
		}
		return ""
	}
	until(t, "file", func() bool { return name() == "published: Dell PowerEdge R610" })
	n := nodeProfile("n1")
	n.Spec.Power = &v1alpha1.PowerFacts{IdleWatts: new(50.0), PeakWatts: new(100.0), StandbyWatts: new(4.0), WakeSeconds: new(120.0), Speed: new(1.5)}
	p.SetProfile(n)
	until(t, "facts", func() bool { return name() == "profile: idle and peak" })
	until(t, "standby power and speed", func() bool {
		v := p.View().Node("n1")
		return v.OffPower == 4 && v.Capacity.Speed == 1.5 && v.Wake == 12_000
	})
	steps := []struct {
		want string
		m    *v1alpha1.PowerModel
	}{
		{"PowerModel c (by hardware)", &v1alpha1.PowerModel{Spec: v1alpha1.PowerModelSpec{Hardware: "poweredge*610"}}},
		{"PowerModel b (by selector)", &v1alpha1.PowerModel{Spec: v1alpha1.PowerModelSpec{NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"rack": "r7"}}}}},
		{"PowerModel a (by selector)", &v1alpha1.PowerModel{Spec: v1alpha1.PowerModelSpec{NodeSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"rack": "r7"}}}}},
		{"PowerModel z (by selector)", &v1alpha1.PowerModel{Spec: v1alpha1.PowerModelSpec{Priority: 1, NodeSelector: &metav1.LabelSelector{}}}},
		{"PowerModel x (by node)", &v1alpha1.PowerModel{Spec: v1alpha1.PowerModelSpec{Nodes: []string{"n1"}}}},
		{"PowerModel y (by node)", &v1alpha1.PowerModel{Spec: v1alpha1.PowerModelSpec{Priority: 2, Nodes: []string{"n1"}}}},
	}
	for _, s := range steps {
		s.m.Name, s.m.Spec.JSON = strings.Fields(s.want)[1], linear(t, 1, 2)
		p.SetModel(s.m)
		until(t, s.want, func() bool { return name() == s.want })
	}
	until(t, "each tells what goes before it", func() bool {
		all := p.Models()
		for _, s := range steps {
			r, before := all[s.m.Name], map[string]int{"y": 1}
			if s.m.Name == "y" {
				before = nil
			}
			if !maps.Equal(r.Before, before) || r.Err != nil {
				return false
			}
		}
		return all["y"].Nodes == 1
	})
	broken := steps[len(steps)-1].m.DeepCopy()
	broken.Spec.JSON = `{"format": "leastwatt.model/1"}`
	p.SetModel(broken)
	until(t, "a model that cannot be read tells that the one before is used", func() bool {
		err := p.Models()["y"].Err
		return err != nil && strings.Contains(err.Error(), "the model that was here before stays in use")
	})
	mistyped := steps[len(steps)-1].m.DeepCopy()
	mistyped.Spec.NodeSelector = &metav1.LabelSelector{MatchExpressions: []metav1.LabelSelectorRequirement{{Key: "rack", Operator: "in"}}}
	mistyped.Spec.JSON = linear(t, 3, 4)
	p.SetModel(mistyped)
	until(t, "a selector that cannot be read is an error of its model", func() bool { return p.Models()["y"].Err != nil })
	until(t, "which nodes keep, as it is now", func() bool {
		if name() != "PowerModel y (by node)" {
			return false
		}
		w, _ := predict(t, p, "n1", 1)
		return w == 4
	})
	n = n.DeepCopy()
	n.Spec.Model = &v1alpha1.ModelReference{PowerModel: "c"}
	p.SetProfile(n)
	until(t, "profile", func() bool { return name() == "PowerModel c (by profile)" })
	p.DeleteModel("c")
	until(t, "a model that is gone leaves the node unknown", func() bool { return errors.Is(p.Report("n1").Err, power.ErrNoModel) })
}

// Nodes whose profiles describe one Prometheus alike are read by one request.
func TestSharedSource(t *testing.T) {
	var mu sync.Mutex
	requests := 0
	names := []string{"n1", "n2", "n3", "n4"}
	server := emulate.NewPrometheus(machine, emulate.ExporterOptions{}, names...)
	url := listen(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		requests++
		mu.Unlock()
		server.ServeHTTP(w, r)
	}))
	p, run := provider(t, profiles.Options{Interval: time.Minute}) // one round
	for _, n := range names {
		p.Put(scoring.Machine{Name: n, Cores: 4})
		p.SetProfile(nodeProfile(n, v1alpha1.Sensor{Type: "prometheus", URL: url, Ready: []string{"node-exporter"}}))
	}
	run()
	for _, n := range names {
		until(t, n+" is read", func() bool { r := p.Report(n); return len(r.Sensors) == 1 && r.Sensors[0].Answering })
	}
	mu.Lock()
	defer mu.Unlock()
	if requests > 3*len(names) { // 6, or twice as many; for each node by itself it would be 24
		t.Errorf("%d requests", requests)
	}
}

// Two providers of which one reads for both read each server once.
func TestProviderWithAnother(t *testing.T) {
	var read atomic.Int64
	k := emulate.NewKepler("n", machine, emulate.KeplerOptions{})
	url := listen(t, nil, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		read.Add(1)
		k.ServeHTTP(w, r)
	})) + "/metrics"
	first, runFirst := provider(t, profiles.Options{Interval: time.Hour})
	second, runSecond := provider(t, profiles.Options{Interval: time.Hour, With: first})
	for _, p := range []*profiles.Provider{first, second} {
		p.Put(scoring.Machine{Name: "n", Cores: 4})
		p.SetProfile(nodeProfile("n", v1alpha1.Sensor{Type: "kepler", URL: url}))
		p.SetModel(powerModel("m", linear(t, 100, 300)))
	}
	runSecond()
	runFirst()
	for i, p := range []*profiles.Provider{first, second} {
		until(t, fmt.Sprintf("provider %d knows the node", i), func() bool { n := p.View().Node("n"); return n != nil && n.Err == nil })
	}
	if n := read.Load(); n != 1 {
		t.Errorf("the exporter was read %d times, want once", n)
	}
}
