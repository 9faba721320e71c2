package scheduler

import (
	"context"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// PlacementName is the name of the plugin [PlacementScore] in a KubeSchedulerConfiguration.
const PlacementName = "LeastWattPlacement"

// PlacementArgs are the arguments of the plugin LeastWattPlacement.
type PlacementArgs struct {
	// Config is the path of the file that describes sensors and models. Default: the one that the
	// program was started with.
	Config string `json:"config"`

	Usage
}

// DecodePlacementArgs returns the arguments of a profile, as strictly as [DecodeArgs].
func DecodePlacementArgs(obj runtime.Object) (PlacementArgs, error) {
	a := PlacementArgs{Usage: defaultUsage()}
	if err := decode(PlacementName, obj, &a); err != nil {
		return PlacementArgs{}, err
	}
	return a, nil
}

// A PlacementScore chooses between the placements of a pod group, such as racks, by what all its pods together are
// predicted to cost there, a pod. It does something only where the scheduler's feature gates GenericWorkload and
// TopologyAwareWorkloadScheduling are on; it is a plugin of its own because that part of the framework is
// young. A placement with a node of which too little is known never wins over one that is known.
type PlacementScore struct {
	args   PlacementArgs
	site   Site
	scorer scoring.Scorer

	mu   sync.Mutex
	work prepared // guarded by mu
}

var (
	_ fwk.PlacementScorePlugin     = (*PlacementScore)(nil)
	_ fwk.PlacementScoreExtensions = (*PlacementScore)(nil)
)

func (f *factory) placement(ctx context.Context, obj runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
	args, err := DecodePlacementArgs(obj)
	if err != nil {
		return nil, err
	}
	s, err := f.start(ctx, args.Config, h)
	if err != nil {
		return nil, fmt.Errorf("plugin %s: %w", PlacementName, err)
	}
	p := &PlacementScore{args: args, site: s.Site, scorer: s.Scorer}
	p.work.usage, p.work.ended = &p.args.Usage, s.ended
	return p, nil
}

// Name implements the framework's Plugin.
func (p *PlacementScore) Name() string { return PlacementName }

// ScorePlacement returns what the pods of the group cost on the nodes that they would go to, a pod, in the parts of
// [Plugin.Score]: lower is better.
func (p *PlacementScore) ScorePlacement(ctx context.Context, _ fwk.PlacementCycleState, group fwk.PodGroupInfo, a *fwk.PodGroupAssignments) (int64, *fwk.Status) {
	p.mu.Lock()
	defer p.mu.Unlock()
	cost, err := p.cost(ctx, a)
	if err != nil {
		klog.FromContext(ctx).V(4).Info("Placement is not known", "podGroup", klog.KRef(group.GetNamespace(), group.GetName()), "placement", a.Name, "err", err)
		return rawUnknown, nil
	}
	klog.FromContext(ctx).V(4).Info("Placement", "podGroup", klog.KRef(group.GetNamespace(), group.GetName()), "placement", a.Name,
		"pods", len(a.ProposedAssignments), "costPerPod", cost.Value, "unit", cost.Unit.String())
	return raw(cost.Value, rawPer(cost.Unit)), nil
}

// cost sums up over the nodes of a placement, each with all the pods that it would get.
func (p *PlacementScore) cost(ctx context.Context, a *fwk.PodGroupAssignments) (scoring.Cost, error) {
	if len(a.ProposedAssignments) == 0 {
		return scoring.Cost{}, fmt.Errorf("placement %q has no pods", a.Name)
	}
	demands := make(map[string]scoring.Demand)
	for _, x := range a.ProposedAssignments {
		one, sum := p.args.demand(x.GetPod()), demands[x.GetNodeName()]
		sum.CPU += one.CPU
		sum.GPUs += one.GPUs
		demands[x.GetNodeName()] = sum
	}
	w := &p.work
	w.look(p.site.View())
	w.hear()
	scorer := scoring.Among(p.scorer, w.nodes) // placements are asked about one by one
	var total scoring.Cost
	first := true
	for _, info := range a.Nodes {
		d, used := demands[info.Node().Name]
		if !used {
			continue
		}
		delete(demands, info.Node().Name)
		if w.seat(info, info.GetGeneration()) < 0 {
			return total, fmt.Errorf("node %q is not watched", info.Node().Name)
		}
		costs, err := scorer.Score(ctx, d, []scoring.Node{*w.node(info.Node().Name)})
		if err != nil {
			return total, err
		}
		c := costs[0]
		switch {
		case c.Err != nil:
			return total, c.Err
		case !c.Known():
			return total, fmt.Errorf("node %q: the cost is not a finite number", c.Node)
		case !first && c.Unit != total.Unit:
			return total, fmt.Errorf("node %q: the cost is in %v, and that of others in %v", c.Node, c.Unit, total.Unit)
		}
		total.Value, total.Unit, first = total.Value+c.Value, c.Unit, false
	}
	if len(demands) > 0 {
		return total, fmt.Errorf("placement %q lacks %d of its nodes", a.Name, len(demands))
	}
	total.Value /= float64(len(a.ProposedAssignments))
	return total, nil
}

// PlacementScoreExtensions implements the framework's PlacementScorePlugin.
func (p *PlacementScore) PlacementScoreExtensions() fwk.PlacementScoreExtensions { return p }

// NormalizePlacementScore turns costs into scores from 0 to 100, as [Plugin.NormalizeScore] does for nodes.
func (p *PlacementScore) NormalizePlacementScore(_ context.Context, _ fwk.PodGroupCycleState, _ fwk.PodGroupInfo, scores []fwk.PlacementScore) *fwk.Status {
	list := make(fwk.NodeScoreList, len(scores))
	for i := range scores {
		list[i] = fwk.NodeScore{Name: fmt.Sprintf("%08d", i), Score: scores[i].Score}
	}
	normalize(list, -1)
	for i := range scores {
		scores[i].Score = list[i].Score
	}
	return nil
}
