package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// gatewayCRD returns the CustomResourceDefinition of HTTPRoutes from the module that internal/gatewaycrds pins.
func gatewayCRD(t *testing.T) *unstructured.Unstructured {
	t.Helper()
	c := exec.CommandContext(t.Context(), "go", "mod", "download", "-json", "sigs.k8s.io/gateway-api")
	c.Dir = filepath.Join("..", "internal", "gatewaycrds")
	c.Env = append(os.Environ(), "GOWORK=off")
	out, err := c.Output()
	if err != nil {
		t.Fatalf("the Gateway API's module: %v", err)
	}
	var m struct{ Dir, Version string }
	if err := json.Unmarshal(out, &m); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(m.Dir, "config", "crd", "standard", "gateway.networking.k8s.io_httproutes.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	u := new(unstructured.Unstructured)
	if err := yaml.Unmarshal(text, &u.Object); err != nil {
		t.Fatal(err)
	}
	t.Logf("Gateway API %s", m.Version)
	return u
}

// TestGatewayWeights runs -gateway against a real API server that has the Gateway API's HTTPRoute.
func TestGatewayWeights(t *testing.T) {
	crd := gatewayCRD(t)
	err := controlplane.Run(t.Context(), controlplane.ForTest(t, ""), controlplane.Options{Parent: t.TempDir()}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		dyn, err := dynamic.NewForConfig(c.RESTConfig())
		if err != nil {
			return err
		}
		crds := dyn.Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
		if _, err := crds.Create(ctx, crd, metav1.CreateOptions{}); err != nil {
			return err
		}
		for _, name := range []string{"cheap", "dear"} {
			n := &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}, Status: v1.NodeStatus{Capacity: v1.ResourceList{v1.ResourceCPU: resource.MustParse("10")}}}
			if _, err := client.CoreV1().Nodes().Create(ctx, n, metav1.CreateOptions{}); err != nil {
				return err
			}
			s := &discovery.EndpointSlice{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: "default", Labels: map[string]string{discovery.LabelServiceName: name}},
				AddressType: discovery.AddressTypeIPv4, Ports: []discovery.EndpointPort{{Name: new("p"), Port: new(int32(8080)), Protocol: new(v1.ProtocolTCP)}},
				Endpoints: []discovery.Endpoint{{Addresses: []string{map[string]string{"cheap": "10.77.1.2", "dear": "10.77.1.4"}[name]}, NodeName: &name}}}
			if _, err := client.DiscoveryV1().EndpointSlices("default").Create(ctx, s, metav1.CreateOptions{}); err != nil {
				return err
			}
		}
		routes := dyn.Resource(schema.GroupVersionResource{Group: "gateway.networking.k8s.io", Version: "v1", Resource: "httproutes"}).Namespace("default")
		const text = `{"apiVersion":"gateway.networking.k8s.io/v1","kind":"HTTPRoute","metadata":{"name":"shop","annotations":{
"leastwatt.github.io/weights":"true","leastwatt.github.io/cpu-per-request":"50m","leastwatt.github.io/requests-per-second":"20"}},
"spec":{"parentRefs":[{"name":"edge"}],"hostnames":["shop.example"],"rules":[{"matches":[{"path":{"type":"PathPrefix","value":"/buy"}}],
"backendRefs":[{"name":"cheap","port":80},{"name":"dear","port":80}]},{"backendRefs":[{"name":"dear","port":80}]}]}}`
		u := new(unstructured.Unstructured)
		if err := json.Unmarshal([]byte(text), &u.Object); err != nil {
			return err
		}
		apply := func() error {
			_, err := routes.Apply(ctx, "shop", u, metav1.ApplyOptions{FieldManager: "owner", Force: true})
			return err
		}
		eventually(t, "the API server knows HTTPRoutes", func() (bool, string) {
			err := apply()
			return err == nil, fmt.Sprint(err)
		})

		running, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		var log bytes.Buffer
		wg.Go(func() {
			if err := run(running, []string{"-gateway", "-lease", "edge", "-kubeconfig", c.Kubeconfig(), "-config", siteConfig(t), "-refresh", "1s"}, &log, &log); err != nil {
				t.Errorf("-gateway: %v", err)
			}
		})
		defer wg.Wait()
		defer stop()
		weights := func() (first, second int64, all string) {
			got, err := routes.Get(ctx, "shop", metav1.GetOptions{})
			if err != nil {
				return 0, 0, err.Error()
			}
			rules, _, _ := unstructured.NestedSlice(got.Object, "spec", "rules")
			refs := rules[0].(map[string]any)["backendRefs"].([]any)
			first, _ = refs[0].(map[string]any)["weight"].(int64)
			second, _ = refs[1].(map[string]any)["weight"].(int64)
			b, _ := json.Marshal(got.Object["spec"])
			return first, second, string(b)
		}
		var spec string
		ours := func() (bool, string) {
			a, b, all := weights()
			spec = all
			return a+b == 1000 && a > 900 && b > 0, all
		}
		eventually(t, "the cheap Service's weight is high", ours)
		t.Logf("applied: %s", spec)
		if _, err := client.CoordinationV1().Leases("default").Get(ctx, "edge", metav1.GetOptions{}); err != nil {
			t.Errorf("it writes by another lease than it was told: %v", err)
		}
		got, err := routes.Get(ctx, "shop", metav1.GetOptions{})
		if err != nil {
			return err
		}
		owned := map[string]string{}
		for _, m := range got.GetManagedFields() {
			owned[m.Manager] = m.FieldsV1.GetRawString()
		}
		if f := owned[endpoints.FieldManager]; f != `{"f:spec":{"f:rules":{}}}` || !strings.Contains(owned["owner"], "f:hostnames") || strings.Contains(owned["owner"], "f:rules") {
			t.Errorf("fields are owned so: %v", owned)
		}
		for _, kept := range []string{`"hostnames":["shop.example"]`, `"value":"/buy"`, `"parentRefs"`} {
			if !strings.Contains(spec, kept) {
				t.Errorf("the route lost %s: %s", kept, spec)
			}
		}
		// Its owner applies it anew and so takes the weights away; they come back.
		if err := apply(); err != nil {
			return err
		}
		eventually(t, "the weights are back", ours)
		// A Service that loses its last endpoint gets no weight.
		if err := client.DiscoveryV1().EndpointSlices("default").Delete(ctx, "cheap", metav1.DeleteOptions{}); err != nil {
			return err
		}
		eventually(t, "the empty Service has no weight", func() (bool, string) {
			a, b, all := weights()
			return a == 0 && b == 1000, all
		})
		return nil
	})
	if err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	last := ""
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		done, say := ok()
		if done {
			return
		}
		if last = say; time.Now().After(deadline) {
			t.Fatalf("never: %s: %s", what, last)
		}
	}
}
