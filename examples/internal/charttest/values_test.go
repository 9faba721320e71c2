package charttest

import (
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// Values that mean nothing are refused before anything is installed.
func TestValuesAreChecked(t *testing.T) {
	for set, want := range map[string]string{
		"scheduler.repicas=3":                                                              "repicas",
		"scheduler.mode=off":                                                               "mode",
		"scheduler.clientConnection.qps=0":                                                 "qps",
		"scheduler.clientConnection.burst=1.5":                                             "burst",
		"shift.policies.default.pue=1.2":                                                   "pue",
		"shift.policies.namespaces.a.zon=DE":                                               "zon",
		"shift.policies.default.budget.over=stop":                                          "over",
		"metricsAdapter.tls.injectCAFrom=adapter":                                          "injectCAFrom",
		"metricsAdapter.tls.injectCAFrom=a/adapter":                                        "existingSecret",
		"scheduler.args.mode=shadow":                                                       "args",
		"scheduler.args.podUsageAssumtion=1":                                               "podUsageAssumtion",
		"scheduler.args.podUsageAssumption=half":                                           "podUsageAssumption",
		"scheduler.args.podUsageAssumption=0.0":                                            "podUsageAssumption",
		"scheduler.args.podUsageAssumption=10.5":                                           "podUsageAssumption",
		"scheduler.args.gpuUsageAssumption=1.5":                                            "gpuUsageAssumption",
		"scheduler.args.defaultPodCPU=much":                                                "defaultPodCPU",
		"scheduler.args.keepDecisions=0.5":                                                 "keepDecisions",
		"scheduler.powerCap.args.caps[0].name=a,scheduler.powerCap.args.caps[0].watts=1kW": "watts",
		"config.sensor={}":                                                                 "config",
		"secrets={UPPER}":                                                                  "secrets",
		"profileSecrets.names={UPPER}":                                                     "names",
		"profileSecrets.namespace=a/b":                                                     "namespace",
		"metricsAdapter.securePort=443":                                                    "securePort",
		"controller.compatibility.peaksConfigMap=nobody":                                   "peaksConfigMap",
		"monitoring.podMonitors.interval=soon":                                             "interval",
		"config.goal={}":                                                                   "config",
		"endpointSelector.clenup=true":                                                     "clenup",
		"gateway.metricsPort=0":                                                            "metricsPort",
		"scheduler.powerCap.enabled=true":                                                  "caps",
		"jobs.enabled=true,jobs.kubernetes=false":                                          "nodes",
		"jobs.persistence.accessModes={ReadWriteMany}":                                     "accessModes",
		"shift.enabled=true,shift.persistence.enabled=true":                                "shift.replicas",
		"scheduler.args.gpuResources={cpu}":                                                "gpuResources",
		"shift.persistence.accessModes={ReadWriteMany}":                                    "accessModes",
		"jobs.ingress.enabled=true":                                                        "host",
		"jobs.port=80":                                                                     "port",
		"jobsPush.scaphandre=ftp://n1":                                                     "scaphandre",
		"commonLabels.a=1":                                                                 "commonLabels",
		`scheduler.podLabels.app\.kubernetes\.io/name=x`:                                   "podLabels",
		"image.digests.scheduler=latest":                                                   "digests",
		"image.digests.kubelet=sha256:0":                                                   "kubelet",
		"controller.priorityClassName=High":                                                "priorityClassName",
		"jobsPush.enabled=true":                                                            "jobsPush.url",
		"scheduler.extraProfiles[0].mode=shadow":                                           "schedulerName",
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].wait=1":     "wait",
		"scheduler.extraProfiles[0].schedulerName=leastwatt":                               `two profiles have the schedulerName "leastwatt"`,
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].args.x=1":   "x",
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].objective.minimize=grams,existingConfigMap=mine":                    "args.config: /etc/leastwatt/KEY",
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].objective.minimize=grams,scheduler.extraProfiles[0].args.config=/a": "leave one out",
		"scheduler.extraProfiles[0].schedulerName=a,scheduler.extraProfiles[0].powerCap.enabled=true":                                              "caps",
		"scheduler.decisionsPort=10259":                                         "scheduler.decisionsPort and scheduler.securePort are both 10259",
		"controller.enabled=true,controller.healthPort=8080":                    "controller.healthPort and controller.metricsPort are both 8080",
		"shift.enabled=true,shift.webhook.enabled=true,shift.webhook.port=8081": "shift.healthPort and shift.webhook.port are both 8081",
		"image.tag=a b": "tag",
		"image=null":    "missing property 'image'", "scheduler=null": "missing property 'scheduler'", "scheduler.powerCap=null": "missing property 'powerCap'", "networkPolicy.from=null": "missing property 'from'",
		"jobsPush.enabled=true,jobsPush.url=https://a.b": "existingSecret",
	} {
		if _, err := render(t, "--set="+set); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want an error about %s", set, err, want)
		}
	}
	if _, err := render(t, "--set=metricsAdapter.enabled=true,metricsAdapter.tls.existingSecret=mine"); err == nil || !strings.Contains(err.Error(), "caBundle") {
		t.Errorf("a certificate without its authority: %v", err)
	}
	if _, err := render(t, "--set=shift.enabled=true,shift.webhook.port=8081,scheduler.enabled=false"); err != nil {
		t.Errorf("the port of what does not listen: %v", err)
	}
}

