package charttest

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	networking "k8s.io/api/networking/v1"

	"github.com/leastwatt/leastwatt/k8s/shift"
)

// Policies go to the program as they are said.
func TestTemplatePolicies(t *testing.T) {
	all, err := render(t, "--set=shift.enabled=true,shift.grid=neso", `--set-json=shift.policies={"default":{"zone":"DE","maxDelay":"12h","duration":"2h","margin":1.5,"wattsPerCore":7.5,"pue":1.2,"dryRun":true},`+
		`"namespaces":{"research":{"budget":{"kWhPerDay":0.5,"gramsPerDay":100,"over":"refuse"}}},"cores":{"DE":64}}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		if text := o.Data["policies.yaml"]; text != "" {
			p, err := shift.ParsePolicies([]byte(text))
			if err != nil || p.Default.PUE != 1.2 || p.Default.MaxDelay.Duration != 12*time.Hour || p.Namespaces["research"].Budget.KWhPerDay != 0.5 || p.Cores["DE"] != 64 {
				t.Errorf("%+v, %v", p, err)
			}
			return
		}
	}
	t.Error("the chart tells the program no policies")
}

// A program may go where its values send it, and no further: to the ports of what WAO and PEAKS left too, where it goes by profiles.
func TestTemplateEgress(t *testing.T) {
	const base, config, left = "443 6443 28282", " 80 8443 9090 28283 8001", " 2020 8501 9290"
	for profiles, more := range map[string]string{"true": left, "false": ""} {
		t.Run("profiles="+profiles, func(t *testing.T) {
			all, err := render(t, append(everything, `--set-json=config={"sensors":{"sources":[{"type":"prometheus","url":"http://prometheus.monitoring:9090/prom","ready":["node-exporter"]},`+
				`{"type":"kepler","url":"http://{{.Address}}:28283/metrics"},{"type":"redfish","perNode":{"n1":{"url":"https://10.0.0.1:8443"},"n2":{"url":"http://10.0.0.2"}}}]},"models":[{"kind":"remote","url":"grpcs://models:8001"}]}`,
				"--set=gateway.extraArgs={-rates=prometheus,-prometheus=http://prometheus.monitoring:9095},shift.extraEnv[0].name=HTTPS_PROXY,shift.extraEnv[0].value=http://proxy:3128",
				`--set-json=jobs.extraArgs=["-a=http://one:91/x,http://two:92"]`,
				"--set=jobsPush.url=http://other-jobs.elsewhere.svc,jobsPush.token.existingSecret=mine,shift.grid=watttime:https://proxy.example:3129/v3,scheduler.metricsServer=false,scheduler.profiles="+profiles+",metricsAdapter.profiles="+profiles)...)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]string{"scheduler": base + config + more, "controller": base + config + left, "metrics-adapter": base + config + more, "gateway": base + config + " 9095",
				"shift": "443 6443 3129 3128", "jobs": "443 6443 8080 91 92", "jobs-push": "8080 80"}
			for _, o := range all {
				if o.Kind != "NetworkPolicy" {
					continue
				}
				component := strings.TrimPrefix(o.Metadata.Name, "lw-leastwatt-")
				if got, may := strings.Contains(string(o.Spec), "623"), strings.Contains(want[component], base); got != may {
					t.Errorf("%s may ask by IPMI: %t, want %t", component, got, may)
				}
				if got, may := egress(t, o), strings.Fields(want[component]); !maps.Equal(got, set(may)) {
					t.Errorf("%s may go to %v, want %v", component, slices.Sorted(maps.Keys(got)), may)
				}
				delete(want, component)
			}
			if len(want) > 0 {
				t.Errorf("no policy of %v", want)
			}
		})
	}
}

// What asks the API server for nothing does not reach it, and providers of the grid are reached where sensors are at other ports.
func TestTemplateEgressOfJobs(t *testing.T) {
	all, err := render(t, `--set-json=networkPolicy={"apiServerPorts":[6443],"sensorPorts":[{"protocol":"TCP","port":9100}]}`,
		"--set=jobs.enabled=true,jobs.kubernetes=false,jobs.nodes=name,jobs.grid=neso,shift.enabled=true,shift.grid=neso")
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range all {
		want := map[string]string{"lw-leastwatt-jobs": "443", "lw-leastwatt-shift": "443 6443"}[o.Metadata.Name]
		if o.Kind != "NetworkPolicy" || want == "" {
			continue
		}
		if got := egress(t, o); !maps.Equal(got, set(strings.Fields(want))) {
			t.Errorf("%s may go to %v, want %s", o.Metadata.Name, slices.Sorted(maps.Keys(got)), want)
		}
	}
}

// egress are the TCP ports that a policy lets its pods reach, but for DNS.
func egress(t *testing.T, o object) map[string]bool {
	t.Helper()
	var spec networking.NetworkPolicySpec
	if err := json.Unmarshal(o.Spec, &spec); err != nil {
		t.Fatal(err)
	}
	ports := make(map[string]bool)
	for _, e := range spec.Egress {
		for _, p := range e.Ports {
			if *p.Protocol == v1.ProtocolTCP && p.Port.IntValue() != 53 {
				ports[p.Port.String()] = true
			}
		}
	}
	return ports
}

func set(all []string) map[string]bool {
	m := make(map[string]bool)
	for _, x := range all {
		m[x] = true
	}
	return m
}
