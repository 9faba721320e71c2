package compat

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
)

// WAOGroups are the groups of WAO's resources, the newer one first.
var WAOGroups = []schema.GroupVersion{{Group: "node.waok8s.github.io", Version: "v1beta1"}, {Group: "wao.bitmedia.co.jp", Version: "v1beta1"}}

// A NodeConfig is the spec of WAO's resource of that name.
type NodeConfig struct {
	NodeName         string `json:"nodeName"`
	MetricsCollector struct {
		InletTemp EndpointTerm `json:"inletTemp"`
		DeltaP    EndpointTerm `json:"deltaP"`
	} `json:"metricsCollector"`
	Predictor struct {
		PowerConsumption                 *EndpointTerm `json:"powerConsumption"`
		PowerConsumptionEndpointProvider *EndpointTerm `json:"powerConsumptionEndpointProvider"`
	} `json:"predictor"`
}

// An EndpointTerm is how WAO says where something is read.
type EndpointTerm struct {
	Type            string                   `json:"type"`
	Endpoint        string                   `json:"endpoint"`
	BasicAuthSecret *v1.LocalObjectReference `json:"basicAuthSecret"`
	FetchInterval   *metav1.Duration         `json:"fetchInterval"`
}

// A NodeConfigTemplate is the spec of WAO's resource of that name.
type NodeConfigTemplate struct {
	NodeSelector metav1.LabelSelector `json:"nodeSelector"`
	Template     NodeConfig           `json:"template"`
}

// WAO makes profiles of WAO's objects: of a node's NodeConfig, else of the first NodeConfigTemplate that fits it, by
// namespace and name.
type WAO struct {
	// Groups are those of [WAOGroups] that the cluster has and that can be read; see [WAO.Deny] for the others that it has, and
	// [WAO.Add] for those that it gets, or that can be read, later.
	Groups []schema.GroupVersion

	// Namespace is where Secrets are read. Objects of another namespace that name a Secret are errors of their nodes.
	Namespace string

	// InsecureSkipVerify verifies no BMC's certificate, as WAO does. Without it, a Secret's ca.crt or the system's roots verify.
	InsecureSkipVerify bool

	// CPUUsageFormat is the argument cpuUsageFormat of WAO's scheduler plugin, which its objects do not tell: in what its
	// models of power want CPU in use. "" is Raw.
	CPUUsageFormat CPUUsageFormat

	mu     sync.Mutex
	later  []schema.GroupVersion // guarded by mu, and what it points to is not changed
	denied map[string]error      // guarded by mu, and not changed: by group, why it cannot be read
}

// A CPUUsageFormat is how WAO sends CPU in use to its models, as it spells it.
type CPUUsageFormat string

// The formats that WAO has.
const (
	Raw     CPUUsageFormat = "Raw"     // in cores
	Percent CPUUsageFormat = "Percent" // of the server's cores
)

// ParseCPUUsageFormat returns the format of a text.
func ParseCPUUsageFormat(text string) (CPUUsageFormat, error) {
	if f := CPUUsageFormat(text); f == Raw || f == Percent {
		return f, nil
	}
	return "", fmt.Errorf("cpuUsageFormat is %.64q: want %s or %s", text, Raw, Percent)
}

// Deny says that the cluster has a group that cannot be read, and why. Until it is added, the profiles that were made of its objects stay as
// they are: nobody knows what those objects say now. It may be called while profiles are made.
func (w *WAO) Deny(g schema.GroupVersion, why error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.denied = maps.Clone(w.denied)
	if w.denied == nil {
		w.denied = make(map[string]error)
	}
	w.denied[g.Group] = why
}

// Add adds a group that the cluster has got since, or that can be read now. It may be called while profiles are made.
func (w *WAO) Add(g schema.GroupVersion) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.later = append(slices.Clone(w.later), g)
	w.denied = maps.Clone(w.denied)
	delete(w.denied, g.Group)
}

// held returns what stands in the way of a node whose profile was made of an object that cannot be read, or nil.
func (w *WAO) held(ctx context.Context, c client.Reader, n *v1.Node) (*controllers.Wanted, error) {
	w.mu.Lock()
	denied := w.denied
	w.mu.Unlock()
	if len(denied) == 0 {
		return nil, nil
	}
	var have v1alpha1.NodeProfile
	if err := c.Get(ctx, client.ObjectKey{Name: n.Name}, &have); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	by := have.Annotations[controllers.MadeBy]
	kind, _, _ := strings.Cut(by, "/")
	_, group, _ := strings.Cut(kind, ".")
	if why := denied[group]; why != nil {
		return &controllers.Wanted{By: by, Err: why}, nil
	}
	return nil, nil
}

// groups returns the groups that the cluster has, those of [WAOGroups] in their order.
func (w *WAO) groups() []schema.GroupVersion {
	w.mu.Lock()
	later := w.later
	w.mu.Unlock()
	if len(later) == 0 {
		return w.Groups
	}
	all := slices.Concat(w.Groups, later)
	slices.SortStableFunc(all, func(a, b schema.GroupVersion) int {
		return cmp.Compare(slices.Index(WAOGroups, a), slices.Index(WAOGroups, b))
	})
	return all
}

// Watches returns what [controllers.Options] are to watch for it.
func (w *WAO) Watches() (all []controllers.Watch) {
	for _, g := range w.groups() {
		all = append(all, WatchesOf(g)...)
	}
	return all
}

// WatchesOf returns what is to be watched of one group of WAO's.
func WatchesOf(g schema.GroupVersion) []controllers.Watch {
	config, template := new(unstructured.Unstructured), new(unstructured.Unstructured)
	config.SetGroupVersionKind(g.WithKind("NodeConfig"))
	template.SetGroupVersionKind(g.WithKind("NodeConfigTemplate"))
	return []controllers.Watch{{Object: config, Node: nodeOf}, {Object: template}}
}

