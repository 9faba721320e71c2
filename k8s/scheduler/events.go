package scheduler

import (
	"context"
	"fmt"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
)

// eventRecorder is what we use of the framework's.
type eventRecorder interface {
	Eventf(regarding, related runtime.Object, eventtype, reason, action, note string, args ...any)
}

// PostBind implements the framework's PostBindPlugin: it tells on the pod why it is where it is, where the
// argument events or annotate asks for it.
func (p *Plugin) PostBind(ctx context.Context, _ fwk.CycleState, pod *v1.Pod, node string) {
	if p.events == nil && p.annotator == nil {
		return
	}
	d, ok := p.decisions.of(ctx, pod.UID)
	if !ok || d.Chosen != node {
		return
	}
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

// of returns the last decision on a pod, explained.
func (d *Decisions) of(ctx context.Context, uid types.UID) (Decision, bool) {
	d.mu.Lock()
	for i := range d.ring {
		r := d.ring[(d.next+len(d.ring)-1-i)%len(d.ring)]
		if r.UID == uid {
			r = r.clone()
			d.mu.Unlock()
			return r.explain(ctx), true
		}
	}
	d.mu.Unlock()
	return Decision{}, false
}
