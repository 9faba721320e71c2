package endpoints

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/scoring"
)

// weightTotal is what the weights of a rule sum to.
const weightTotal = 1000

// A routeRule is one rule of a route whose weights can be written.
type routeRule struct {
	route    *unstructured.Unstructured
	index    int          // of the rule
	backends []backendKey // by backendRef
	drained  []bool       // by backendRef: its weight is the owner's 0
	of       []int        // by endpoint: its backendRef
	nodes    []string     // by endpoint
	service  balancing.Service
}

// sync weighs all routes once and writes those whose weights have moved.
func (r *Routes) sync(ctx context.Context) {
	rules, total := r.rules()
	services := make([]balancing.Service, len(rules))
	for i := range rules {
		services[i] = rules[i].service
	}
	shares, err := r.opts.Weigher.Weigh(ctx, services)
	if err != nil {
		if ctx.Err() == nil {
			r.opts.Log.Error("routes keep their weights", "err", err)
		}
		return
	}
	r.last = make(map[string]map[string]float64, len(rules))
	shown := make([]shownRoute, 0, total)
	for from := 0; from < len(rules); {
		to := from + 1
		for to < len(rules) && rules[to].route == rules[from].route {
			to++
		}
		weights := make(map[int][]int, to-from)
		for i := from; i < to; i++ {
			m := make(map[string]float64, len(shares[i]))
			parts := make([]float64, len(rules[i].backends))
			if services[i].Rate == 0 {
				restrain(shares[i])
			}
			for j, s := range shares[i] {
				m[services[i].Endpoints[j].ID] = s.Value
				parts[rules[i].of[j]] += s.Value
			}
			r.last[services[i].Name] = m
			shown = append(shown, shownRoute{rules[i].route, rules[i].index, rules[i].backends, parts})
			if w, err := balancing.Quantize(parts, weightTotal); err == nil && len(shares[i]) > 0 {
				weights[rules[i].index] = w
			}
		}
		if err := r.write(ctx, rules[from].route, weights); err != nil && ctx.Err() == nil {
			r.m.failures.Inc()
			r.opts.Log.Warn("a route keeps its weights until the next round", "namespace", rules[from].route.GetNamespace(), "route", rules[from].route.GetName(), "err", err)
		}
		from = to
	}
	r.m.last.Store(&shown)
}

// rules returns the rules that can be weighed, route by route in the order of their names, and how many there are.
func (r *Routes) rules() ([]routeRule, int) {
	r.mu.Lock()
	routes := slices.SortedFunc(maps.Values(r.routes), func(a, b *unstructured.Unstructured) int {
		return cmp.Or(cmp.Compare(a.GetNamespace(), b.GetNamespace()), cmp.Compare(a.GetName(), b.GetName()))
	})
	all := make(map[backendKey][]*endpointSlice, len(r.slices))
	for k, m := range r.slices {
		all[k] = slices.Collect(maps.Values(m))
	}
	r.mu.Unlock()
	view := r.opts.View()
	var out []routeRule
	live := make(map[types.UID]bool, len(routes))
	for _, route := range routes {
		live[route.GetUID()] = true
		rules, err := weighable(route)
		cpu, cpuErr := balancing.CPUFromAnnotations(route.GetAnnotations())
		if errors.Is(cpuErr, balancing.ErrNoCPU) {
			cpuErr = nil
		}
		rate, rateErr := rateFromAnnotations(route.GetAnnotations())
		r.note(route, errors.Join(err, cpuErr, rateErr))
		for i := range rules {
			rr := &rules[i]
			rr.service = balancing.Service{Name: fmt.Sprintf("route %s/%s rule %d", route.GetNamespace(), route.GetName(), rr.index), CPU: cpu, Rate: rate / float64(len(rules))}
			for j, b := range rr.backends {
				if rr.drained[j] {
					continue
				}
				rr.add(j, all[b], view, r.last[rr.service.Name])
			}
		}
		out = append(out, rules...)
	}
	maps.DeleteFunc(r.noted, func(u types.UID, _ string) bool { return !live[u] })
	return out, len(out)
}

// add adds the endpoints of a backend's slices: the ready ones, or those that end but still answer where none is
// ready; each address once.
func (rr *routeRule) add(at int, slices []*endpointSlice, view *scoring.View, last map[string]float64) {
	ready, serving := make(map[netip.Addr]string), make(map[netip.Addr]string)
	for _, s := range slices {
		for i := range s.endpoints {
			switch e := &s.endpoints[i]; {
			case e.ready:
				ready[e.ip] = e.node.Value()
			case e.serving:
				serving[e.ip] = e.node.Value()
			}
		}
	}
	if len(ready) == 0 {
		ready = serving
	}
	v6 := 0
	for a := range ready {
		if a.Is6() {
			v6++
		}
	}
	for _, a := range slicesSorted(ready) {
		if a.Is6() && v6 < len(ready) {
			continue // the same pods by their other address
		}
		e := balancing.Endpoint{ID: fmt.Sprint(at, " ", a)}
		if view != nil {
			e.Node = view.Node(ready[a])
		}
		e.Load = moving(&e, last[e.ID], &rr.service)
		rr.of = append(rr.of, at)
		rr.nodes = append(rr.nodes, ready[a])
		rr.service.Endpoints = append(rr.service.Endpoints, e)
	}
}

func slicesSorted(m map[netip.Addr]string) []netip.Addr {
	return slices.SortedFunc(maps.Keys(m), netip.Addr.Compare)
}

