package config

import (
	"errors"
	"github.com/prometheus/client_golang/prometheus"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/scoring"
)

const good = `
sensors: {}
models:
  - name: lab
    nodes: [n1, n2]
    kind: piecewise
    watts: [50, 80, 100]
    speed: 1.5
    offWatts: 4
  - name: rack
    labels: {rack: 3, hw: big}
    kind: piecewise
    knots:
      - {utilization: 0, watts: 60}
      - {utilization: 0.1, watts: 90}
      - {utilization: 1, watts: 200}
    throughput: {ssjOps: 4980000, threads: 100}
    inlet: {referenceCelsius: 25, perDegree: 0.01, lowCelsius: 20, highCelsius: 30, outside: reject}
  - hardware: Old-One
    kind: linear
    idleWatts: 100
    peakWatts: 300
  - name: peaks
    nodes: [p]
    kind: exponential
    k0: 174.0
    k1: -91.50493019588365
    k2: -0.07186049052516228
  - name: table
    kind: published
    inlet: published
  - name: rest
    kind: linear
    idleWatts: 80
    peakWatts: 160
    prior: true
scoring:
  scorer: envelope
  switchOff: true
  maxAge: 45s
  refresh: 5s
`

func bind(t *testing.T, c *Config, name string, labels map[string]string) scoring.Spec {
	t.Helper()
	s, err := c.Bind(scoring.Machine{Name: name, Labels: labels, Cores: 8})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func watts(t *testing.T, s scoring.Spec, st power.State) power.Watts {
	t.Helper()
	w, err := s.Predictor.Predict(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func TestModelsAreBound(t *testing.T) {
	c, err := Parse("site.yaml", []byte(good))
	if err != nil {
		t.Fatal(err)
	}
	lab := bind(t, c, "n2", map[string]string{"rack": "3", "hw": "big"}) // the first that fits
	if lab.Model != "lab" || lab.Capacity != (power.Capacity{Cores: 8, Speed: 1.5}) || lab.OffPower != 4 || lab.Prior || watts(t, lab, power.State{Utilization: 0.5}) != 80 {
		t.Errorf("n2 is %+v", lab)
	}
	rack := bind(t, c, "x", map[string]string{"rack": "3", "hw": "big"})
	if rack.Model != "rack" || rack.Capacity.Speed != 1 || watts(t, rack, power.State{Utilization: 0.1, InletTemp: new(power.Celsius(30))}) != 94.5 {
		t.Errorf("x is %+v", rack)
	}
	if _, err := rack.Predictor.Predict(t.Context(), power.State{InletTemp: new(power.Celsius(31))}); !errors.Is(err, power.ErrDomain) {
		t.Errorf("outside its inlet range: %v", err)
	}
	if _, err := rack.Predictor.Predict(t.Context(), power.State{}); !errors.Is(err, power.ErrMissingInput) {
		t.Errorf("without inlet temperature: %v", err)
	}
	if s := bind(t, c, "x", map[string]string{"rack": "4", HardwareLabel: "old_one"}); s.Model != "models[2]" || watts(t, s, power.State{Utilization: 0.5}) != 200 {
		t.Errorf("an old one is %+v", s)
	}
	// PEAKS: 20 to 30 % costs 11.143557716109 W.
	p := bind(t, c, "p", nil)
	if d := watts(t, p, power.State{Utilization: 0.3}) - watts(t, p, power.State{Utilization: 0.2}); d < 11.14355 || d > 11.14356 {
		t.Errorf("PEAKS' model adds %v from 20 to 30 %%", d)
	}
	if s := bind(t, c, "unheard of", map[string]string{"rack": "4"}); s.Model != "rest" || !s.Prior {
		t.Errorf("the rest is %+v", s)
	}
	if c.Scoring != (Scoring{Scorer: "envelope", SwitchOff: true, WakeHorizon: time.Hour, MaxAge: 45 * time.Second, Refresh: 5 * time.Second}) {
		t.Errorf("scoring is %+v", c.Scoring)
	}
	if c.NewScorer() != (scoring.EnvelopePower{SwitchOff: true}) {
		t.Errorf("scorer is %#v", c.NewScorer())
	}
}

// Every server of the table can be named in the file, and by a label value made of its name where no other
// has it.
func TestPublishedServers(t *testing.T) {
	for _, s := range power.Servers() {
		c, err := Parse("f", []byte("models: [{kind: published, server: \""+s.Name()+"\"}]"))
		if err != nil {
			t.Errorf("%s: %v", s.Name(), err)
			continue
		}
		if spec := bind(t, c, "n", nil); !spec.Prior || spec.Capacity.Speed != s.Speed() || watts(t, spec, power.State{Utilization: 1}) != s.Watts[10] {
			t.Errorf("%s is %+v", s.Name(), spec)
		}
	}
	c, err := Parse("f", []byte("models: [{name: table, kind: published}]"))
	if err != nil {
		t.Fatal(err)
	}
	s := power.Servers()[0]
	label := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" ,()", r) {
			return '_'
		}
		return r
	}, s.Name())
	if spec := bind(t, c, "n", map[string]string{HardwareLabel: label}); spec.Model != "table: "+s.Name() {
		t.Errorf("label %s is bound to %q", label, spec.Model)
	}
	if _, err := c.Bind(scoring.Machine{Labels: map[string]string{HardwareLabel: "abacus"}}); !errors.Is(err, power.ErrNoModel) || !strings.Contains(err.Error(), "abacus") {
		t.Errorf("hardware that is not in the table: %v", err)
	}
	if _, err := c.Bind(scoring.Machine{}); !errors.Is(err, power.ErrNoModel) {
		t.Errorf("a machine that says nothing: %v", err)
	}
}

