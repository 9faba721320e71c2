package endpoints_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	dynamicfake "k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/events"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

var httpRoutes = schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}

// route returns an annotated HTTPRoute with one rule over backends.
func route(name string, backends ...any) *unstructured.Unstructured {
	return &unstructured.Unstructured{Object: map[string]any{"apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute",
		"metadata": map[string]any{"name": name, "namespace": "shop", "uid": name, "resourceVersion": "7",
			"annotations": map[string]any{endpoints.WeightsAnnotation: "true", balancing.CPUAnnotation: "50m", endpoints.RateAnnotation: "20"}},
		"spec": map[string]any{"hostnames": []any{"shop.example"}, "rules": []any{
			map[string]any{"matches": []any{map[string]any{"path": map[string]any{"type": "PathPrefix", "value": "/"}}}, "backendRefs": backends, "ofTomorrow": "kept"}}}}}
}

func ref(kv ...any) map[string]any {
	m := map[string]any{"port": int64(80)}
	for i := 0; i < len(kv); i += 2 {
		m[kv[i].(string)] = kv[i+1]
	}
	return m
}

// weigh runs Routes until each of n routes was applied or is given up on, and returns the patches by name.
func weigh(t *testing.T, rec events.EventRecorder, n int, slices []*discovery.EndpointSlice, routes ...*unstructured.Unstructured) map[string]map[string]any {
	t.Helper()
	var objects, plain []runtime.Object
	for _, r := range routes {
		objects = append(objects, r)
	}
	for _, s := range slices {
		plain = append(plain, s)
	}
	dyn := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{httpRoutes: "HTTPRouteList"}, objects...)
	done := make(chan string, 100)
	var mu sync.Mutex
	out := map[string]map[string]any{}
	dyn.PrependReactor("patch", "httproutes", func(a clienttesting.Action) (bool, runtime.Object, error) {
		p := a.(clienttesting.PatchAction)
		var body map[string]any
		if err := json.Unmarshal(p.GetPatch(), &body); err != nil {
			t.Error(err)
		}
		mu.Lock()
		out[p.GetName()] = body
		mu.Unlock()
		if o := p.(clienttesting.PatchActionImpl).PatchOptions; o.FieldManager != endpoints.FieldManager || o.Force == nil || !*o.Force {
			t.Errorf("patch options %+v", o)
		}
		done <- p.GetName()
		return true, &unstructured.Unstructured{Object: body}, nil
	})
	r, err := endpoints.NewRoutes(dyn, endpoints.RouteOptions{View: site(t), Weigher: &balancing.Optimal{}, Events: rec, Refresh: 5 * time.Millisecond, Pause: time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = r.Run(ctx, fake.NewClientset(plain...)) })
	deadline := time.After(30 * time.Second)
	for seen := map[string]bool{}; len(seen) < n; {
		select {
		case name := <-done:
			seen[name] = true
		case <-deadline:
			t.Fatalf("applied: %v, want %d routes", seen, n)
		}
	}
	cancel()
	wg.Wait()
	return out
}

func weights(body map[string]any) string {
	rules, _, _ := unstructured.NestedSlice(body, "spec", "rules")
	var out []string
	for _, b := range rules[0].(map[string]any)["backendRefs"].([]any) {
		out = append(out, fmt.Sprint(b.(map[string]any)["weight"]))
	}
	return strings.Join(out, " ")
}

