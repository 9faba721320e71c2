package config

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/power/powertest"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

func parse(t *testing.T, dir, yaml string) *Config {
	t.Helper()
	c, err := Parse(filepath.Join(dir, "site.yaml"), []byte(yaml))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// No machine is without a model: what it says of itself makes its prior closer, and the interval is there always.
func TestPriorForEveryMachine(t *testing.T) {
	c := parse(t, "", "models: [{name: guess, kind: prior}]")
	width := make(map[string]power.Watts)
	s, err := power.FindServer("Dell PowerEdge R740")
	if err != nil {
		t.Fatal(err)
	}
	for name, labels := range map[string]map[string]string{
		"unknown": nil,
		"by cpu":  {CPULabel: strings.ReplaceAll(s.CPU, " ", "_")},
		"by name": {HardwareLabel: "Dell_PowerEdge_R740"},
		"by text": {HardwareLabel: strings.ReplaceAll(s.CPU, " ", "_")},
	} {
		spec, err := c.Bind(scoring.Machine{Name: "n", Cores: float64(s.Threads), Labels: labels})
		if err != nil || !spec.Prior || !strings.HasPrefix(spec.Model, "guess: ") {
			t.Fatalf("%s: %+v, %v", name, spec, err)
		}
		if known := labels != nil; strings.Contains(spec.Model, "published servers of the same") != known || (spec.Capacity.Speed > 0) != known {
			t.Errorf("%s: model %q, speed %v", name, spec.Model, spec.Capacity.Speed)
		}
		in, err := power.PredictInterval(t.Context(), spec.Predictor, power.State{Node: "n", Utilization: 0.5}, 0.9)
		if err != nil || !(in.Low > 0) {
			t.Errorf("%s: interval %v, %v", name, in, err)
		}
		if w := s.Watts[5]; w < in.Low || w > in.High {
			t.Errorf("%s: %v W is not within %v", name, w, in)
		}
		width[name] = in.High / in.Low
	}
	if !(width["by name"] <= width["by cpu"] && width["by cpu"] < width["unknown"]) || width["by text"] != width["by cpu"] {
		t.Errorf("what is known narrows the interval: %v", width)
	}
	for _, c := range []struct{ yaml, want string }{
		{"folder: x", "models[0].folder: is where learned"},
		{"year: 2018.5", "models[0].year: is \"2018.5\": want a whole number"},
		{"cores: -1", "models[0].cores: is \"-1\""},
		{"learn: true, inlet: published", "models[0].inlet: is for models that do not learn"},
		{"server: x", "models[0].server: there is no such field"},
	} {
		if _, err := Parse("site.yaml", []byte("models: [{kind: prior, "+c.yaml+"}]")); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v", c.yaml, err)
		}
	}
}

// A machine whose hardware nobody published has the prior, and is not without a model.
func TestUnlistedHardware(t *testing.T) {
	c := parse(t, "", "models: [{name: table, kind: published}, {name: rest, kind: prior}]")
	for label, want := range map[string]string{"abacus": "rest: ", "Dell_PowerEdge_R740": "table: Dell PowerEdge R740"} {
		if s := bind(t, c, "n", map[string]string{HardwareLabel: label}); !strings.HasPrefix(s.Model, want) || !s.Prior {
			t.Errorf("%s has %q", label, s.Model)
		}
	}
}

// A folder gives each machine the model of its name, else of its hardware, and leaves the rest to what follows.
func TestFolderOfModels(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"n1", "PowerEdge R740"} {
		if err := model.WriteFile(filepath.Join(dir, name+".json"), &model.Model{Name: name, Form: power.Linear{Idle: 50, Peak: 150}}); err != nil {
			t.Fatal(err)
		}
	}
	c := parse(t, dir, "models: [{name: m, kind: file, file: .}, {name: rest, kind: prior}]")
	hw := map[string]string{HardwareLabel: "poweredge_r740"}
	for name, want := range map[string]string{"n1": "m: n1", "n2": "m: PowerEdge R740"} {
		if s := bind(t, c, name, hw); s.Model != want || s.Prior {
			t.Errorf("%s has %q, prior %v", name, s.Model, s.Prior)
		}
	}
	if s := bind(t, c, "n3", nil); !strings.HasPrefix(s.Model, "rest: ") || !s.Prior {
		t.Errorf("n3 has %q", s.Model)
	}
}

// table is readings of made-up servers that each draw 200 W and 1 W a percent.
type table struct {
	mu    sync.Mutex
	nodes []string // guarded by mu
}

func (r *table) SetNodes(nodes []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes = nodes
}

func (r *table) Snapshot() *sensors.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := time.Now()
	u := float64(now.Unix()/5%10) / 10
	m := make(map[string]*sensors.NodeReadings)
	for _, n := range r.nodes {
		m[n] = &sensors.NodeReadings{Node: n, Readings: []sensors.Reading{
			{Kind: sensors.CPUUtilization, Value: u, At: now, Source: "test"},
			{Kind: sensors.Power, Value: 200 + 100*u, At: now, Source: "test"},
		}}
	}
	return sensors.NewSnapshot(now, m)
}

func (r *table) Run(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }

