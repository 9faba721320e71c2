package profiles_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
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

// What one program learned of a server stands in its profile's status, and is what another begins with, whether it hears
// of the node or of the profile first.
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
	p.Put(scoring.Machine{Name: "n1", Cores: 16})
	p.SetProfile(nodeProfile("n1"))
	time.Sleep(time.Hour)
	if l := p.Learned("n1"); l == nil || l.Readings < 300 || time.Since(l.At.Time) > 2*time.Minute {
		t.Fatalf("after an hour: %+v", l)
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	learned := p.Learned("n1")
	text, err := json.Marshal(learned)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%d readings in %d bytes of status", learned.Readings, len(text))
	if len(text) > 8<<10 {
		t.Errorf("%d bytes are too many for a status", len(text))
	}
	want, by := predict(t, p, "n1", 0.7)
	if by != "learned from live readings" || want < 160 || want > 180 {
		t.Fatalf("the model is %q, and says %v", by, want)
	}

	told := nodeProfile("n1") // without sensors: nothing more is learned
	told.Status.Learned = new(v1alpha1.LearnedModel)
	if err := json.Unmarshal(text, told.Status.Learned); err != nil {
		t.Fatal(err)
	}
	for name, hear := range map[string]func(p *profiles.Provider){
		"the profile first": func(p *profiles.Provider) {
			p.SetProfile(told)
			p.Put(scoring.Machine{Name: "n1", Cores: 16})
		},
		"the node first": func(p *profiles.Provider) {
			p.Put(scoring.Machine{Name: "n1", Cores: 16})
			until(t, "the node has the prior", func() bool { _, by := predict(t, p, "n1", 0.7); return strings.HasPrefix(by, "prior: ") })
			p.SetProfile(told)
		},
	} {
		var log lines
		second := start(t, profiles.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		hear(second)
		if text := log.String(); strings.Contains(text, "not used") {
			t.Errorf("%s: %s", name, text)
		}
		time.Sleep(10 * time.Second)
		if got, by := predict(t, second, "n1", 0.7); got != want || by != "learned from live readings" {
			t.Errorf("%s: it goes on from %v by %q, want %v: %s", name, got, by, want, log.String())
		}
		if second.Learned("n1") != nil {
			t.Errorf("%s: it keeps something for a status that it does not write", name)
		}
	}
	without := start(t, profiles.Options{})
	without.Put(scoring.Machine{Name: "n1", Cores: 16})
	until(t, "it begins with the prior", func() bool { got, _ := predict(t, without, "n1", 0.7); return got > 0 })
	if got, by := predict(t, without, "n1", 0.7); got == want || !strings.HasPrefix(by, "prior: ") {
		t.Errorf("without the status: %v by %q", got, by)
	}
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
