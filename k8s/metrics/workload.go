package metrics

import (
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

// pod returns what Kepler says of a pod.
func (p *Provider) pod(name types.NamespacedName, metric string, now time.Time) (sample, error) {
	var found *kepler.Pod
	var node string
	for _, n := range p.known(metric) {
		i, ok := slices.BinarySearchFunc(n.Pods, name, func(a kepler.Pod, b types.NamespacedName) int {
			if c := strings.Compare(a.Namespace, b.Namespace); c != 0 {
				return c
			}
			return strings.Compare(a.Name, b.Name)
		})
		// A name may have been used on another node before: the later one is the pod.
		if ok && (found == nil || n.Pods[i].At.After(found.At)) {
			found, node = &n.Pods[i], n.Node
		}
	}
	if found == nil {
		return sample{}, errNoPods
	}
	s := sample{value: found.CPUPower, at: found.At, labels: labels.Set{nodeLabel: node, sourceLabel: "kepler"}}
	return s, p.fresh(node, found.At, now)
}

// namespace returns the sum over a namespace's pods, as old as the oldest of them.
func (p *Provider) namespace(name, metric string, now time.Time) (sample, error) {
	s := sample{labels: labels.Set{sourceLabel: "kepler"}}
	for _, n := range p.known(metric) {
		for _, pod := range n.Pods {
			if pod.Namespace != name {
				continue
			}
			if err := p.fresh(n.Node, pod.At, now); err != nil {
				return s, fmt.Errorf("a sum would be too small: %w", err)
			}
			s.value += pod.CPUPower
			if s.at.IsZero() || pod.At.Before(s.at) {
				s.at = pod.At
			}
		}
	}
	if s.at.IsZero() {
		return s, errNoPods
	}
	return s, p.silent()
}

// silent returns an error if a node's Kepler has told nothing yet: nobody knows whose pods are on it.
func (p *Provider) silent() error {
	told := make(map[string]bool)
	for _, n := range p.known(cpuPower) {
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

// known returns what Kepler said of the nodes that the cluster still has.
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
	if age := now.Sub(at); age > p.opts.MaxAge {
		return &sensors.Error{Source: "kepler", Node: node, Kind: sensors.CPUPower,
			Err: fmt.Errorf("%w: %v old, at most %v", sensors.ErrStale, age.Round(time.Second), p.opts.MaxAge)}
	}
	return nil
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