func TestRoutesFollowTheModels(t *testing.T) {
	imported := slice("far-1", "", endpoint("10.9.0.1", "nobody knows this one"))
	imported.Labels = map[string]string{"multicluster.kubernetes.io/service-name": "far"}
	ended := slice("gone-1", "gone", endpoint("10.0.0.7", "cheap", func(e *discovery.Endpoint) { e.Conditions.Ready = new(false) }))
	slices := []*discovery.EndpointSlice{
		slice("a-1", "a", endpoint("10.0.0.1", "cheap")),
		slice("b-1", "b", endpoint("10.0.0.2", "dear")), imported, ended,
	}
	other := route("other", ref("name", "a"), ref("name", "b"))
	other.SetAnnotations(nil) // nobody asks for its weights
	got := weigh(t, nil, 2, slices,
		route("two", ref("name", "a", "filters", []any{"kept"}), ref("name", "b", "weight", int64(9))),
		route("three", ref("name", "b"), ref("group", "multicluster.x-k8s.io", "kind", "ServiceImport", "name", "far"), ref("name", "gone"), ref("name", "a")),
		route("one", ref("name", "a")), other)
	if w := weights(got["two"]); w != "975 25" { // the floor: 5 % of the neutral share
		t.Errorf("two: weights %q", w)
	}
	var b, far, gone, a int
	if _, err := fmt.Sscan(weights(got["three"]), &b, &far, &gone, &a); err != nil || gone != 0 || a < 900 || far > b || far < 1 || a+b+far != 1000 {
		t.Errorf("three: weights %q, %v", weights(got["three"]), err)
	}
	two := got["two"]
	rule := two["spec"].(map[string]any)["rules"].([]any)[0].(map[string]any)
	if rule["ofTomorrow"] != "kept" || rule["matches"] == nil || rule["backendRefs"].([]any)[0].(map[string]any)["filters"] == nil {
		t.Errorf("the rule lost something: %v", rule)
	}
	spec, meta := two["spec"].(map[string]any), two["metadata"].(map[string]any)
	if len(spec) != 1 || meta["resourceVersion"] != "7" || meta["annotations"] != nil {
		t.Errorf("applied more than the rules, or onto any version: %v", two)
	}
	if got["one"] != nil || got["other"] != nil {
		t.Error("a route was written that need not be")
	}
}

func TestRoutesSayWhatTheyCannotWeigh(t *testing.T) {
	rec := events.NewFakeRecorder(10)
	bad := route("bad", ref("name", "a"), ref("name", "b"))
	bad.SetAnnotations(map[string]string{endpoints.WeightsAnnotation: "true", balancing.CPUAnnotation: "1e99"})
	got := weigh(t, rec, 1, []*discovery.EndpointSlice{slice("a-1", "a", endpoint("10.0.0.1", "cheap")), slice("b-1", "b", endpoint("10.0.0.2", "dear"))},
		route("bucket", ref("name", "a"), ref("kind", "Bucket", "group", "storage.example", "name", "files")), bad)
	if got["bucket"] != nil || got["bad"] == nil {
		t.Errorf("written: %v", got)
	}
	if w := weights(got["bad"]); w != "750 250" { // of a rate that nobody knows
		t.Errorf("bad: weights %q", w)
	}
	var said []string
	for range 2 {
		said = append(said, <-rec.Events)
	}
	if text := strings.Join(said, "\n"); len(rec.Events) > 0 || !strings.Contains(text, "1e99") || !strings.Contains(text, "backendRefs[1]") || !strings.Contains(text, "Bucket") {
		t.Errorf("events:\n%s", text)
	}
}

// A route whose weights are near enough is not written again and again.
func TestRoutesRestWhenNothingMoves(t *testing.T) {
	got := weigh(t, nil, 1, []*discovery.EndpointSlice{slice("a-1", "a", endpoint("10.0.0.1", "cheap")), slice("b-1", "b", endpoint("10.0.0.2", "dear"))},
		route("near", ref("name", "a", "weight", int64(97)), ref("name", "b", "weight", int64(3))), route("far", ref("name", "a"), ref("name", "b")))
	if got["near"] != nil || got["far"] == nil {
		t.Errorf("written: %v", got)
	}
}

