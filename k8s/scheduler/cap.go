package scheduler

import (
	"context"
	"fmt"
	"maps"
	"math"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// CapName is the name of the plugin [PowerCap] in a KubeSchedulerConfiguration.
const CapName = "PowerCap"

// A PowerCap keeps pods off nodes whose own power, or that of their rack, PDU or other group, would be predicted
// above a limit. Unlike LeastWatt it rejects: such a pod stays pending until the power falls or
// pods end, and says why. It does not cap what runs already, and evicts nothing: kube-scheduler's preemption does, which tries for each node
// what its own pods of lower priority would free, so that a group is not brought below its limit by evicting from several nodes.
type PowerCap struct {
	args     CapArgs
	site     Site
	activate func(klog.Logger, map[string]*v1.Pod)
	nodes    func() ([]fwk.NodeInfo, error) // all, where a pod group is tried on some; nil takes those at hand

	mu   sync.Mutex
	work prepared // guarded by mu

	rejected sync.Map // of types.UID to *v1.Pod: to be tried again
}

var (
	_ fwk.PreFilterPlugin     = (*PowerCap)(nil)
	_ fwk.PreFilterExtensions = (*PowerCap)(nil)
	_ fwk.FilterPlugin        = (*PowerCap)(nil)
	_ fwk.EnqueueExtensions   = (*PowerCap)(nil)
	_ fwk.SignPlugin          = (*PowerCap)(nil)
)

func (f *factory) powerCap(ctx context.Context, obj runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
	args, err := DecodeCapArgs(obj)
	if err != nil {
		return nil, err
	}
	s, err := f.start(ctx, args.Config, h)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", CapName, err)
	}
	p := &PowerCap{args: args, site: s.Site, activate: h.Activate,
		nodes: func() ([]fwk.NodeInfo, error) { return h.SnapshotSharedLister().NodeInfos().List() }}
	p.work.usage, p.work.ended = &p.args.Usage, s.ended
	go p.retry(ctx)
	return p, nil
}

// Name implements the framework's Plugin.
func (p *PowerCap) Name() string { return CapName }

const capKey fwk.StateKey = "PreFilter" + CapName

// capState is what PreFilter leaves for the cycle: what each group draws before the pod.
type capState struct {
	view   *scoring.View
	nodes  []scoring.Node
	demand scoring.Demand
	groups []map[string]groupPower // beside the caps
	noted  *atomic.Bool            // the pod is among those to be tried again

	// changed is what simulated pods add to nodes, and shifted what that adds to groups; of preemption.
	changed map[string]scoring.Demand
	shifted []map[string]power.Watts
}

type groupPower struct {
	watts   power.Watts
	nodes   int
	unknown int // nodes that watts may lack
}

// Clone implements the framework's StateData.
func (s *capState) Clone() fwk.StateData {
	c := *s
	c.changed = maps.Clone(s.changed)
	c.shifted = make([]map[string]power.Watts, len(s.shifted))
	for i := range s.shifted {
		c.shifted[i] = maps.Clone(s.shifted[i])
	}
	return &c
}

// group returns the group of a node and its limit; ok is false where the cap is not about it.
func (c *Cap) group(n *v1.Node) (group string, limit power.Watts, ok bool) {
	for k, v := range c.NodeLabels {
		if have, ok := n.Labels[k]; !ok || have != v {
			return "", 0, false
		}
	}
	group = n.Name
	if c.Label != "" {
		group = n.Labels[c.Label]
	}
	w, listed := c.Groups[group]
	if !listed {
		w = c.Watts
	}
	return group, power.Watts(w), group != "" && w > 0
}

