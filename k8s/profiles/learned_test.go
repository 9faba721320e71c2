package profiles_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// predict returns what a node is predicted to draw at a load, and by which model.
func predict(t *testing.T, p *profiles.Provider, node string, load float64) (power.Watts, string) {
	t.Helper()
	n := p.View().Node(node)
	if n == nil || n.Predictor == nil {
		return -1, ""
	}
	w, err := n.Predictor.Predict(t.Context(), power.State{Node: node, Utilization: load})
	if err != nil {
		t.Fatal(err)
	}
	return w, n.Model
}

// What one program learned of a server stands in its profile's status, and is what another goes on from, in whatever order
// it hears of the node, of the profile and of its status, and whether it runs already or waits to.
func TestLearnedOutlivesARestart(t *testing.T) { synctest.Test(t, testLearnedOutlivesARestart) }

func testLearnedOutlivesARestart(t *testing.T) {
	load := 0.0
	server := sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
		load = math.Mod(load+0.1, 1)
		return []sensors.Reading{{Kind: sensors.CPUUtilization, Value: load, At: time.Now(), Source: "test"},
			{Kind: sensors.Power, Value: 100 + 100*load, At: time.Now(), Source: "test"}}, nil
	})
	p, err := profiles.New(profiles.Options{Keep: time.Minute, Interval: 10 * time.Second, Sources: []sensors.SensorSource{server}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	machine := scoring.Machine{Name: "n1", Cores: 16}
	p.Put(machine)
	p.SetProfile(nodeProfile("n1"))
	time.Sleep(10 * time.Minute)
	early := status(t, p.Learned("n1"))
	time.Sleep(50 * time.Minute)
	if l := p.Learned("n1"); l == nil || l.Readings < 300 || time.Since(l.At.Time) > 2*time.Minute {
		t.Fatalf("after an hour: %+v", l)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	late := status(t, p.Learned("n1"))
	if early.Readings == 0 || early.Readings >= late.Readings {
		t.Fatalf("%d readings after ten minutes, %d after an hour", early.Readings, late.Readings)
	}
	want := says(t, late, 0.7)
	// The last view may be from before the last reading.
	if got, by := predict(t, p, "n1", 0.7); by != "learned from live readings" || math.Abs(float64(got-170)) > 5 || math.Abs(float64(got-want)) > 0.1 {
		t.Fatalf("the model is %q, and says %v, what is kept of it %v", by, got, want)
	}
	if other := says(t, early, 0.7); math.Abs(float64(other-want)) < exact {
		t.Fatalf("what was learned in ten minutes says %v, in an hour %v: the test cannot tell them apart", other, want)
	}

	told := func(l *v1alpha1.LearnedModel) *v1alpha1.NodeProfile {
		n := nodeProfile("n1") // without sensors: nothing more is learned
		n.Status.Learned = l
		return n
	}
	prior := func(p *profiles.Provider) func() bool {
		return func() bool { _, by := predict(t, p, "n1", 0.7); return strings.HasPrefix(by, "prior: ") }
	}
	for name, hear := range map[string]func(p *profiles.Provider, run func()){
		"the profile first": func(p *profiles.Provider, run func()) {
			run()
			p.SetProfile(told(late))
			p.Put(machine)
		},
		"the node first": func(p *profiles.Provider, run func()) {
			run()
			p.Put(machine)
			until(t, "the node has the prior", prior(p))
			p.SetProfile(told(late))
		},
		"the status last": func(p *profiles.Provider, run func()) {
			run()
			p.SetProfile(told(nil))
			p.Put(machine)
			until(t, "the node has the prior", prior(p))
			p.SetProfile(told(late))
		},
		"before it runs": func(p *profiles.Provider, run func()) {
			p.Put(machine)
			p.SetProfile(told(late))
			run()
		},
		"while it waits to lead": func(p *profiles.Provider, run func()) {
			p.Put(machine)
			p.SetProfile(told(nil))
			p.SetProfile(told(early))
			p.SetProfile(told(late))
			run()
		},
	} {
		var log lines
		second, run := provider(t, profiles.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		hear(second, run)
		until(t, name+": it goes on from what was learned", func() bool {
			got, by := predict(t, second, "n1", 0.7)
			return by == "learned from live readings" && math.Abs(float64(got-want)) < exact
		})
		if text := log.String(); strings.Contains(text, "not used") {
			t.Errorf("%s: %s", name, text)
		}
		if second.Learned("n1") != nil {
			t.Errorf("%s: it keeps something for a status that it does not write", name)
		}
	}
	without := start(t, profiles.Options{})
	without.Put(machine)
	until(t, "it begins with the prior", func() bool { got, _ := predict(t, without, "n1", 0.7); return got > 0 })
	if got, by := predict(t, without, "n1", 0.7); math.Abs(float64(got-want)) < 1 || !strings.HasPrefix(by, "prior: ") {
		t.Errorf("without the status: %v by %q", got, by)
	}
}

// exact is how far, in watts, two models may be apart that are the same: far less than one more reading moves them.
const exact = 1e-9

// status returns what a status holds after the API server had it.
func status(t *testing.T, l *v1alpha1.LearnedModel) *v1alpha1.LearnedModel {
	t.Helper()
	text, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > 8<<10 {
		t.Errorf("%d bytes are too many for a status", len(text))
	}
	got := new(v1alpha1.LearnedModel)
	if err := json.Unmarshal(text, got); err != nil {
		t.Fatal(err)
	}
	return got
}

// says returns what a learned model predicts at a load, read without a provider.
func says(t *testing.T, l *v1alpha1.LearnedModel, load float64) power.Watts {
	t.Helper()
	packed, err := gzip.NewReader(bytes.NewReader(l.Model))
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(packed)
	if err != nil {
		t.Fatal(err)
	}
	file, err := model.Unmarshal(text)
	if err != nil {
		t.Fatal(err)
	}
	online, err := calibrate.OnlineFrom(file)
	if err != nil {
		t.Fatal(err)
	}
	if int64(online.Readings()) != l.Readings {
		t.Errorf("the model holds %d readings, its status says %d", online.Readings(), l.Readings)
	}
	m, err := online.Model()
	if err != nil {
		t.Fatal(err)
	}
	w, err := m.Predict(t.Context(), power.State{Node: "n1", Utilization: load})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// A status that somebody wrote who should not have is told, and costs little.
func TestLearnedFromABadStatus(t *testing.T) {
	pack := func(text []byte) []byte {
		var b bytes.Buffer
		w := gzip.NewWriter(&b)
		_, _ = w.Write(text)
		_ = w.Close()
		return b.Bytes()
	}
	noise := make([]byte, 64)
	rng := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(rng.Uint32())
	}
	for name, c := range map[string]struct {
		model []byte
		want  string
	}{
		"nothing":       {nil, "status.learned"},
		"no gzip":       {noise, "status.learned"},
		"a bomb":        {pack(make([]byte, 10<<20)), "unpacks to more than"},
		"no model":      {pack([]byte(`{"format":"leastwatt.model/1"`)), "status.learned"},
		"not a learner": {pack([]byte(linear(t, 1, 2))), "does not hold the state of a learner"},
	} {
		var log lines
		p := start(t, profiles.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		n := nodeProfile("n1")
		n.Status.Learned = &v1alpha1.LearnedModel{At: metav1.Now(), Readings: 5, Model: c.model}
		p.SetProfile(n)
		p.Put(scoring.Machine{Name: "n1", Cores: 4})
		until(t, name+": the node has the prior", func() bool { _, by := predict(t, p, "n1", 0.5); return strings.HasPrefix(by, "prior: ") })
		if !strings.Contains(log.String(), c.want) {
			t.Errorf("%s: the log does not tell %q: %s", name, c.want, log.String())
		}
	}
}

// lines is a log that is written and read at once.
type lines struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