// Values of a release that an older chart made, which helm upgrade --reuse-values takes, do not have what came since.
func TestTemplateWithValuesOfAnOlderChart(t *testing.T) {
	c, _ := schedulerConfig(t, append(everything, "--set=profileSecrets=null,scheduler.clientConnection=null,scheduler.spreadRate.args=null,scheduler.args=null,scheduler.extraProfiles=null,metricsAdapter.tls.injectCAFrom=null,"+
		"commonLabels=null,extraVolumes=null,extraVolumeMounts=null,image.digests=null,metricsAdapter.podDisruptionBudget=null,metricsAdapter.replicas=2,controller.podLabels=null,controller.podAnnotations=null,"+
		"controller.extraEnv=null,controller.topologySpreadConstraints=null,controller.priorityClassName=null")...)
	if c.ClientConnection.QPS != 0 || c.ClientConnection.Burst != 0 {
		t.Errorf("the rate is %v: want none, so that the scheduler takes its own", c.ClientConnection)
	}
}

// What programs read in their file can be said in the chart's values, and nothing else.
func TestConfigHasTheSectionsOfTheFile(t *testing.T) {
	sections := func(file string, at ...string) []string {
		text, err := os.ReadFile(filepath.Join("..", "..", "..", filepath.FromSlash(file)))
		if err != nil {
			t.Fatal(err)
		}
		var schema map[string]any
		if err := json.Unmarshal(text, &schema); err != nil {
			t.Fatal(err)
		}
		for _, name := range append(at, "properties") {
			schema, _ = schema[name].(map[string]any)
		}
		return slices.Sorted(maps.Keys(schema))
	}
	values, file := sections("k8s/chart/values.schema.json", "properties", "config"), sections("scoring/config/schema.json")
	if len(file) < 3 || !slices.Equal(values, file) {
		t.Errorf("values take the sections %v, the file has %v", values, file)
	}
}

// The two umbrellas: all in one cluster, and a central job service with nodes elsewhere.
func TestValuesFiles(t *testing.T) {
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	nodes := filepath.Join(t.TempDir(), "nodes.csv")
	if err := os.WriteFile(nodes, []byte("name,cpu,mem,ci_profile,site_id,peak_power_w\nn1,32,128,static:300,east,400\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		args []string
		want map[string]string // kinds of what runs, by component
	}{
		{"local", []string{"--values=" + filepath.Join(path, "values-local.yaml")}, map[string]string{"scheduler": "Deployment", "controller": "Deployment", "metrics-adapter": "Deployment",
			"shift": "Deployment", "jobs": "Deployment", "jobs-push": "DaemonSet", "endpoint-selector": "DaemonSet"}},
		{"remote", []string{"--values=" + filepath.Join(path, "values-remote.yaml"), "--set=jobs.ingress.host=jobs.example.com,jobs.ingress.tlsSecret=jobs-tls", "--set-file=jobs.nodes=" + nodes},
			map[string]string{"jobs": "Deployment"}},
		{"nodes of remote", []string{"--set=scheduler.enabled=false,jobsPush.enabled=true,jobsPush.url=https://jobs.example.com,jobsPush.token.existingSecret=jobs-token"},
			map[string]string{"jobs-push": "DaemonSet"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			all, err := render(t, c.args...)
			if err != nil {
				t.Fatal(err)
			}
			got := make(map[string]string)
			for _, o := range all {
				if component, ok := strings.CutPrefix(o.Metadata.Name, "lw-leastwatt-"); ok && (o.Kind == "Deployment" || o.Kind == "DaemonSet") {
					got[component] = o.Kind
				}
				if c.name == "remote" && strings.HasSuffix(o.Kind, "RoleBinding") {
					t.Errorf("the central service has rights in its cluster: %s %s", o.Kind, o.Metadata.Name)
				}
			}
			if !reflect.DeepEqual(got, c.want) {
				t.Errorf("it runs %v, want %v", got, c.want)
			}
		})
	}
}
