package metrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/metadata"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

var errNoPods = errors.New("no Kepler tells of it")

// A podOf is what Kepler says of a pod, and on which node.
type podOf struct {
	kepler.Pod
	node string
}

// later tells whether x is told of the pod rather than old: a name may have been used on another node before.
func (x podOf) later(old podOf) bool { return old.node == "" || x.At.After(old.At) }

// pod returns what Kepler says of a pod.
func (p *Provider) pod(name types.NamespacedName, metric string, now time.Time) (sample, error) {
	var found podOf
	for _, n := range p.known(metric) {
		pods := in(n.Pods, name.Namespace)
		i, ok := slices.BinarySearchFunc(pods, name.Name, func(a kepler.Pod, b string) int { return strings.Compare(a.Name, b) })
		if !ok {
			continue
		}
		if x := (podOf{pods[i], n.Node}); x.later(found) {
			found = x
		}
	}
	return p.ofPod(found, now)
}

// pods returns what Kepler says of the pods of a namespace, by name.
func (p *Provider) pods(namespace, metric string) map[string]podOf {
	all := make(map[string]podOf)
	for _, n := range p.known(metric) {
		for _, pod := range in(n.Pods, namespace) {
			if x := (podOf{pod, n.Node}); x.later(all[pod.Name]) {
				all[pod.Name] = x
			}
		}
	}
	return all
}

func (p *Provider) ofPod(x podOf, now time.Time) (sample, error) {
	if x.node == "" {
		return sample{}, errNoPods
	}
	return sample{value: x.CPUPower, at: x.At, labels: labels.Set{nodeLabel: x.node, sourceLabel: "kepler"}}, p.fresh(x.node, x.At, now)
}

// in returns the pods of a namespace, of pods by namespace and name.
func in(pods []kepler.Pod, namespace string) []kepler.Pod {
	find := func(a kepler.Pod, b string) int { return strings.Compare(a.Namespace, b) }
	first, _ := slices.BinarySearchFunc(pods, namespace, find)
	pods = pods[first:]
	n, _ := slices.BinarySearchFunc(pods, namespace, func(a kepler.Pod, b string) int { return cmp.Or(find(a, b), -1) })
	return pods[:n]
}

// A sum is over a namespace's pods, as old as the oldest of them.
type sum struct {
	sample
	err error
}

// add counts a pod in.
func (p *Provider) add(s *sum, node string, pod kepler.Pod, now time.Time) {
	if s.err != nil {
		return
	}
	if err := p.fresh(node, pod.At, now); err != nil {
		s.err = fmt.Errorf("a sum would be too small: %w", err)
		return
	}
	s.value += pod.CPUPower
	if s.at.IsZero() || pod.At.Before(s.at) {
		s.at, s.labels = pod.At, labels.Set{sourceLabel: "kepler"}
	}
}

// namespace returns the sum over a namespace's pods.
func (p *Provider) namespace(name, metric string, now time.Time) (sample, error) {
	known := p.known(metric)
	var s sum
	for _, n := range known {
		for _, pod := range in(n.Pods, name) {
			p.add(&s, n.Node, pod, now)
		}
	}
	switch {
	case s.err != nil:
		return s.sample, s.err
	case s.at.IsZero():
		return s.sample, errNoPods
	}
	return s.sample, p.silent(known)
}

// namespaces returns the sums of all namespaces that Kepler tells of.
func (p *Provider) namespaces(metric string, now time.Time) map[string]*sum {
	known := p.known(metric)
	silent := p.silent(known)
	all := make(map[string]*sum)
	for _, n := range known {
		for _, pod := range n.Pods {
			s := all[pod.Namespace]
			if s == nil {
				s = &sum{err: silent}
				all[pod.Namespace] = s
			}
			p.add(s, n.Node, pod, now)
		}
	}
	return all
}

// silent returns an error if a node's Kepler has told nothing yet: nobody knows whose pods are on it.
func (p *Provider) silent(known []kepler.NodePods) error {
	told := make(map[string]bool, len(known))
	for _, n := range known {
		told[n.Node] = true
	}
	for n := range p.site.View().All {
		if told[n.Name] {
			continue
		}
		if n.Readings == nil || n.Readings.Tried.IsZero() {
			return fmt.Errorf("a sum may be too small: node %q is not read yet", n.Name)
		}
		for _, err := range sensors.Errors(n.Readings.Err) {
			if e, ok := errors.AsType[*sensors.Error](err); ok && e.Source == "kepler" && !errors.Is(err, sensors.ErrUnknownNode) {
				return fmt.Errorf("a sum may be too small: %w", err)
			}
		}
	}
	return nil
}

// known returns what Kepler said of the nodes that the cluster still has: once for a request, for it looks at every node.
func (p *Provider) known(metric string) []kepler.NodePods {
	if p.opts.Pods == nil || metric != cpuPower {
		return nil
	}
	return slices.DeleteFunc(p.opts.Pods.All(), func(n kepler.NodePods) bool {
		_, ok := p.site.Machine(n.Node)
		return !ok
	})
}

func (p *Provider) fresh(node string, at, now time.Time) error {
	var why error
	switch age := now.Sub(at); {
	case age > p.opts.MaxAge:
		why = fmt.Errorf("%w: %v old, at most %v", sensors.ErrStale, age.Round(time.Second), p.opts.MaxAge)
	case age < -p.opts.MaxAge: // it would be new for ever
		why = fmt.Errorf("%w: its clock is %v ahead of ours", sensors.ErrImplausible, -age.Round(time.Second))
	default:
		return nil
	}
	return &sensors.Error{Source: "kepler", Node: node, Kind: sensors.CPUPower, Err: why}
}

// Objects finds objects by their labels.
type Objects interface {
	// Names returns the names of the pods of a namespace, or of namespaces, that a selector chooses.
	Names(ctx context.Context, resource schema.GroupResource, namespace string, selector labels.Selector) ([]string, error)
}

// NewObjects asks the API server for objects' metadata, which it answers from its cache. It needs the verb list on
// pods and namespaces.
func NewObjects(client metadata.Interface) Objects { return objects{client} }

type objects struct{ client metadata.Interface }

// Names implements [Objects].
func (o objects) Names(ctx context.Context, resource schema.GroupResource, namespace string, selector labels.Selector) ([]string, error) {
	if resource == namespaces {
		namespace = ""
	}
	if selector == nil {
		selector = labels.Everything()
	}
	in := o.client.Resource(resource.WithVersion("v1")).Namespace(namespace)
	list, err := in.List(ctx, metav1.ListOptions{LabelSelector: selector.String(), ResourceVersion: "0"})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", resource, err)
	}
	names := make([]string, len(list.Items))
	for i := range list.Items {
		names[i] = list.Items[i].Name
	}
	return names, nil
}