func TestErrorsNameFileLineAndField(t *testing.T) {
	for _, c := range []struct{ yaml, want string }{
		{"", "site.yaml: is empty"},
		{"[1]", "site.yaml:1: the file: want fields and their values"},
		{"a: 1\n---\nb: 2", "more than one document"},
		{"models: [}", "site.yaml: yaml: "},
		{"scoring:\n  scorerr: x", "site.yaml:2: scoring.scorerr: there is no such field"},
		{"scoring: {scorer: best}", `site.yaml:1: scoring.scorer: is "best"`},
		{"scoring: {objective: money}", "scoring.objective"},
		{"scoring: {maxAge: 10}", `scoring.maxAge: is "10": want a duration`},
		{"scoring: {switchOff: perhaps}", "scoring.switchOff"},
		{"scoring: {scorer: marginal, switchOff: true}", "scoring.switchOff"},
		{"models: {}", "site.yaml:1: models: want a list"},
		{"models:\n- kind: magic", `site.yaml:2: models[0].kind: is "magic"`},
		{"models:\n- name: a", "site.yaml:2: models[0].kind: is missing"},
		{"models:\n- kind: linear\n  idleWatts: 5", "models[0].peakWatts: is missing"},
		{"models:\n-", "site.yaml:2: models[0]: is empty"},
		{"models: [{name: &k magic, kind: *k}]", `models[0].kind: is "magic"`},
		{"models:\n- kind: linear\n  idleWatts: five\n  peakWatts: 5", `site.yaml:3: models[0].idleWatts: is "five": want a finite number`},
		{"models:\n- kind: linear\n  idleWatts: .nan\n  peakWatts: 5", "site.yaml:3: models[0].idleWatts: is \".nan\""},
		{"models:\n- kind: linear\n  idleWatts: -1\n  peakWatts: 5", "site.yaml:3: models[0].idleWatts: is -1"},
		{"models:\n- kind: linear\n  idleWatts: 1\n  idleWatts: 2\n  peakWatts: 5", "models[0].idleWatts: is given twice"},
		{"models:\n- kind: linear\n  idleWatts: 1\n  peakWatts: 5\n  knots: []", "site.yaml:5: models[0].knots: there is no such field"},
		{"models:\n- kind: piecewise", "want watts"},
		{"models:\n- kind: piecewise\n  watts: [1]", "models[0]: power curve has 1 knots"},
		{"models:\n- kind: piecewise\n  watts:\n  - 1\n  - x", `site.yaml:5: models[0].watts[1]: is "x"`},
		{"models:\n- kind: piecewise\n  knots: [{utilization: 0}]", "models[0].knots[0].watts: is missing"},
		{"models:\n- kind: piecewise\n  knots: [{utilization: 1, watts: 2}, {utilization: 0, watts: 1}]", "does not follow"},
		{"models:\n- kind: published\n  server: abacus", `site.yaml:3: models[0].server: server "abacus"`},
		{"models:\n- kind: published\n  nodes: n1", "site.yaml:3: models[0].nodes: want a list"},
		{"models:\n- kind: published\n  labels: [a]", "models[0].labels: want names"},
		{"models:\n- kind: published\n  speed: 1\n  throughput: {ssjOps: 1, threads: 1}", "models[0].throughput"},
		{"models:\n- kind: published\n  inlet: {referenceCelsius: 20, perDegree: 0, lowCelsius: 30, highCelsius: 20}", "models[0].inlet: inlet response: High"},
		{"models:\n- kind: published\n  inlet: usual", "site.yaml:3: models[0].inlet"},
		{"a: &a [*a]", "there is no such field"},
	} {
		if _, err := Parse("site.yaml", []byte(c.yaml)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: error is %v: want one with %q", c.yaml, err, c.want)
		}
	}
	// All that is wrong is told at once.
	_, err := Parse("site.yaml", []byte("x: 1\ny: 2\nmodels: [{kind: a}, {kind: b}]"))
	for _, want := range []string{"x:", "y:", "models[0].kind", "models[1].kind"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v does not tell of %s", err, want)
		}
	}
}

