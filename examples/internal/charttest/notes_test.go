package charttest

import (
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// What helm says after an installation is so, whatever is switched on.
func TestNotes(t *testing.T) {
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	h := helm{program: controlplane.HelmForTest(t), home: t.TempDir()}
	for _, c := range []struct {
		set       string
		says, not []string
	}{
		{"scheduler.enabled=true", []string{"schedulerName: leastwatt are placed by watts.\n", "lw-leastwatt-reader", "get lease lw-leastwatt-scheduler", "localhost:10260/leastwatt/decisions",
			"`helm uninstall` leaves the custom resource definitions and what users made of them.\n"}, []string{"shadow", "custom.metrics", "claim"}},
		{"scheduler.decisionsPort=0", []string{"--set scheduler.decisionsPort=10260"}, []string{"port-forward", "https://"}},
		{"scheduler.mode=shadow,scheduler.extraProfiles[0].schedulerName=green,scheduler.extraProfiles[0].mode=decide",
			[]string{"schedulerName: green are placed by watts.\n", "schedulerName: leastwatt are placed by watts, as soon as mode is decide"}, nil},
		{"scheduler.extraProfiles[0].schedulerName=green,scheduler.extraProfiles[0].mode=shadow,scheduler.extraProfiles[1].schedulerName=blue",
			[]string{"schedulerName: leastwatt or blue are placed by watts.\n", "schedulerName: green are placed by watts, as soon as mode is decide"}, nil},
		{"scheduler.enabled=false", []string{"helm uninstall"}, []string{"schedulerName", "decisions"}},
		{"metricsAdapter.enabled=true", []string{"'/apis/custom.metrics.k8s.io/v1beta2/nodes/*/power_watts'"}, []string{"external"}},
		{"metricsAdapter.enabled=true,metricsAdapter.custom=false", []string{"'/apis/external.metrics.k8s.io/v1beta1/namespaces/default/power_watts'"}, []string{"custom.metrics"}},
		{"metricsAdapter.enabled=true,metricsAdapter.custom=false,metricsAdapter.external=false", nil, []string{"Watts of the nodes", "metrics.k8s.io"}},
		{"jobs.enabled=true", []string{"http://lw-leastwatt-jobs.leastwatt.svc/jobs", `get secret lw-leastwatt-jobs-token -o go-template='{{ index .data "token" | base64decode }}'`, "and the claim lw-leastwatt-jobs"}, nil},
		{"jobs.enabled=true,jobs.token.existingSecret=mine,jobs.token.key=k.v,jobs.persistence.existingClaim=big", []string{`get secret mine -o go-template='{{ index .data "k.v" | base64decode }}'`}, []string{"claim"}},
		{"jobs.enabled=true,jobs.ingress.enabled=true,jobs.ingress.host=jobs.example.com,jobs.ingress.tlsSecret=tls", []string{"https://jobs.example.com/jobs"}, nil},
		{"jobs.enabled=true,shift.enabled=true,shift.replicas=1,shift.persistence.enabled=true", []string{"and the claims lw-leastwatt-jobs and lw-leastwatt-shift"}, nil},
		{"shift.enabled=true,shift.replicas=1,shift.persistence.enabled=true", []string{"and the claim lw-leastwatt-shift"}, nil},
		{"endpointSelector.enabled=true", []string{"--set endpointSelector.cleanup=true before you remove"}, []string{"rollout status"}},
		{"endpointSelector.enabled=true,endpointSelector.cleanup=true", []string{"rollout status ds/lw-leastwatt-endpoint-selector"}, []string{"before you remove"}},
	} {
		t.Run(c.set, func(t *testing.T) {
			out, err := h.run(t.Context(), "install", "lw", path, "--dry-run=client", "--namespace="+namespace, "--set="+c.set)
			if err != nil {
				t.Fatal(err)
			}
			_, notes, ok := strings.Cut(out, "\nNOTES:\n")
			if !ok {
				t.Fatalf("no notes: %s", out)
			}
			for _, s := range c.says {
				if !strings.Contains(notes, s) {
					t.Errorf("it does not say %q:\n%s", s, notes)
				}
			}
			for _, s := range c.not {
				if strings.Contains(notes, s) {
					t.Errorf("it says %q:\n%s", s, notes)
				}
			}
		})
	}
}
