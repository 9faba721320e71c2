package profiles_test

import (
	"bytes"
	"compress/gzip"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
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
