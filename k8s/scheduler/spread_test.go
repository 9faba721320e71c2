package scheduler

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	fwk "k8s.io/kube-scheduler/framework"
)

// spreadCluster is zones of so many nodes.
func spreadCluster(zones ...int) (nodes []fwk.NodeInfo) {
	for z, n := range zones {
		for i := range n {
			x := node(fmt.Sprintf("z%d-%d", z, i), 8)
			x.Labels = map[string]string{v1.LabelTopologyZone: fmt.Sprint("z", z), v1.LabelTopologyRegion: "r"}
			nodes = append(nodes, &fakeNode{node: x})
		}
	}
	return nodes
}

// replica is a pod of a ReplicaSet.
func replica(name, set string, uid types.UID, rate string) *v1.Pod {
	p := pod(name, "1")
	p.OwnerReferences = []metav1.OwnerReference{{Kind: "ReplicaSet", Name: set, UID: uid, Controller: new(true)}}
	if rate != "" {
		p.Annotations = map[string]string{SpreadAnnotation: rate}
	}
	return p
}

func spreader(t *testing.T, nodes []fwk.NodeInfo, sets ...*appsv1.ReplicaSet) *SpreadRate {
	t.Helper()
	h := newHandle()
	for _, s := range sets {
		if _, err := h.client.AppsV1().ReplicaSets(s.Namespace).Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	pl, err := NewSpreadRate(t.Context(), nil, h)
	if err != nil {
		t.Fatal(err)
	}
	s := pl.(*SpreadRate)
	h.factory.Start(t.Context().Done())
	h.factory.WaitForCacheSync(t.Context().Done())
	s.nodes = func() ([]fwk.NodeInfo, error) { return nodes, nil }
	return s
}

func replicaSet(name string, uid types.UID, replicas int32) *appsv1.ReplicaSet {
	return &appsv1.ReplicaSet{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name, UID: uid}, Spec: appsv1.ReplicaSetSpec{Replicas: new(replicas)}}
}

// place puts a pod where the plugin wants it, and else on the last candidate, which stands for the cheapest.
func place(t *testing.T, s *SpreadRate, p *v1.Pod, candidates []fwk.NodeInfo) (node string, asked bool) {
	t.Helper()
	cs := newState()
	to := candidates[len(candidates)-1].(*fakeNode)
	switch st := s.PreScore(t.Context(), cs, p, candidates); {
	case st.IsSkip():
	case !st.IsSuccess():
		t.Fatal(st)
	default:
		asked = true
		for _, n := range candidates {
			if score, st := s.Score(t.Context(), cs, p, n); !st.IsSuccess() || score != 0 && score != 100 {
				t.Errorf("score is %d, %v", score, st)
			} else if score == 100 {
				to = n.(*fakeNode)
			}
		}
	}
	to.add(p)
	return to.node.Name, asked
}

func perZone(nodes []fwk.NodeInfo, set types.UID) map[string]int {
	c := make(map[string]int)
	for _, n := range nodes {
		for _, pi := range n.GetPods() {
			if pi.GetPod().OwnerReferences[0].UID == set {
				c[n.Node().Labels[v1.LabelTopologyZone]]++
			}
		}
	}
	return c
}

// The share is spread evenly although the zones are of 1, 2 and 5 nodes; the rest goes where it costs least.
func TestSpreadShareOverUnequalZones(t *testing.T) {
	for rate, want := range map[string]string{
		"0":    "map[z2:12]",
		"0.25": "map[z0:1 z1:1 z2:10]",
		"0.5":  "map[z0:2 z1:2 z2:8]",
		"0.67": "map[z0:3 z1:3 z2:6]", // nine of twelve
		"1":    "map[z0:4 z1:4 z2:4]",
		"":     "map[z2:12]",
	} {
		nodes := spreadCluster(1, 2, 5)
		s := spreader(t, nodes, replicaSet("web", "web", 12))
		for i := range 12 {
			place(t, s, replica(fmt.Sprint("p", i), "web", "web", rate), nodes)
		}
		if got := fmt.Sprint(perZone(nodes, "web")); got != want {
			t.Errorf("rate %q: %s: want %s", rate, got, want)
		}
	}
}

