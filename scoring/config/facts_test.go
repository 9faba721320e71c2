package config

import (
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

func TestFactsOfServers(t *testing.T) {
	c, err := Parse("site.yaml", []byte(`
models:
- kind: linear
  idleWatts: 100
  peakWatts: 200
  offWatts: 4
  standbyWatts: 9
  wake: {watts: 180, seconds: 200}
  gpu: {count: 8, idleWatts: 50, activeWatts: 300, limitWatts: 320}
scoring: {switchOff: true, wakeHorizon: 30m}
`))
	if err != nil {
		t.Fatal(err)
	}
	if s, ok := c.NewScorer().(scoring.Waking); !ok || s.Horizon != 30*time.Minute || !s.SwitchOff || s.Power != (scoring.EnvelopePower{SwitchOff: true}) {
		t.Errorf("scorer is %+v", c.NewScorer())
	}
	for state, want := range map[string]scoring.Spec{"": {}, "off": {Off: true, OffPower: 4}, "standby": {Off: true, OffPower: 9}} {
		spec, err := c.Bind(scoring.Machine{Name: "n", Cores: 8, Labels: map[string]string{PowerStateLabel: state}})
		if err != nil || spec.Wake != 36_000 || spec.Off != want.Off || spec.Off && spec.OffPower != want.OffPower {
			t.Errorf("a machine that is %q: %+v, %v", state, spec, err)
		}
		w, err := spec.Predictor.Predict(t.Context(), power.State{Utilization: 0.5, Inputs: map[string]float64{"gpu_utilization_ratio": 1}})
		if err != nil || w != 150+8*320 {
			t.Errorf("predicted %v, %v", w, err)
		}
	}
	for text, want := range map[string]string{
		"gpu: {count: 8}": "gpu.idleWatts",
		"gpu: {count: 1.5, idleWatts: 1, activeWatts: 1}": "gpu.count",
		"wake: {watts: 1}":                         "wake.seconds",
		"standbyWatts: -1":                         "standbyWatts",
		"wake: {watts: 1, seconds: 1, minutes: 3}": "wake.minutes: there is no such field",
		"gpu: {count: 1, idleWatts: 1, activeWatts: 1}, learn: true": "do not learn",
	} {
		kind := "linear, idleWatts: 1, peakWatts: 2"
		if strings.Contains(text, "learn") {
			kind = "prior"
		}
		if _, err := Parse("site.yaml", []byte("models: [{kind: "+kind+", "+text+"}]")); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v: want one with %q", text, err, want)
		}
	}
}
