package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
)

// followed returns the metric that tells whether NodeProfiles are followed.
func followed(t *testing.T, r prometheus.Gatherer) float64 {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "leastwatt_profiles_followed" {
			return f.GetMetric()[0].GetGauge().GetValue()
		}
	}
	t.Fatal("there is no leastwatt_profiles_followed")
	return 0
}

// ask asks the program's port for health.
func ask(t *testing.T, port int, path string) (code int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(text)
}

// A program that is started before the resource definitions, ours and WAO's, says that it waits for them, lives, and goes on when they
// come.
func (s *server) testLater(t *testing.T) {
	port, err := controlplane.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	calls, registry, stop := s.run(t, "--wao", fmt.Sprintf("--health-probe-bind-address=127.0.0.1:%d", port))
	until(t, "it lives", func() bool { code, _ := ask(t, port, "/healthz"); return code == http.StatusOK })
	if code, body := ask(t, port, "/readyz"); code != http.StatusInternalServerError || followed(t, registry) != 0 {
		t.Errorf("without definitions it answers %d: %s", code, body)
	}
	install := func(paths ...string) {
		t.Helper()
		if _, err := envtest.InstallCRDs(s.config, envtest.CRDInstallOptions{Paths: paths, ErrorIfPathMissing: true, MaxTime: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	// One of three is not enough.
	install(filepath.Join(crds, "leastwatt.github.io_nodeprofiles.yaml"))
	if code, _ := ask(t, port, "/readyz"); code != http.StatusInternalServerError {
		t.Errorf("with one of three definitions it answers %d", code)
	}
	install(crds)
	s.apply(t, newNode("late", "10.0.0.1", nil))
	if code, body := ask(t, port, "/readyz?verbose"); code != http.StatusInternalServerError || !strings.Contains(body, "[-]resources failed") || followed(t, registry) != 0 {
		t.Errorf("without WAO's definitions it answers %d: %s", code, body)
	}
	// Of WAO's groups one is enough.
	group := func(name string) (files []string) {
		for _, resource := range []string{"nodeconfigs", "nodeconfigtemplates"} {
			files = append(files, filepath.Join("testdata/wao", resource+"."+name+".yaml"))
		}
		return files
	}
	install(group("wao.bitmedia.co.jp")...)
	older := object(t, `
apiVersion: wao.bitmedia.co.jp/v1beta1
kind: NodeConfig
metadata: {name: late, namespace: `+namespace+`}
spec:
  nodeName: late
  metricsCollector: {inletTemp: {type: Redfish, endpoint: "http://127.0.0.1:1"}}
`)
	s.apply(t, older)
	until(t, "it goes by the NodeConfig", func() bool { return urlOf(s.profile(t, "late")) == "http://127.0.0.1:1" })
	until(t, "it is ready", func() bool {
		code, _ := ask(t, port, "/readyz")
		return code == http.StatusOK && followed(t, registry) == 1
	})
	// The other one is read as soon as it is there and the program may; until then it stands in nobody's way.
	calls.deny.Store(new("/apis/node.waok8s.github.io/v1beta1/nodeconfigs"))
	install(group("node.waok8s.github.io")...)
	until(t, "the newer group is denied", func() bool { return calls.denied.Load() > 0 })
	if err := unstructured.SetNestedField(older.Object, "http://127.0.0.1:4", "spec", "metricsCollector", "inletTemp", "endpoint"); err != nil {
		t.Fatal(err)
	}
	if err := s.client.Update(t.Context(), older); err != nil {
		t.Fatal(err)
	}
	until(t, "it goes by the older group", func() bool { return urlOf(s.profile(t, "late")) == "http://127.0.0.1:4" })
	calls.deny.Store(nil)
	s.apply(t, newNode("later", "10.0.0.2", map[string]string{"late": "yes"}), object(t, `
apiVersion: node.waok8s.github.io/v1beta1
kind: NodeConfig
metadata: {name: late, namespace: `+namespace+`}
spec:
  nodeName: late
  metricsCollector: {inletTemp: {type: Redfish, endpoint: "http://127.0.0.1:2"}}
`), object(t, `
apiVersion: node.waok8s.github.io/v1beta1
kind: NodeConfigTemplate
metadata: {name: later, namespace: `+namespace+`}
spec:
  nodeSelector: {matchLabels: {late: "yes"}}
  template: {metricsCollector: {inletTemp: {type: Redfish, endpoint: "http://127.0.0.1:3"}}}
`))
	until(t, "it goes by the newer group's NodeConfig", func() bool { return urlOf(s.profile(t, "late")) == "http://127.0.0.1:2" })
	until(t, "it goes by the newer group's NodeConfigTemplate", func() bool { return urlOf(s.profile(t, "later")) == "http://127.0.0.1:3" })
	if code, body := ask(t, port, "/readyz"); code != http.StatusOK {
		t.Errorf("with both groups it answers %d: %s", code, body)
	}
	stop()
	for _, name := range []string{"late", "later"} {
		if err := client.IgnoreNotFound(s.client.Delete(context.Background(), s.profile(t, name))); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.client.List(t.Context(), new(v1alpha1.NodeProfileTemplateList)); err != nil {
		t.Fatal(err)
	}
}