// Pods that are kept to one region are spread over its zones, and pods that are kept to one zone over its nodes: by node selector,
// affinity or taints. A node that is not ready for the moment is a domain all the same.
func TestSpreadWherePodsMayGo(t *testing.T) {
	in := func(key, value string) *v1.Affinity {
		return &v1.Affinity{NodeAffinity: &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{
			{MatchExpressions: []v1.NodeSelectorRequirement{{Key: key, Operator: v1.NodeSelectorOpIn, Values: []string{value}}}}}}}}
	}
	taint := func(key string) []v1.Taint { return []v1.Taint{{Key: key, Effect: v1.TaintEffectNoSchedule}} }
	for name, c := range map[string]struct {
		spec       v1.PodSpec
		taint      string // of the nodes of zones 2 and 3
		candidates int    // the first nodes
		want       string // pods of each node
	}{
		"anywhere":       {candidates: 8, want: "[0 0 0 2 0 0 0 2]"}, // over regions
		"one region":     {spec: v1.PodSpec{NodeSelector: map[string]string{v1.LabelTopologyRegion: "r0"}}, candidates: 4, want: "[0 2 0 2 0 0 0 0]"},
		"one zone":       {spec: v1.PodSpec{Affinity: in(v1.LabelTopologyZone, "z0")}, candidates: 2, want: "[2 2 0 0 0 0 0 0]"},
		"tainted":        {taint: "node-role.kubernetes.io/control-plane", candidates: 4, want: "[0 2 0 2 0 0 0 0]"},
		"tolerated":      {spec: v1.PodSpec{Tolerations: []v1.Toleration{{Operator: v1.TolerationOpExists}}}, taint: "batch", candidates: 8, want: "[0 0 0 2 0 0 0 2]"},
		"not ready now":  {taint: v1.TaintNodeNotReady, candidates: 4, want: "[0 0 0 4 0 0 0 0]"}, // its region is full, so to speak
		"nowhere at all": {spec: v1.PodSpec{Affinity: in("no", "such")}, candidates: 1, want: "[4 0 0 0 0 0 0 0]"},
	} {
		t.Run(name, func(t *testing.T) {
			nodes := spreadCluster(2, 2, 2, 2)
			for i, n := range nodes {
				x := n.Node()
				x.Labels[v1.LabelTopologyRegion] = fmt.Sprint("r", i/4)
				if i >= 4 && c.taint != "" {
					x.Spec.Taints = taint(c.taint)
				}
			}
			s := spreader(t, nodes, replicaSet("web", "web", 4))
			for i := range 4 {
				p := replica(fmt.Sprint("p", i), "web", "web", "1")
				p.Spec.NodeSelector, p.Spec.Affinity, p.Spec.Tolerations = c.spec.NodeSelector, c.spec.Affinity, c.spec.Tolerations
				place(t, s, p, nodes[:c.candidates])
			}
			var got []int
			for _, n := range nodes {
				got = append(got, len(n.GetPods()))
			}
			if fmt.Sprint(got) != c.want {
				t.Errorf("pods on each node: %v, want %s", got, c.want)
			}
		})
	}
}

// Two sets of one name in two namespaces, or of one roll-out, are apart; pods that leave do not count.
func TestSpreadIsByOwner(t *testing.T) {
	nodes := spreadCluster(1, 1)
	s := spreader(t, nodes, replicaSet("web", "new", 4))
	for i := range 4 { // of the old ReplicaSet: all in zone 1
		nodes[1].(*fakeNode).add(replica(fmt.Sprint("old", i), "web", "old", "1"))
	}
	leaves := replica("leaves", "web", "new", "1")
	leaves.DeletionTimestamp = new(metav1.NewTime(time.Now()))
	nodes[0].(*fakeNode).add(leaves)
	elsewhere := replica("elsewhere", "web", "new", "1")
	elsewhere.Namespace = "other"
	nodes[0].(*fakeNode).add(elsewhere)
	for i := range 4 {
		place(t, s, replica(fmt.Sprint("p", i), "web", "new", "1"), nodes)
	}
	if got := fmt.Sprint(perZone(nodes, "new")); got != "map[z0:4 z1:2]" { // two of them leave or are elsewhere
		t.Errorf("pods are %s", got)
	}
}

// A zone that is full does not hold up the rest, and its part falls to the others.
func TestSpreadWithAFullZone(t *testing.T) {
	nodes := spreadCluster(1, 1, 1)
	s := spreader(t, nodes, replicaSet("web", "web", 9))
	nodes[0].(*fakeNode).add(replica("first", "web", "web", "0.67"))
	for i := range 6 {
		place(t, s, replica(fmt.Sprint("p", i), "web", "web", "0.67"), nodes[1:])
	}
	// Seven of nine are spread: one is in the full zone, three each in the others.
	if got := fmt.Sprint(perZone(nodes, "web")); got != "map[z0:1 z1:3 z2:3]" {
		t.Errorf("pods are %s", got)
	}
	if _, asked := place(t, s, replica("late", "web", "web", "0.67"), nodes[1:]); asked {
		t.Error("beyond the share the plugin still has a say")
	}
}