// PreFilter adds up what every group is predicted to draw. It reads memory only.
func (p *PowerCap) PreFilter(ctx context.Context, cs fwk.CycleState, pod *v1.Pod, nodes []fwk.NodeInfo) (*fwk.PreFilterResult, *fwk.Status) {
	if p.nodes != nil {
		var err error
		if nodes, err = p.nodes(); err != nil {
			return nil, fwk.AsStatus(err)
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	w := &p.work
	w.look(p.site.View())
	w.hear()
	s := &capState{view: w.view, nodes: w.nodes, demand: p.args.demand(pod), noted: new(atomic.Bool),
		groups: make([]map[string]groupPower, len(p.args.Caps)), shifted: make([]map[string]power.Watts, len(p.args.Caps))}
	for i := range s.groups {
		s.groups[i] = make(map[string]groupPower)
	}
	for _, info := range nodes {
		w.seat(info, info.GetGeneration())
		node := info.Node()
		var watts power.Watts
		asked, known := false, false
		for i := range p.args.Caps {
			group, _, ok := p.args.Caps[i].group(node)
			if !ok {
				continue
			}
			if !asked {
				asked = true
				watts, known = s.now(ctx, node.Name)
			}
			g := s.groups[i][group]
			g.watts += watts
			g.nodes++
			if !known {
				g.unknown++
			}
			s.groups[i][group] = g
		}
	}
	cs.Write(capKey, s)
	return nil, nil
}

// node returns a server of the cycle, or nil.
func (s *capState) node(name string) *scoring.Node {
	if i := s.view.Index(name); i >= 0 {
		return &s.nodes[i]
	}
	return nil
}

// now returns what a server draws, with what simulated pods change; what was measured where it cannot be
// predicted; 0 where that is not known either.
func (s *capState) now(ctx context.Context, name string) (w power.Watts, known bool) {
	n := s.node(name)
	if n == nil {
		return 0, false
	}
	d := s.changed[name]
	if w, err := n.Draw(ctx, &d); err == nil {
		return w, true
	}
	if r, err := n.Readings.Fresh(sensors.Power, s.view.At(), time.Minute); err == nil {
		return power.Watts(r.Value), false
	}
	return 0, false
}

// PreFilterExtensions implements the framework's PreFilterPlugin.
func (p *PowerCap) PreFilterExtensions() fwk.PreFilterExtensions { return p }

// AddPod implements the framework's PreFilterExtensions: what a simulated pod would draw counts.
func (p *PowerCap) AddPod(ctx context.Context, cs fwk.CycleState, _ *v1.Pod, add fwk.PodInfo, info fwk.NodeInfo) *fwk.Status {
	return p.simulate(ctx, cs, p.args.expected(p.args.summed(add)), 1, info.Node())
}

// RemovePod implements the framework's PreFilterExtensions: what a pod draws that would be evicted no longer counts.
func (p *PowerCap) RemovePod(ctx context.Context, cs fwk.CycleState, _ *v1.Pod, gone fwk.PodInfo, info fwk.NodeInfo) *fwk.Status {
	return p.simulate(ctx, cs, p.args.expected(p.args.summed(gone)), -1, info.Node())
}

func (p *PowerCap) simulate(ctx context.Context, cs fwk.CycleState, d scoring.Demand, sign float64, node *v1.Node) *fwk.Status {
	data, err := cs.Read(capKey)
	if err != nil {
		return fwk.AsStatus(err)
	}
	s := data.(*capState)
	n := s.node(node.Name)
	if n == nil {
		return nil
	}
	if n.GPU == nil {
		d.GPUs = 0 // as of the pods that are there: see count
	}
	before, _ := s.now(ctx, node.Name)
	if s.changed == nil {
		s.changed = make(map[string]scoring.Demand)
	}
	sum := s.changed[node.Name]
	sum.CPU += sign * d.CPU
	sum.GPUs += sign * d.GPUs
	s.changed[node.Name] = sum
	after, _ := s.now(ctx, node.Name) // of what is not known both are what was measured
	for i := range p.args.Caps {
		if group, _, ok := p.args.Caps[i].group(node); ok {
			if s.shifted[i] == nil {
				s.shifted[i] = make(map[string]power.Watts)
			}
			s.shifted[i][group] += after - before
		}
	}
	return nil
}

// Filter rejects a node where the pod would be predicted to bring a group above its limit. Preemption may help: what it evicts from this node draws less, or, where
// a pod group is evicted, what runs elsewhere in the group. Pods of other nodes it does not try, whatever their priority: they must end by themselves.
func (p *PowerCap) Filter(ctx context.Context, cs fwk.CycleState, pod *v1.Pod, info fwk.NodeInfo) *fwk.Status {
	data, err := cs.Read(capKey)
	if err != nil {
		return fwk.AsStatus(err)
	}
	s := data.(*capState)
	node := info.Node()
	rise, asked, known := power.Watts(0), false, false
	for i := range p.args.Caps {
		c := &p.args.Caps[i]
		group, limit, ok := c.group(node)
		if !ok {
			continue
		}
		if !asked {
			asked = true
			rise, known = s.rise(ctx, node.Name)
		}
		g := s.groups[i][group]
		total := g.watts + s.shifted[i][group] + rise
		switch {
		case p.args.Unknown == "reject" && (!known || g.unknown > 0):
			// Nothing that preemption could evict would make it known.
			return p.reject(s, pod, fwk.UnschedulableAndUnresolvable, fmt.Sprintf("power cap %q: too little is known of what %s draws", c.Name, group))
		case total > limit:
			klog.FromContext(ctx).V(5).Info("Power cap", "pod", klog.KObj(pod), "node", node.Name, "cap", c.Name, "group", group,
				"watts", float64(total), "limit", float64(limit), "unknownNodes", g.unknown)
			return p.reject(s, pod, fwk.Unschedulable, c.over(group, g.nodes, total, limit))
		}
	}
	return nil
}

// rise returns what the pod adds to a server.
func (s *capState) rise(ctx context.Context, name string) (power.Watts, bool) {
	n := s.node(name)
	if n == nil {
		return 0, false
	}
	d := s.changed[name]
	before, err := n.Draw(ctx, &d)
	if err != nil {
		return 0, false
	}
	d.CPU += s.demand.CPU
	d.GPUs += s.demand.GPUs
	after, err := n.Draw(ctx, &d)
	if err != nil {
		return 0, false
	}
	return after - before, true
}

func (p *PowerCap) reject(s *capState, pod *v1.Pod, code fwk.Code, reason string) *fwk.Status {
	if s.noted.CompareAndSwap(false, true) {
		p.rejected.Store(pod.UID, pod)
	}
	return fwk.NewStatus(code, reason)
}

// over says by how much a group would be above its limit, for people who read it of thousands of nodes at once: in two digits, so that nodes that
// differ little have one reason.
func (c *Cap) over(group string, nodes int, total, limit power.Watts) string {
	w := max(float64(total-limit), 0.1)
	step := math.Pow(10, math.Floor(math.Log10(w))-1)
	w, _ = strconv.ParseFloat(strconv.FormatFloat(math.Ceil(w/step-1e-9)*step, 'g', 2, 64), 64)
	reason := fmt.Sprintf("power cap %q: %s would draw %v W more than %v W", c.Name, group, w, float64(limit))
	if nodes > 1 {
		reason += " (preemption evicts nothing from its other nodes)"
	}
	return reason
}

// SignPod implements the framework's SignPlugin: what a pod draws depends on its requests alone. A node that is
// reused from an earlier cycle is filtered again.
func (p *PowerCap) SignPod(_ context.Context, pod *v1.Pod) ([]fwk.SignFragment, *fwk.Status) {
	return p.args.sign(pod), nil
}