// weighable returns a route's rules of two backends or more that take requests, all of them Services or
// ServiceImports, and says what of the others cannot be weighed.
func weighable(route *unstructured.Unstructured) ([]routeRule, error) {
	rules, _, err := unstructured.NestedSlice(route.Object, "spec", "rules")
	if err != nil {
		return nil, fmt.Errorf("spec.rules: %w", err)
	}
	var out []routeRule
	var errs []error
	ours := emptied(route)
	for i := range rules {
		rule, _ := rules[i].(map[string]any)
		refs, _, err := unstructured.NestedSlice(rule, "backendRefs")
		if err != nil {
			errs = append(errs, fmt.Errorf("spec.rules[%d].backendRefs: %w", i, err))
			continue
		}
		if len(refs) < 2 {
			continue
		}
		rr, live := routeRule{route: route, index: i}, 0
		for j := range refs {
			ref, _ := refs[j].(map[string]any)
			k, err := backendRef(ref, route.GetNamespace())
			if err != nil {
				errs = append(errs, fmt.Errorf("spec.rules[%d].backendRefs[%d]: %w; the rule keeps its weights", i, j, err))
				rr.backends = nil
				break
			}
			drained := weightOf(ref) == 0 && !ours[k.String()]
			if !drained {
				live++
			}
			rr.backends, rr.drained = append(rr.backends, k), append(rr.drained, drained)
		}
		if rr.backends != nil && live >= 2 {
			out = append(out, rr)
		}
	}
	return out, errors.Join(errs...)
}

// emptied returns the backends of a route whose weight of 0 was written by Routes.
func emptied(route *unstructured.Unstructured) map[string]bool {
	all := make(map[string]bool)
	for b := range strings.SplitSeq(route.GetAnnotations()[EmptyAnnotation], ",") {
		all[strings.TrimSpace(b)] = true
	}
	return all
}

// weightOf returns the weight of a backendRef, which is 1 where it says nothing.
func weightOf(ref map[string]any) int {
	if v, ok := ref["weight"].(int64); ok {
		return int(v)
	}
	return 1
}

// backendRef returns what a backendRef names.
func backendRef(ref map[string]any, namespace string) (backendKey, error) {
	text := func(field, otherwise string) string {
		if s, ok := ref[field].(string); ok {
			return s
		}
		return otherwise
	}
	group, kind := text("group", ""), text("kind", "Service")
	k := backendKey{name: types.NamespacedName{Namespace: text("namespace", namespace), Name: text("name", "")}}
	switch {
	case group == "multicluster.x-k8s.io" && kind == "ServiceImport":
		k.imported = true
	case group != "" || kind != "Service":
		return k, fmt.Errorf("%.60s %.60q is neither a Service nor a ServiceImport", kind, k.name.Name)
	}
	return k, nil
}

// write applies a route's weights, by rule, if one of them has moved far enough.
func (r *Routes) write(ctx context.Context, route *unstructured.Unstructured, weights map[int][]int) error {
	rules, _, err := unstructured.NestedSlice(route.Object, "spec", "rules") // a deep copy
	if err != nil {
		return err
	}
	changed, ours := false, emptied(route)
	var empty []string
	for i := range rules {
		rule, _ := rules[i].(map[string]any)
		refs, _ := rule["backendRefs"].([]any)
		now := make([]int, len(refs))
		for j := range refs {
			ref, _ := refs[j].(map[string]any)
			now[j] = weightOf(ref)
		}
		w, weighed := weights[i]
		weighed = weighed && r.moved(now, w)
		changed = changed || weighed
		for j := range refs {
			ref, _ := refs[j].(map[string]any)
			if weighed {
				ref["weight"] = int64(w[j])
			}
			if k, err := backendRef(ref, route.GetNamespace()); err == nil && weightOf(ref) == 0 && (now[j] > 0 || ours[k.String()]) {
				empty = append(empty, k.String())
			}
		}
	}
	if !changed {
		return nil
	}
	meta := map[string]any{"name": route.GetName(), "namespace": route.GetNamespace(), "resourceVersion": route.GetResourceVersion()}
	if slices.Sort(empty); len(empty) > 0 {
		meta["annotations"] = map[string]any{EmptyAnnotation: strings.Join(slices.Compact(empty), ",")}
	}
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": route.GetAPIVersion(), "kind": route.GetKind(),
		"metadata": meta, "spec": map[string]any{"rules": rules},
	}}
	_, err = r.client.Resource(httpRoutes).Namespace(route.GetNamespace()).Apply(ctx, route.GetName(), u, metav1.ApplyOptions{FieldManager: FieldManager, Force: true})
	if err == nil {
		r.m.writes.Inc()
	}
	return err
}

// moved tells whether weights differ by so much that they are written.
func (r *Routes) moved(now, next []int) bool {
	sum := 0
	for _, v := range now {
		sum += v
	}
	for j, v := range next {
		if (now[j] == 0) != (v == 0) || sum == 0 || math.Abs(float64(v)/weightTotal-float64(now[j])/float64(sum)) >= r.opts.Step {
			return true
		}
	}
	return false
}

// note makes an Event of what of a route cannot be weighed, once until that changes.
func (r *Routes) note(route *unstructured.Unstructured, err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if r.noted[route.GetUID()] == text {
		return
	}
	r.noted[route.GetUID()] = text
	if text != "" {
		r.opts.Log.Warn("a route is not weighed as it asks", "namespace", route.GetNamespace(), "route", route.GetName(), "err", text)
		if r.opts.Events != nil {
			r.opts.Events.Eventf(route, nil, v1.EventTypeWarning, "NotSupported", "Weigh", "%s", text)
		}
	}
}