// nodeOf returns the node that a NodeConfig is for.
func nodeOf(o client.Object) string {
	u, ok := o.(*unstructured.Unstructured)
	if !ok {
		return ""
	}
	name, _, _ := unstructured.NestedString(u.Object, "spec", "nodeName")
	return name
}

// Want implements [controllers.Maker]. It needs the index [controllers.NodeIndex] of NodeConfigs.
func (w *WAO) Want(ctx context.Context, c client.Reader, n *v1.Node) (*controllers.Wanted, error) {
	if held, err := w.held(ctx, c, n); held != nil || err != nil {
		return held, err
	}
	groups := w.groups()
	for _, kind := range []string{"NodeConfig", "NodeConfigTemplate"} {
		o := []client.ListOption{client.UnsafeDisableDeepCopy}
		if kind == "NodeConfig" {
			o = append(o, client.MatchingFields{controllers.NodeIndex: n.Name})
		}
		for _, g := range groups {
			list := new(unstructured.UnstructuredList)
			list.SetGroupVersionKind(g.WithKind(kind + "List"))
			if err := c.List(ctx, list, o...); err != nil {
				return nil, err
			}
			slices.SortFunc(list.Items, func(a, b unstructured.Unstructured) int {
				return cmp.Or(strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
			})
			for i := range list.Items {
				if got, err := w.one(ctx, c, kind, &list.Items[i], n); got != nil || err != nil {
					return got, err
				}
			}
		}
	}
	return nil, nil
}

// one returns what one object says of a node, or nil where it says nothing.
func (w *WAO) one(ctx context.Context, reader client.Reader, kind string, o *unstructured.Unstructured, n *v1.Node) (*controllers.Wanted, error) {
	if o.GetDeletionTimestamp() != nil {
		return nil, nil
	}
	by := fmt.Sprintf("%s.%s/%s/%s", kind, o.GroupVersionKind().Group, o.GetNamespace(), o.GetName())
	fails := func(err error) (*controllers.Wanted, error) { return &controllers.Wanted{By: by, Err: err}, nil }
	spec, _, _ := unstructured.NestedMap(o.Object, "spec")
	var c NodeConfig
	var bad badTerms
	if kind == "NodeConfig" {
		// The name is looked at first: what is wrong with another node's object is not this node's.
		if nodeOf(o) != n.Name {
			return nil, nil
		}
		bad = intervals(spec)
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(spec, &c); err != nil {
			return fails(err)
		}
	} else {
		var t NodeConfigTemplate
		template, _ := spec["template"].(map[string]any)
		bad = intervals(template)
		err := runtime.DefaultUnstructuredConverter.FromUnstructured(spec, &t)
		s, wrong := metav1.LabelSelectorAsSelector(&t.NodeSelector)
		if err = errors.Join(err, wrong); err != nil { // it may have fitted before somebody mistyped it
			if held, get := controllers.Made(ctx, reader, by, n); !held || get != nil {
				return nil, get
			}
			return fails(err)
		}
		if !s.Matches(labels.Set(n.Labels)) {
			return nil, nil
		}
		var more badTerms
		c, more = expand(&t, n)
		bad = append(bad, more...)
	}
	p, more := w.profile(&c, o.GetNamespace())
	if bad = append(bad, more...); bad == nil {
		return &controllers.Wanted{By: by, Profile: p}, nil
	}
	return w.inPart(ctx, reader, by, n, p, bad)
}

// inPart returns what is wanted by an object some of whose terms are bad. A term that worked once stays as it was, as where nothing of an
// object can be read. Of the others the good ones count, but for a model that would be sent what a bad one should have measured: it could
// predict nothing, and without it the node goes by its PowerModel or a prior.
func (w *WAO) inPart(ctx context.Context, reader client.Reader, by string, n *v1.Node, p v1alpha1.ProfileTemplate, bad badTerms) (*controllers.Wanted, error) {
	if len(p.Spec.Sensors) == 0 && p.Spec.Model == nil { // of no use
		return &controllers.Wanted{By: by, Err: bad.err()}, nil
	}
	var have v1alpha1.NodeProfile
	if err := reader.Get(ctx, client.ObjectKey{Name: n.Name}, &have); client.IgnoreNotFound(err) != nil {
		return nil, err
	} else if err != nil || have.Annotations[controllers.MadeBy] != by {
		have.Spec = v1alpha1.NodeProfileSpec{}
	}
	var lost []string
	for _, x := range bad {
		if x.term == predictorTerm {
			p.Spec.Model = have.Spec.Model
			continue
		}
		i := slices.IndexFunc(have.Spec.Sensors, func(s v1alpha1.Sensor) bool { return s.Name == x.term })
		switch {
		case i < 0:
			lost = append(lost, x.term)
		case x.term == "inletTemp":
			p.Spec.Sensors = slices.Insert(p.Spec.Sensors, 0, have.Spec.Sensors[i])
		default:
			p.Spec.Sensors = append(p.Spec.Sensors, have.Spec.Sensors[i])
		}
	}
	if lost != nil && p.Spec.Model != nil {
		p.Spec.Model = nil
		bad = append(bad, badTerm{predictorTerm, fmt.Errorf("predictor: left out, because its model is sent %s", strings.Join(lost, " and "))})
		if len(p.Spec.Sensors) == 0 {
			return &controllers.Wanted{By: by, Err: bad.err()}, nil
		}
	}
	return &controllers.Wanted{By: by, Profile: p, Lacks: bad.err()}, nil
}