func TestLoad(t *testing.T) {
	path := filepath.Join(t.TempDir(), "site.yaml")
	if err := os.WriteFile(path, []byte(good), 0o600); err != nil {
		t.Fatal(err)
	}
	if c, err := Load(path); err != nil || c.File != path || len(c.Models) != 6 {
		t.Errorf("loaded %+v, %v", c, err)
	}
	if _, err := Load(path + ".not"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file: %v", err)
	}
	if _, err := Parse("big", make([]byte, MaxBytes+1)); err == nil {
		t.Error("a file that is too large was read")
	}
}

func TestModelFiles(t *testing.T) {
	dir := t.TempDir()
	if err := model.WriteFile(filepath.Join(dir, "lab.json"), &model.Model{Name: "lab", Prior: true, Form: power.Linear{Idle: 50, Peak: 150}}); err != nil {
		t.Fatal(err)
	}
	c, err := Parse(filepath.Join(dir, "site.yaml"), []byte("models: [{name: m, kind: file, file: lab.json}]"))
	if err != nil {
		t.Fatal(err)
	}
	if s := bind(t, c, "n", nil); s.Model != "m" || !s.Prior || watts(t, s, power.State{Utilization: 0.5}) != 100 {
		t.Errorf("bound %+v", s)
	}
	for _, name := range []string{"missing.json", "''"} {
		_, err = Parse(filepath.Join(dir, "site.yaml"), []byte("models:\n- kind: file\n  file: "+name))
		if err == nil || !strings.Contains(err.Error(), "site.yaml:3: models[0].file") {
			t.Errorf("model file %s: %v", name, err)
		}
	}
}

// A model file that is wrong is an error of the machines whose model it would be, and of no others.
func TestBadModelFilesStayWithTheirMachines(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "all"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"n1", "n2"} {
		if err := model.WriteFile(filepath.Join(dir, "all", name+".json"), &model.Model{Name: name, Form: power.Linear{Idle: 50, Peak: 150}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"lone", "all/n3", "all/PowerEdge R740"} {
		if err := os.WriteFile(filepath.Join(dir, name+".json"), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	hw := map[string]string{HardwareLabel: "poweredge_r740"}
	for yaml, want := range map[string]map[string]string{
		"models: [{name: lone, kind: file, file: lone.json, nodes: [n3]}, {name: m, kind: file, file: all}, {name: rest, kind: prior}]": {
			"n1": "", "n2": "", "n3": filepath.Join(dir, "lone.json"), "n4": "PowerEdge R740.json"},
		"models: [{name: m, kind: file, file: all, bindings: [{model: n3, node: n5}]}]": {"n1": "", "n3": "n3.json", "n5": "n3.json"},
	} {
		c := parse(t, dir, yaml)
		for name, file := range want {
			spec, err := c.Bind(scoring.Machine{Name: name, Cores: 10, Labels: hw})
			switch {
			case file == "":
				if err != nil || spec.Predictor == nil {
					t.Errorf("%s: %+v, %v", name, spec, err)
				}
			case !errors.Is(err, power.ErrBadModel) || !strings.Contains(err.Error(), file):
				t.Errorf("%s: %v: want an error of %s", name, err, file)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte("models: &m [{kind: linear, idleWatts: 1, peakWatts: 2, labels: *m}]"))
	f.Add([]byte("a: &a {b: *a}\nmodels: [*a]"))
	f.Add([]byte("models:\n  -"))
	f.Add([]byte("models: [{name: &k linear, kind: *k}]"))
	f.Add([]byte("models: [{name: &k , kind: *k}]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := Parse("f", data)
		if err != nil {
			return
		}
		s, err := c.Bind(scoring.Machine{Name: "n1", Cores: 8, Labels: map[string]string{"rack": "3"}})
		if err != nil {
			return
		}
		if s.Predictor == nil {
			t.Fatalf("the model %q was taken without anything that predicts", s.Model)
		}
		w, err := s.Predictor.Predict(t.Context(), power.State{Node: "n1", Utilization: 0.5, InletTemp: new(power.Celsius(25))})
		if err == nil && !(w >= 0) {
			t.Errorf("a model predicts %v", w)
		}
	})
}

// Two racks are two sources of one type, whose breakers are told apart in metrics.
func TestRegisterTwoSourcesOfOneType(t *testing.T) {
	c, err := Parse("site.yaml", []byte(`
sensors:
  sources:
  - {type: redfish, name: rack1, url: "https://a.example", nodes: [a-*], fallback: [{type: redfish, name: rack1, url: "https://b.example"}]}
  - {type: redfish, name: rack2, url: "https://c.example", nodes: [b-*]}
models: [{kind: prior}]
`))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.NewSite(SiteOptions{Registerer: prometheus.NewRegistry()}); err != nil {
		t.Error(err)
	}
}
