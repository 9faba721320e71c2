package scheduler

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
)

// eventRecorder is what we use of the framework's.
type eventRecorder interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// PostBind implements the framework's PostBindPlugin: it counts the pod in shadow mode, and tells on it why it is where it is,
// where the argument events or annotate asks for it.
func (p *Plugin) PostBind(ctx context.Context, _ fwk.CycleState, pod *v1.Pod, node string) {
	if p.shadow != nil {
		p.shadow.bound(pod.UID)
	}
	if p.events == nil && p.annotator == nil {
		return
	}
	r, ok := p.told.take(pod.UID)
	if !ok || r.Chosen != node {
		return
	}
	d := r.explain(ctx)
	text := note(&d)
	if p.events != nil {
		p.events.Eventf(pod, nil, v1.EventTypeNormal, "PlacedByPower", "Scheduling", "%s", text)
	}
	if p.annotator != nil {
		p.annotator.write(ctx, annotation{pod.Namespace, pod.Name, pod.UID, text})
	}
}

// elsewhere tells why a pod is not where the plugin would have it.
func (d *Decision) elsewhere() string {
	if d.Shadow {
		return "the plugin only watches"
	}
	return "other plugins outweighed"
}

// maxNote is a limit of the events API, in bytes.
const maxNote = 1024

func note(d *Decision) string {
	var b strings.Builder
	switch c := d.ChosenCandidate; {
	case c == nil || c.PowerErr != nil:
		fmt.Fprintf(&b, "%s: its power is not known", d.Chosen)
	default:
		fmt.Fprintf(&b, "%s is predicted to draw %+.2f W for it (%.1f to %.1f W, model %s", d.Chosen, float64(c.After-c.Before),
			float64(c.Before), float64(c.After), c.Model)
		if c.Source == "requests" {
			b.WriteString(", load from requests")
		} else if c.Source != "" {
			fmt.Fprintf(&b, ", load from %s %.0f s ago", c.Source, c.Age.Seconds())
		}
		b.WriteByte(')')
	}
	if d.Candidates > 0 {
		fmt.Fprintf(&b, "; of %d candidates %d were known", d.Candidates, d.Known)
	}
	if len(d.Best) > 0 && d.Best[0].Node != d.Chosen {
		fmt.Fprintf(&b, "; %s would have cost less: %s", d.Best[0].Node, d.elsewhere())
	}
	if b.Len() > maxNote {
		return strings.ToValidUTF8(b.String()[:maxNote], "")
	}
	return b.String()
}

// maxTold is of how many pods that are being bound it is kept what is to be told, about 1 KB each. A scheduler binds as
// many at once as the API server is slow to take.
const maxTold = 10000

// A told keeps what is to be told of pods from Reserve to PostBind or Unreserve: the ring of decisions may have gone
// round meanwhile. Nil keeps nothing.
type told struct {
	most    int
	dropped prometheus.Counter

	mu   sync.Mutex
	pods map[types.UID]record // guarded by mu
}

func newTold(dropped prometheus.Counter) *told {
	return &told{most: maxTold, dropped: dropped, pods: make(map[types.UID]record)}
}

// put keeps of a record what [note] needs.
func (t *told) put(r record) {
	if t == nil {
		return
	}
	r.best, r.lost, r.scores = slices.Clone(r.best[:min(1, len(r.best))]), nil, nil
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, ok := t.pods[r.UID]; !ok && len(t.pods) >= t.most {
		t.dropped.Inc()
		return
	}
	t.pods[r.UID] = r
}

// take returns what was kept of a pod, and keeps it no longer.
func (t *told) take(pod types.UID) (record, bool) {
	if t == nil {
		return record{}, false
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	r, ok := t.pods[pod]
	delete(t.pods, pod)
	return r, ok
}
