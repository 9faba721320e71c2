package charttest

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	rbac "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/util/yaml"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// object is what a test looks at in a manifest.
type object struct {
	Kind     string
	Metadata struct {
		Name, Namespace     string
		Annotations, Labels map[string]string
	}
	Spec     json.RawMessage
	Webhooks json.RawMessage
	Rules    []rbac.PolicyRule
	Subjects []rbac.Subject
	RoleRef  rbac.RoleRef
	Data     map[string]string
}

// everything switches all on.
var everything = []string{"--set=gateway.enabled=true,jobs.enabled=true,jobs.grid=neso,jobs.credentials.secret=grid,jobs.nodes=name,jobs.sites=id,jobs.ingress.enabled=true,jobs.ingress.host=jobs.example.com,jobs.ingress.tlsSecret=jobs-tls," +
	"jobs.scrape.n1=http://10.0.0.1:8080/metrics,jobsPush.enabled=true,scheduler.powerCap.enabled=true,scheduler.powerCap.args.caps[0].name=pdu,scheduler.spreadRate.enabled=true,scheduler.placement.enabled=true," +
	"controller.enabled=true,metricsAdapter.enabled=true,endpointSelector.enabled=true,scheduler.profiles=true,scheduler.metricsServer=true," +
	"controller.metricsServer=true,controller.compatibility.wao=true,controller.compatibility.waoCPUUsageFormat=Percent,controller.compatibility.waoLabels=true,controller.compatibility.peaksConfigMap=kube-system/peaks," +
	"shift.enabled=true,shift.grid=neso,shift.kueue=true,shift.webhook.enabled=true,shift.budgetNamespaces={research},shift.tell.zone=DE,monitoring.podMonitors.enabled=true,monitoring.rules.enabled=true,monitoring.dashboard.enabled=true,secrets={bmc}"}

func render(t *testing.T, args ...string) ([]object, error) {
	t.Helper()
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	return renderOf(t, path, args...)
}

func renderChart(t *testing.T, path string, args ...string) []object {
	t.Helper()
	all, err := renderOf(t, path, args...)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func renderOf(t *testing.T, path string, args ...string) ([]object, error) {
	t.Helper()
	return renderAs(t, "lw", path, args...)
}

// renderAs renders the chart for a release of that name.
func renderAs(t *testing.T, release, path string, args ...string) ([]object, error) {
	t.Helper()
	h := helm{program: controlplane.HelmForTest(t), home: t.TempDir()}
	out, err := h.run(t.Context(), append([]string{"template", release, path, "--namespace=" + namespace, "--kube-version=1.37.2"}, args...)...)
	if err != nil {
		return nil, err
	}
	return decoded(t, out), nil
}

// decoded returns the objects of a manifest.
func decoded(t *testing.T, manifest string) (all []object) {
	t.Helper()
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 1<<16); ; {
		var o object
		if err := d.Decode(&o); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		if o.Kind != "" {
			all = append(all, o)
		}
	}
}
