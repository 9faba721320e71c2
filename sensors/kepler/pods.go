package kepler

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/internal/exposition"
	"github.com/leastwatt/leastwatt/sensors"
)

// podWatts is the watts of a pod in the scheme of 0.10 and later: docs/user/metrics.md of Kepler. The old
// scheme has counters of containers alone.
const podWatts = "kepler_pod_cpu_watts"

// A Pod is what Kepler says that one pod's share of the CPU power is.
type Pod struct {
	Namespace, Name string

	// CPUPower is in watts: packages and memory, as RAPL counts them and Kepler divides them.
	CPUPower float64

	// At is when the answer came, because Kepler tells no time of measurement.
	At time.Time
}

// NodePods are the pods of one node, by namespace and name. They are not changed.
type NodePods struct {
	Node string
	At   time.Time // when the answer came
	Pods []Pod
}

// Pods is what Kepler said last of the pods of each node. The zero value is empty. It is safe for concurrent
// use; a [Source] that has it in KeepPods fills it.
type Pods struct {
	mu    sync.Mutex
	nodes map[string]NodePods // guarded by mu
}

// keepPods is how long the pods of a node that gives no more answers are remembered.
const keepPods = time.Hour

func (p *Pods) put(n NodePods) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.nodes == nil {
		p.nodes = make(map[string]NodePods)
	}
	if old, ok := p.nodes[n.Node]; ok && old.At.After(n.At) {
		return
	}
	p.nodes[n.Node] = n
	for name, old := range p.nodes {
		if n.At.Sub(old.At) > keepPods {
			delete(p.nodes, name)
		}
	}
}

// Forget drops what was said of a node: for when its Kepler is read no more.
func (p *Pods) Forget(node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.nodes, node)
}

// All returns the pods of all nodes that gave any within the last hour, by the nodes' names.
func (p *Pods) All() []NodePods {
	p.mu.Lock()
	all := make([]NodePods, 0, len(p.nodes))
	for _, n := range p.nodes {
		all = append(all, n)
	}
	p.mu.Unlock()
	slices.SortFunc(all, func(a, b NodePods) int { return strings.Compare(a.Node, b.Node) })
	return all
}

// pods puts together what an answer says of pods. A pod that is terminated draws nothing any more; Kepler
// shows it until its energy was read. What is not a possible power is left out.
func pods(samples exposition.Samples, node string, at time.Time) NodePods {
	type key struct{ namespace, name, id string }
	of := make(map[key]exposition.Samples)
	for _, s := range samples.Named(podWatts) {
		k := key{s.Labels["pod_namespace"], s.Labels["pod_name"], s.Labels["pod_id"]}
		if s.Labels["state"] != "terminated" && k.namespace != "" && k.name != "" {
			of[k] = append(of[k], s)
		}
	}
	n := NodePods{Node: node, At: at}
	for k, s := range of {
		watts, measured, _, ok := zones(s)
		if !ok || sensors.Possible(sensors.CPUPower, watts) != nil {
			continue
		}
		if measured.IsZero() {
			measured = at
		}
		n.Pods = append(n.Pods, Pod{Namespace: k.namespace, Name: k.name, CPUPower: watts, At: measured})
	}
	slices.SortFunc(n.Pods, func(a, b Pod) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name), cmp.Compare(a.CPUPower, b.CPUPower))
	})
	return n
}
