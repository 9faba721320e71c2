package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/scoring/config"
)

// defaultScheduler is the scheduler as Kubernetes ships it.
func defaultScheduler() contender {
	return contender{name: "default-scheduler"}
}

// leastwattScheduler decides by watts: the two scores that spread pods by their requests are off, all
// others keep their say.
func (h *hardware) leastwattScheduler(folder string) (contender, error) {
	path, err := h.writeConfig(folder, 2*time.Second)
	if err != nil {
		return contender{}, err
	}
	return contender{
		name: "leastwatt",
		config: `profiles:
- schedulerName: leastwatt
  plugins:
    multiPoint:
      enabled: [{name: ` + scheduler.Name + `, weight: 10}]
    score:
      disabled: [{name: NodeResourcesFit}, {name: NodeResourcesBalancedAllocation}]
`,
		args:  []string{"--leastwatt-config=" + path},
		ready: h.allKnown,
	}, nil
}

// benchScheduler is one of the benchmark's schedulers: every node is scored, and nothing but the
// plugin differs between those of a contest. More is added to the profile's pluginConfig.
func benchScheduler(name string, pluginConfig ...string) contender {
	given := slices.DeleteFunc(pluginConfig, func(s string) bool { return s == "" })
	return contender{name: name, config: "percentageOfNodesToScore: 100\nprofiles:\n- schedulerName: " + name + "\n  pluginConfig: [" + strings.Join(given, ", ") + "]\n"}
}

// shadowArgs let the plugin watch only.
const shadowArgs = "{name: " + scheduler.Name + ", args: {mode: shadow}}"

// spreading are the scores that work against the plugin, which the chart and the README have it replace.
var spreading = []string{"NodeResourcesFit", "NodeResourcesBalancedAllocation"}

// withPlugin is a benchmark's scheduler that has the plugin too, with the configuration at a path, and some scores less.
func (h *hardware) withPlugin(path, name string, disabled []string, pluginConfig ...string) contender {
	s := benchScheduler(name, pluginConfig...)
	s.config += "  plugins: {multiPoint: {enabled: [{name: " + scheduler.Name + ", weight: 10}]}"
	if len(disabled) > 0 {
		s.config += ", score: {disabled: [{name: " + strings.Join(disabled, "}, {name: ") + "}]}"
	}
	s.config += "}\n"
	s.args = []string{"--leastwatt-config=" + path}
	s.ready = h.allKnown
	return s
}

// allKnown returns nil when the plugin knows every server: its sensors were read and it has a model.
func (h *hardware) allKnown(ctx context.Context, s *controlplane.Scheduler) error {
	metrics, err := s.Metrics(ctx)
	if err != nil {
		return err
	}
	known := 0.0
	var states []string
	for _, m := range metrics["leastwatt_nodes"].GetMetric() {
		for _, l := range m.GetLabel() {
			states = append(states, fmt.Sprintf("%.0f %s", m.GetGauge().GetValue(), l.GetValue()))
			if l.GetValue() == "known" {
				known = m.GetGauge().GetValue()
			}
		}
	}
	if int(known) != len(h.Names) {
		return fmt.Errorf("of %d servers the plugin has: %s", len(h.Names), strings.Join(states, ", "))
	}
	return nil
}

const hardwareLabel = config.HardwareLabel

// labelValue makes a name fit for a label: letters, digits and dashes.
func labelValue(name string) string {
	return strings.Join(strings.FieldsFunc(name, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9')
	}), "-")
}

// writeConfig writes what the plugin is told: where the sensors are and how often they are read, and that each
// server's model is the published curve of the hardware that its label names. The truth is not in it.
func (h *hardware) writeConfig(folder string, interval time.Duration) (string, error) {
	redfish := source{
		Type: "redfish", User: bmcUser, PasswordFile: "bmc-password", TLS: map[string]string{"caFile": "bmc-ca.crt"},
		PerNode: make(map[string]endpoint),
	}
	kepler := source{Type: "kepler", PerNode: make(map[string]endpoint)}
	for i, name := range h.Names {
		redfish.PerNode[name] = endpoint{h.BMCs[i]}
		kepler.PerNode[name] = endpoint{h.Exporters[i] + "/metrics"}
	}
	path, err := writeSite(folder, interval, redfish, kepler)
	return path, errors.Join(err,
		os.WriteFile(filepath.Join(folder, redfish.TLS["caFile"]), h.PEM, 0o600),
		os.WriteFile(filepath.Join(folder, redfish.PasswordFile), []byte(h.Password), 0o600),
	)
}

// writeBenchConfig is writeConfig for the benchmark: the sensors may be read through Prometheus.
func (h *hardware) writeBenchConfig(folder string, o options) (string, error) {
	if o.sensors == sensorsOfServers {
		return h.writeConfig(folder, o.poll)
	}
	prometheus := source{Type: "prometheus", URL: h.Prometheus, Label: nodeLabel}
	for _, q := range queries {
		prometheus.Queries = append(prometheus.Queries, query{string(q.kind), q.expr})
	}
	return writeSite(folder, o.poll, prometheus)
}

// source is a section of the plugin's file that says where sensors are.
type source struct {
	Type         string              `json:"type"`
	URL          string              `json:"url,omitempty"`
	User         string              `json:"user,omitempty"`
	PasswordFile string              `json:"passwordFile,omitempty"`
	TLS          map[string]string   `json:"tls,omitempty"`
	Label        string              `json:"label,omitempty"`
	Queries      []query             `json:"queries,omitempty"`
	PerNode      map[string]endpoint `json:"perNode,omitempty"`
}

type endpoint struct {
	URL string `json:"url"`
}

type query struct {
	Kind string `json:"kind"`
	Expr string `json:"expr"`
}

func writeSite(folder string, interval time.Duration, sources ...source) (string, error) {
	text, err := yaml.Marshal(map[string]any{
		"sensors": map[string]any{
			"poll":    map[string]string{"interval": interval.String()},
			"sources": sources,
		},
		"models": []map[string]any{{
			"name": "published", "kind": "published", "inlet": "published",
			"speed": 1, // a pod keeps the CPU that it requests busy, on whatever server it runs
		}},
	})
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "leastwatt.yaml")
	return path, os.WriteFile(path, text, 0o600)
}