// WAO's annotation is honoured, on the pod and on the controller; without a controller there is no share; nonsense
// is no reason to reject a pod.
func TestSpreadAnnotations(t *testing.T) {
	nodes := spreadCluster(1, 1)
	set := replicaSet("web", "web", 4)
	set.Annotations = map[string]string{SpreadAnnotationWAO: "1"}
	s := spreader(t, nodes, set, replicaSet("plain", "plain", 4))
	asks := func(p *v1.Pod) bool {
		t.Helper()
		_, signed := s.SignPod(t.Context(), p)
		asked := !s.PreScore(t.Context(), newState(), p, nodes).IsSkip()
		if asked == signed.IsSuccess() {
			t.Errorf("pod %s: asked %t, but its signature is %v", p.Name, asked, signed)
		}
		return asked
	}
	wao := replica("wao", "plain", "plain", "")
	wao.Annotations = map[string]string{SpreadAnnotationWAO: "0.5"}
	if !asks(wao) || !asks(replica("inherits", "web", "web", "")) || asks(replica("plain", "plain", "plain", "")) || asks(pod("alone", "1")) {
		t.Error("annotations are not honoured")
	}
	if !asks(replica("job", "unheard of", "job", "1")) {
		t.Error("a controller that nobody knows has no share")
	}
	for _, rate := range []string{"most", "-0.1", "1.1", "NaN"} {
		if st := s.PreScore(t.Context(), newState(), replica("p", "web", "web", rate), nodes); !st.IsSkip() || !strings.Contains(st.Message(), rate) {
			t.Errorf("rate %q: %v", rate, st)
		}
	}
	// A pod is tried again and again: what its user wrote must not fill the log.
	if st := s.PreScore(t.Context(), newState(), replica("p", "web", "web", strings.Repeat("9x", 100<<10)), nodes); !st.IsSkip() || len(st.Message()) > 256 {
		t.Errorf("a rate of 200 KB is told in %d bytes", len(st.Message()))
	}
}

func TestSpreadArgs(t *testing.T) {
	if a, err := DecodeSpreadArgs(rawArgs(`{"topologyKeys":["rack"]}`)); err != nil || len(a.Annotations) != 2 || len(a.TopologyKeys) != 1 {
		t.Errorf("arguments are %+v, %v", a, err)
	}
	for json, want := range map[string]string{`{"annotations":[]}`: "annotations is empty", `{"topologyKeys":["a b"]}`: "topologyKeys[0]", `{"rate":1}`: "rate"} {
		if _, err := DecodeSpreadArgs(rawArgs(json)); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), SpreadName) {
			t.Errorf("%s: error %v: want one with %q", json, err, want)
		}
	}
}

// Whatever the zones hold, and in whatever order the rest goes where it is cheap: every zone gets its part of the share, or what it has
// room for, and its part falls to the others; and no more pods than the share are told where to go.
func TestSpreadShareOverRandomZones(t *testing.T) {
	for seed := range uint64(120) {
		r := rand.New(rand.NewPCG(seed, 1))
		zones := make([]int, 2+r.IntN(4))
		for z := range zones {
			zones[z] = 1 + r.IntN(3)
		}
		nodes := spreadCluster(zones...)
		room := make(map[string]int) // of zones
		for z := range zones {
			room[fmt.Sprint("z", z)] = 30
			if z > 0 && r.IntN(3) == 0 {
				room[fmt.Sprint("z", z)] = r.IntN(4)
			}
		}
		replicas, rate := 1+r.IntN(20), float64(r.IntN(101))/100
		s := spreader(t, nodes, replicaSet("web", "web", int32(replicas)))
		told := 0
		for i := range replicas {
			in := perZone(nodes, "web")
			var candidates []fwk.NodeInfo
			for _, n := range nodes {
				if zone := n.Node().Labels[v1.LabelTopologyZone]; in[zone] < room[zone] {
					candidates = append(candidates, n)
				}
			}
			r.Shuffle(len(candidates), func(i, k int) { candidates[i], candidates[k] = candidates[k], candidates[i] })
			if _, asked := place(t, s, replica(fmt.Sprint("p", i), "web", "web", fmt.Sprint(rate)), candidates); asked {
				told++
			}
		}
		share := int(math.Ceil(rate*float64(replicas) - 1e-9))
		got := perZone(nodes, "web")
		level := 0
		for filled := 0; filled <= share; level++ {
			filled = 0
			for z := range zones {
				filled += min(room[fmt.Sprint("z", z)], level+1)
			}
		}
		level--
		for zone, most := range room {
			if zone[1:] < fmt.Sprint(len(zones)) && got[zone] < min(most, level) {
				t.Errorf("seed %d: of %d pods at a rate of %v zones of %v got %v: want at least %d in each", seed, replicas, rate, room, got, level)
			}
		}
		if told > share {
			t.Errorf("seed %d: %d pods were told where to go, and the share is %d", seed, told, share)
		}
	}
}
