package scheduler

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/validation"
	corev1helpers "k8s.io/component-helpers/scheduling/corev1"
	"k8s.io/component-helpers/scheduling/corev1/nodeaffinity"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
)

// SpreadName is the name of the plugin [SpreadRate] in a KubeSchedulerConfiguration.
const SpreadName = "SpreadRate"

// The annotations by which pods ask to be spread, ours and WAO's.
const (
	SpreadAnnotation    = "leastwatt.github.io/spread-rate"
	SpreadAnnotationWAO = "wao.bitmedia.co.jp/podspread-rate"
)

// SpreadArgs are the arguments of the plugin SpreadRate.
type SpreadArgs struct {
	// Annotations are the annotations that are looked for, in order, on the pod and then on its controller: a
	// number from 0 to 1. Default "leastwatt.github.io/spread-rate" and "wao.bitmedia.co.jp/podspread-rate".
	Annotations []string `json:"annotations"`

	// TopologyKeys are node labels that tell domains, the widest first: pods are spread over the first of which
	// the nodes have two values that the pod may ever go to, by its node selector, node affinity and tolerations.
	// Default region, zone and host name, by their well-known labels.
	TopologyKeys []string `json:"topologyKeys"`
}

// DecodeSpreadArgs returns the arguments of a profile, as strictly as [DecodeArgs].
func DecodeSpreadArgs(obj runtime.Object) (SpreadArgs, error) {
	a := SpreadArgs{Annotations: []string{SpreadAnnotation, SpreadAnnotationWAO},
		TopologyKeys: []string{v1.LabelTopologyRegion, v1.LabelTopologyZone, v1.LabelHostname}}
	if err := decode(SpreadName, obj, &a); err != nil {
		return SpreadArgs{}, err
	}
	return a, nil
}

func (a *SpreadArgs) validate() error {
	for field, names := range map[string][]string{"annotations": a.Annotations, "topologyKeys": a.TopologyKeys} {
		if len(names) == 0 {
			return fmt.Errorf("%s is empty", field)
		}
		for i, n := range names {
			if wrong := validation.IsQualifiedName(n); len(wrong) > 0 {
				return fmt.Errorf("%s[%d] is %q: %s", field, i, n, wrong[0])
			}
		}
	}
	return nil
}

// SpreadRate places a share of the replicas of a controller evenly over regions, else zones, else nodes, of those that
// they may go to, and leaves the others to the other plugins. The share stands in an annotation of the pod template (or of the
// controller): 0.5 of 8 replicas over 3 zones puts at least 2, 1 and 1 into the zones. The spread ones come
// first, so that the workload is safe early. A domain that is full is left out, and no pod is rejected: give the
// plugin more weight than all others together for the share to hold.
//
// Pods are counted by the UID of their controller, so that the ReplicaSets of a roll-out are apart.
type SpreadRate struct {
	args  SpreadArgs
	nodes func() ([]fwk.NodeInfo, error)
	owner func(namespace string, ref *metav1.OwnerReference) (replicas int, annotations map[string]string, ok bool)
}

var (
	_ fwk.PreScorePlugin = (*SpreadRate)(nil)
	_ fwk.ScorePlugin    = (*SpreadRate)(nil)
	_ fwk.SignPlugin     = (*SpreadRate)(nil)
)

// NewSpreadRate makes the plugin for one profile. It can be given to kube-scheduler's app.WithPlugin as it is.
// It reads ReplicaSets, StatefulSets and ReplicationControllers, which kube-scheduler may by default.
func NewSpreadRate(_ context.Context, obj runtime.Object, h fwk.Handle) (fwk.Plugin, error) {
	args, err := DecodeSpreadArgs(obj)
	if err != nil {
		return nil, err
	}
	f := h.SharedInformerFactory()
	sets, stateful, controllers := f.Apps().V1().ReplicaSets().Lister(), f.Apps().V1().StatefulSets().Lister(), f.Core().V1().ReplicationControllers().Lister()
	return &SpreadRate{args: args,
		nodes: func() ([]fwk.NodeInfo, error) { return h.SnapshotSharedLister().NodeInfos().List() },
		owner: func(namespace string, ref *metav1.OwnerReference) (int, map[string]string, bool) {
			var replicas *int32
			var meta metav1.ObjectMeta
			switch ref.Kind {
			case "ReplicaSet":
				if x, err := sets.ReplicaSets(namespace).Get(ref.Name); err == nil {
					replicas, meta = x.Spec.Replicas, x.ObjectMeta
				}
			case "StatefulSet":
				if x, err := stateful.StatefulSets(namespace).Get(ref.Name); err == nil {
					replicas, meta = x.Spec.Replicas, x.ObjectMeta
				}
			case "ReplicationController":
				if x, err := controllers.ReplicationControllers(namespace).Get(ref.Name); err == nil {
					replicas, meta = x.Spec.Replicas, x.ObjectMeta
				}
			}
			if meta.UID != ref.UID || meta.UID == "" {
				return 0, nil, false
			}
			if replicas == nil {
				return 1, meta.Annotations, true // the default of the API
			}
			return int(*replicas), meta.Annotations, true
		}}, nil
}