// A weight of 0 is its owner's wish that nothing goes there, unless it was written because a backend had no endpoints.
func TestRoutesKeepWhatTheirOwnerDrained(t *testing.T) {
	drained := route("drained", ref("name", "a", "weight", int64(0)), ref("name", "b"), ref("name", "c"), ref("name", "gone"))
	back := route("back", ref("name", "a", "weight", int64(0)), ref("name", "b", "weight", int64(1000)), ref("name", "gone", "weight", int64(0)))
	back.SetAnnotations(map[string]string{endpoints.WeightsAnnotation: "true", endpoints.EmptyAnnotation: "shop/a,shop/gone"})
	one := route("one", ref("name", "a", "weight", int64(0)), ref("name", "b"))
	got := weigh(t, nil, 2, []*discovery.EndpointSlice{slice("a-1", "a", endpoint("10.0.0.1", "cheap")),
		slice("b-1", "b", endpoint("10.0.0.2", "dear")), slice("c-1", "c", endpoint("10.0.0.3", "dear"))}, drained, back, one)
	if w := weights(got["drained"]); w != "0 500 500 0" {
		t.Errorf("drained: weights %q", w)
	}
	if w := weights(got["back"]); w != "750 250 0" {
		t.Errorf("back: weights %q", w)
	}
	for _, name := range []string{"drained", "back"} {
		u := unstructured.Unstructured{Object: got[name]}
		if a := u.GetAnnotations(); len(a) != 1 || a[endpoints.EmptyAnnotation] != "shop/gone" {
			t.Errorf("%s: annotations %v", name, a)
		}
	}
	if got["one"] != nil {
		t.Errorf("a rule with one backend that takes requests was written: %v", got["one"])
	}
}

// Each rule of a route has its own weights. All are applied together, because server-side apply owns them together.
func TestRoutesOfSeveralRules(t *testing.T) {
	r := route("many", ref("name", "a"), ref("name", "b"))
	rules, _, err := unstructured.NestedSlice(r.Object, "spec", "rules")
	if err != nil {
		t.Fatal(err)
	}
	near := []any{ref("name", "b", "weight", int64(3)), ref("name", "a", "weight", int64(97))}
	rules = append(rules, map[string]any{"name": "near", "backendRefs": near}, map[string]any{"name": "alone", "backendRefs": []any{ref("name", "b", "weight", int64(7))}},
		map[string]any{"name": "redirect", "filters": []any{"kept"}},
		map[string]any{"name": "foreign", "backendRefs": []any{ref("name", "a"), ref("kind", "Bucket", "group", "storage.example", "name", "files")}},
		map[string]any{"name": "back", "backendRefs": []any{ref("name", "b"), ref("name", "gone"), ref("name", "a")}})
	if err := unstructured.SetNestedSlice(r.Object, rules, "spec", "rules"); err != nil {
		t.Fatal(err)
	}
	got := weigh(t, nil, 1, []*discovery.EndpointSlice{slice("a-1", "a", endpoint("10.0.0.1", "cheap")), slice("b-1", "b", endpoint("10.0.0.2", "dear"))}, r)["many"]
	applied, _, err := unstructured.NestedSlice(got, "spec", "rules")
	if err != nil || len(applied) != len(rules) {
		t.Fatalf("applied %v, %v", applied, err)
	}
	for i, want := range map[int]string{0: "975 25", 1: "3 97", 2: "7", 3: "", 4: "<nil> <nil>", 5: "25 0 975"} {
		var w []string
		refs, _ := applied[i].(map[string]any)["backendRefs"].([]any)
		for _, b := range refs {
			w = append(w, fmt.Sprint(b.(map[string]any)["weight"]))
		}
		if text := strings.Join(w, " "); text != want {
			t.Errorf("rule %d has the weights %q, want %q", i, text, want)
		}
	}
	if f := applied[3].(map[string]any)["filters"]; fmt.Sprint(f) != "[kept]" {
		t.Errorf("a rule without backends lost its filters: %v", applied[3])
	}
}

func TestNewRoutesRefusesNonsense(t *testing.T) {
	if _, err := endpoints.NewRoutes(nil, endpoints.RouteOptions{}); err == nil {
		t.Error("no client: no error")
	}
	dyn := dynamicfake.NewSimpleDynamicClientWithCustomListKinds(runtime.NewScheme(), map[schema.GroupVersionResource]string{httpRoutes: "HTTPRouteList"})
	if _, err := endpoints.NewRoutes(dyn, endpoints.RouteOptions{Step: 2}); err == nil {
		t.Error("step 2: no error")
	}
}
