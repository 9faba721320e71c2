package profiles

import (
	"context"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// A Report is what a node does at this moment.
type Report struct {
	Sensors []v1alpha1.SensorStatus // those of its profile
	Model   *v1alpha1.ModelStatus   // nil where it has none
	Err     error                   // why its watts cannot be predicted; nil where they can
	Node    bool                    // the cluster has the node
	Known   bool                    // the first view of it was made
	Waiting bool                    // a sensor was not read for the first time yet
}

// Report tells how a node's sensors and model do.
func (p *Provider) Report(node string) Report {
	var r Report
	if n := p.profile(node); n != nil {
		for _, x := range n.source.probes {
			r.Sensors = append(r.Sensors, x.status())
			r.Waiting = r.Waiting || x.waiting()
		}
	}
	if _, r.Node = p.site.Machine(node); !r.Node {
		r.Waiting = false // nobody reads it
	}
	v := p.site.View().Node(node)
	if v == nil {
		return r
	}
	r.Known, r.Err = true, v.Err
	if v.Model != "" {
		m := p.errors.status(node)
		m.Name, m.Prior = v.Model, v.Prior
		r.Model = &m
	}
	return r
}

// A ModelReport is what a PowerModel does at this moment.
type ModelReport struct {
	Model string // its name in the file
	Nodes int    // how many nodes have it
	Err   error  // why nodes cannot have it

	// Before is the PowerModels that nodes which it is for have in its place, with how many have each. It is nil where there are
	// more than [MaxOverlaps] PowerModels with a selector or hardware, which would all be looked at for every node.
	Before map[string]int
}

// MaxOverlaps is of how many PowerModels with a selector or hardware [Provider.Models] tells which other ones go before them.
const MaxOverlaps = 100

// Models reports on every PowerModel, by name.
func (p *Provider) Models() map[string]ModelReport {
	lib := p.models.now.Load()
	all := make(map[string]ModelReport, len(lib.all))
	for name, e := range lib.all {
		all[name] = ModelReport{Model: e.inner, Err: lib.err(e)}
	}
	for v := range p.site.View().All {
		var hardware, named string
		if n := p.profile(v.Name); n != nil {
			hardware = n.spec.Hardware
			if ref := n.spec.Model; ref != nil {
				if named = ref.PowerModel; named == "" {
					continue
				}
			}
		}
		e := lib.all[named]
		m, _ := p.site.Machine(v.Name)
		n := describe(m, hardware)
		if named == "" {
			name, _ := lib.bindings.Find(n)
			e = lib.all[name]
		}
		if e == nil || e.use == nil {
			continue
		}
		winner := e.object.Name
		r := all[winner]
		r.Nodes++
		all[winner] = r
		for loser := range lib.also(n) {
			if loser == winner {
				continue
			}
			r := all[loser]
			if r.Before == nil {
				r.Before = make(map[string]int)
			}
			r.Before[winner]++
			all[loser] = r
		}
	}
	return all
}

// accuracy is how far predictions are from measurements, by node.
type accuracy struct {
	mu    sync.Mutex
	all   map[string]*deviation // guarded by mu
	bound map[string]*entry     // guarded by mu: the PowerModels that nodes have, by node
}

// A deviation is of one node and model.
type deviation struct {
	model    string
	file     *model.Model // of a PowerModel, which keeps its name when it is changed
	at       time.Time    // of the last measurement
	samples  int64
	absolute float64 // mean, over the measurement
	bias     float64 // mean, over the measurement
}

// memory is how many measurements count most.
const memory = 100

func newAccuracy() *accuracy {
	return &accuracy{all: make(map[string]*deviation), bound: make(map[string]*entry)}
}

// bind notes the PowerModel that a node has from now on; nil is none.
func (a *accuracy) bind(node string, e *entry) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if e == nil {
		delete(a.bound, node)
	} else {
		a.bound[node] = e
	}
}

// observe takes in a view's measurements.
func (a *accuracy) observe(ctx context.Context, v *scoring.View, now time.Time) {
	for n := range v.All {
		r, err := n.Readings.Fresh(sensors.Power, now, time.Minute)
		if err != nil || n.Err != nil || n.Predictor == nil || !(r.Value > 0) {
			continue
		}
		a.add(ctx, n, r)
	}
}

func (a *accuracy) add(ctx context.Context, n *scoring.Node, r sensors.Reading) {
	a.mu.Lock()
	d := a.all[n.Name]
	var file *model.Model
	if e := a.bound[n.Name]; e != nil {
		file = e.model
	}
	if d == nil || d.model != n.Model || d.file != file {
		d = &deviation{model: n.Model, file: file}
		a.all[n.Name] = d
	}
	old := !r.At.After(d.at)
	a.mu.Unlock()
	if old {
		return
	}
	w, err := n.Predictor.Predict(ctx, n.State)
	if err != nil {
		return
	}
	off := (float64(w) - r.Value) / r.Value
	a.mu.Lock()
	defer a.mu.Unlock()
	d.at = r.At
	d.samples++
	weight := 1 / float64(min(d.samples, memory))
	d.absolute += weight * (math.Abs(off) - d.absolute)
	d.bias += weight * (off - d.bias)
}

func (a *accuracy) forget(node string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.all, node)
	delete(a.bound, node)
}

func (a *accuracy) status(node string) v1alpha1.ModelStatus {
	a.mu.Lock()
	defer a.mu.Unlock()
	d := a.all[node]
	if d == nil || d.samples == 0 {
		return v1alpha1.ModelStatus{}
	}
	return v1alpha1.ModelStatus{Samples: d.samples, Error: fmt.Sprintf("%.1f %%", 100*d.absolute), Bias: fmt.Sprintf("%+.1f %%", 100*d.bias)}
}

func stamp(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}

// short cuts a message to what a status may hold.
func short(text string) string {
	const most = 500
	text = strings.ToValidUTF8(text, "\uFFFD") // as it comes back from the API server
	if len(text) <= most {
		return text
	}
	return strings.ToValidUTF8(text[:most], "") + "…"
}