// Name implements the framework's Plugin.
func (s *SpreadRate) Name() string { return SpreadName }

// rate returns the share that a pod asks for; asks is false where it asks for none.
func (s *SpreadRate) rate(pod *v1.Pod) (rate float64, ref *metav1.OwnerReference, replicas int, asks bool, err error) {
	if ref = metav1.GetControllerOfNoCopy(pod); ref == nil {
		return 0, nil, 0, false, nil
	}
	replicas, inherited, _ := s.owner(pod.Namespace, ref)
	for _, annotations := range []map[string]string{pod.Annotations, inherited} {
		for _, name := range s.args.Annotations {
			text, ok := annotations[name]
			if !ok {
				continue
			}
			rate, err = strconv.ParseFloat(text, 64)
			if err != nil || !(rate >= 0 && rate <= 1) { // what is wrong with it may be long, and is told at each try
				return 0, ref, replicas, true, fmt.Errorf("annotation %s is %.40q: want a number from 0 to 1", name, text)
			}
			return rate, ref, replicas, true, nil
		}
	}
	return 0, ref, replicas, false, nil
}

const spreadKey fwk.StateKey = "PreScore" + SpreadName

// wanted is the nodes of the domains that the pod is wanted in.
type wanted map[string]bool

// Clone implements the framework's StateData.
func (w wanted) Clone() fwk.StateData { return w }

// PreScore finds the domains that lack the pod. It returns Skip where the pod asks for nothing, or its
// controller has enough pods spread.
func (s *SpreadRate) PreScore(ctx context.Context, cs fwk.CycleState, pod *v1.Pod, candidates []fwk.NodeInfo) *fwk.Status {
	rate, ref, replicas, asks, err := s.rate(pod)
	if err != nil {
		klog.FromContext(ctx).Error(err, "Pod is not spread", "pod", klog.KObj(pod))
		return fwk.NewStatus(fwk.Skip, err.Error())
	}
	if !asks || rate == 0 {
		return fwk.NewStatus(fwk.Skip)
	}
	all, err := s.nodes()
	if err != nil {
		return fwk.NewStatus(fwk.Skip, err.Error())
	}
	key := s.key(reachable(ctx, pod, all))
	if key == "" {
		return fwk.NewStatus(fwk.Skip, "there is one domain")
	}
	domains := make(map[string]*domain)
	at := func(n *v1.Node) *domain {
		name := domainOf(n, key)
		if name == "" {
			return nil
		}
		d := domains[name]
		if d == nil {
			d = new(domain)
			domains[name] = d
		}
		return d
	}
	placed := 0
	for _, n := range all {
		if c := count(n, pod, ref.UID); c > 0 {
			placed += c
			if d := at(n.Node()); d != nil {
				d.pods += c
			}
		}
	}
	for _, n := range candidates {
		if d := at(n.Node()); d != nil {
			d.open = true
		}
	}
	share := int(math.Ceil(rate*float64(max(replicas, placed+1)) - 1e-9))
	least, lacks := lacking(domains, share)
	if !lacks {
		return fwk.NewStatus(fwk.Skip, "enough are spread")
	}
	w := make(wanted)
	for _, n := range candidates {
		if d := at(n.Node()); d != nil && d.pods == least {
			w[n.Node().Name] = true
		}
	}
	cs.Write(spreadKey, w)
	return nil
}

// A domain is a region, a zone or a node.
type domain struct {
	pods int
	open bool // it has a candidate
}