// runSite runs a site of the machines a and b in a bubble; settle lets a minute of the bubble's clock pass.
func runSite(t *testing.T, c *Config, seen func(l *live, settle func())) {
	synctest.Test(t, func(t *testing.T) {
		l, err := newLive(c, new(SiteOptions))
		if err != nil {
			t.Fatal(err)
		}
		l.readings = &table{}
		l.site = scoring.NewSite(l, l.bind, scoring.SiteOptions{})
		l.site.Put(scoring.Machine{Name: "a", Cores: 8})
		l.site.Put(scoring.Machine{Name: "b", Cores: 8})
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() {
			if err := l.site.Run(ctx); err != nil {
				t.Error(err)
			}
		})
		seen(l, func() { time.Sleep(time.Minute); synctest.Wait() })
		cancel()
		wg.Wait()
	})
}

// While a site runs, a prior becomes what its machine's readings say, survives a restart, and a model file that
// is replaced takes the place of the old one.
func TestSiteLearnsAndFollowsFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(peak power.Watts) {
		if err := model.WriteFile(filepath.Join(dir, "lab.json"), &model.Model{Name: "lab", Form: power.Linear{Idle: 50, Peak: peak}}); err != nil {
			t.Fatal(err)
		}
	}
	write(150)
	c := parse(t, dir, "models: [{name: lab, nodes: [a], kind: file, file: lab.json}, {name: rest, kind: prior, learn: true, folder: learned}]")
	run := func(seen func(site *scoring.Site, settle func())) {
		runSite(t, c, func(l *live, settle func()) { seen(l.site, settle) })
	}
	at := func(site *scoring.Site, node string) power.Watts {
		n := site.View().Node(node)
		if n == nil || n.Err != nil {
			t.Fatalf("node %s: %+v", node, n)
		}
		w, err := n.Predictor.Predict(t.Context(), power.State{Node: node, Utilization: 1})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	run(func(site *scoring.Site, settle func()) {
		synctest.Wait()
		if n := site.View().Node("b"); n == nil || !n.Prior || !strings.HasPrefix(n.Model, "prior: ") || !strings.Contains(n.Model, "SPEC") {
			t.Errorf("before any reading b is %+v", n)
		}
		if w := at(site, "a"); w != 150 {
			t.Errorf("a at full load: %v", w)
		}
		write(175)
		for range 10 {
			settle()
		}
		if w := at(site, "a"); w != 175 {
			t.Errorf("a at full load with the new file: %v", w)
		}
		if n := site.View().Node("b"); n.Prior || n.Model != "learned from live readings" {
			t.Errorf("after ten minutes b has %q", n.Model)
		}
		if w := at(site, "b"); w < 290 || w > 310 {
			t.Errorf("b at full load: %v, it draws 300", w)
		}
	})
	// One that is wrong leaves the model; what was learned is there from the start.
	if _, err := os.Stat(filepath.Join(dir, "learned", "a.json")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a was learned although it has a model: %v", err)
	}
	run(func(site *scoring.Site, settle func()) {
		synctest.Wait()
		if w := at(site, "b"); w < 290 || w > 310 {
			t.Errorf("b at full load after a restart: %v", w)
		}
		if err := os.WriteFile(filepath.Join(dir, "lab.json"), []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		settle()
		if w := at(site, "a"); w != 175 {
			t.Errorf("a at full load with a broken file: %v", w)
		}
	})
}

func TestLearnedConformance(t *testing.T) {
	l, err := newLive(parse(t, "", "models: [{kind: prior, learn: true}]"), new(SiteOptions))
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.bind(scoring.Machine{Name: "n", Cores: 8})
	if err != nil || !s.Prior {
		t.Fatalf("%+v, %v", s, err)
	}
	if err := powertest.TestPredictor(s.Predictor, power.State{Node: "n"}, power.State{Node: "n", Utilization: 0.4}); err != nil {
		t.Error(err)
	}
	// The learner knows no node of this name: the prior answers.
	if _, err := s.Predictor.Predict(t.Context(), power.State{Node: "forgotten", Utilization: 0.4}); err != nil {
		t.Error(err)
	}
}

// A file of a running site that is wrong, or comes to be, is told by a metric; where it would have a machine's model, the
// machine says so, and what it had before it keeps.
func TestSiteTellsBadModelFiles(t *testing.T) {
	dir := t.TempDir()
	put := func(name string, peak power.Watts) {
		if err := model.WriteFile(filepath.Join(dir, name+".json"), &model.Model{Name: name, Form: power.Linear{Idle: 50, Peak: peak}}); err != nil {
			t.Fatal(err)
		}
	}
	spoil := func(name string) {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	put("a", 150)
	c := parse(t, dir, "models: [{name: lab, kind: file, file: .}]")
	runSite(t, c, func(l *live, settle func()) {
		reg := prometheus.NewRegistry()
		reg.MustRegister(l)
		check := func(when string, bad float64, wantB error) {
			t.Helper()
			settle()
			if all, err := reg.Gather(); err != nil || len(all) != 1 || all[0].GetName() != "leastwatt_model_files_bad" || all[0].GetMetric()[0].GetGauge().GetValue() != bad {
				t.Errorf("%s: %v, %v: want %v bad files", when, all, err, bad)
			}
			if n := l.site.View().Node("a"); n.Err != nil {
				t.Errorf("%s: a: %v", when, n.Err)
			}
			if n := l.site.View().Node("b"); !errors.Is(n.Err, wantB) {
				t.Errorf("%s: b: %v: want %v", when, n.Err, wantB)
			}
		}
		check("one good file", 0, power.ErrNoModel)
		spoil("b")
		check("b comes and is wrong", 1, power.ErrBadModel)
		spoil("a")
		check("a is spoilt", 2, power.ErrBadModel)
		put("b", 150)
		check("b is mended", 1, nil)
	})
}