// lacking tells whether fewer pods than the share are spread evenly, and how many pods the open domains with the
// fewest have. Domains that are not open count what they have, and their part falls to the others.
func lacking(domains map[string]*domain, share int) (least int, lacks bool) {
	least = math.MaxInt
	total := func(level int) (sum int) {
		for _, d := range domains {
			if d.open {
				sum += level
			} else {
				sum += min(d.pods, level)
			}
		}
		return sum
	}
	open := false
	for _, d := range domains {
		if d.open {
			open = true
			least = min(least, d.pods)
		}
	}
	if !open {
		return 0, false
	}
	level := 0 // that all of them reach; at most share
	for low, high := 0, share; low <= high; {
		if mid := (low + high) / 2; total(mid) <= share {
			level, low = mid, mid+1
		} else {
			high = mid - 1
		}
	}
	spread, above := 0, 0
	for _, d := range domains {
		spread += min(d.pods, level)
		if d.pods > level {
			above++
		}
	}
	spread += min(above, share-total(level))
	return least, spread < share
}

// reachable returns the nodes that a pod may ever go to: a region that it is kept out of is none that it could be spread to. Taints by
// which Kubernetes tells a node's condition pass, and leave it a node that the pod may go to.
func reachable(ctx context.Context, pod *v1.Pod, nodes []fwk.NodeInfo) []fwk.NodeInfo {
	anywhere := len(pod.Spec.NodeSelector) == 0 && (pod.Spec.Affinity == nil || pod.Spec.Affinity.NodeAffinity == nil)
	affinity := nodeaffinity.GetRequiredNodeAffinity(pod)
	lasts := func(t *v1.Taint) bool {
		return (t.Effect == v1.TaintEffectNoSchedule || t.Effect == v1.TaintEffectNoExecute) && !strings.HasPrefix(t.Key, "node.kubernetes.io/")
	}
	log := klog.FromContext(ctx)
	var some []fwk.NodeInfo // nil while it is all of them
	for i, n := range nodes {
		node := n.Node()
		may := true
		if !anywhere {
			may, _ = affinity.Match(node) // an error is of a term, which then fits nothing, as in the scheduler's own filter
		}
		if may && len(node.Spec.Taints) > 0 {
			_, keeps := corev1helpers.FindMatchingUntoleratedTaint(log, node.Spec.Taints, pod.Spec.Tolerations, lasts, true)
			may = !keeps
		}
		switch {
		case !may && some == nil:
			some = append(make([]fwk.NodeInfo, 0, len(nodes)), nodes[:i]...)
		case may && some != nil:
			some = append(some, n)
		}
	}
	if some == nil {
		return nodes
	}
	return some
}

// key returns the first topology key of which the nodes have two values, or "".
func (s *SpreadRate) key(nodes []fwk.NodeInfo) string {
	for _, key := range s.args.TopologyKeys {
		first := ""
		for _, n := range nodes {
			switch v := domainOf(n.Node(), key); {
			case v == "" || v == first:
			case first != "":
				return key
			default:
				first = v
			}
		}
	}
	return ""
}

func domainOf(n *v1.Node, key string) string {
	if v, ok := n.Labels[key]; ok || key != v1.LabelHostname {
		return v
	}
	return n.Name
}

// count returns how many pods of a controller are on a node and stay there.
func count(n fwk.NodeInfo, like *v1.Pod, owner types.UID) (c int) {
	for _, pi := range n.GetPods() {
		p := pi.GetPod()
		if p.Namespace != like.Namespace || p.UID == like.UID || p.DeletionTimestamp != nil || terminal(p) {
			continue
		}
		if ref := metav1.GetControllerOfNoCopy(p); ref != nil && ref.UID == owner {
			c++
		}
	}
	return c
}

// Score returns 100 for a node of a domain that lacks the pod, and 0 for others.
func (s *SpreadRate) Score(_ context.Context, cs fwk.CycleState, _ *v1.Pod, n fwk.NodeInfo) (int64, *fwk.Status) {
	if d, err := cs.Read(spreadKey); err == nil && d.(wanted)[n.Node().Name] {
		return fwk.MaxScore, nil
	}
	return fwk.MinScore, nil
}

// ScoreExtensions implements the framework's ScorePlugin.
func (s *SpreadRate) ScoreExtensions() fwk.ScoreExtensions { return nil }

// SignPod implements the framework's SignPlugin: where one pod that is to be spread goes changes where the next
// goes, so they share no scores. Other pods are all the same.
func (s *SpreadRate) SignPod(_ context.Context, pod *v1.Pod) ([]fwk.SignFragment, *fwk.Status) {
	if _, _, _, asks, _ := s.rate(pod); asks {
		return nil, fwk.NewStatus(fwk.Unschedulable, "pods that are spread are not alike")
	}
	return nil, nil
}
