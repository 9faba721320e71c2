package main

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors"
	sensorconfig "github.com/leastwatt/leastwatt/sensors/config"
)

// The plugin's file has all it needs and not a word of the truth: each server's model is the published
// curve of its hardware, which is not quite what the server draws, and no password stands in it.
func TestWriteConfig(t *testing.T) {
	fleet := mustFleet(t, 12, 1)
	h, err := startHardware(newPlant(fleet, 1))
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	path, err := h.writeConfig(t.TempDir(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil || strings.Contains(string(text), h.Password) {
		t.Fatalf("the file holds the password (%v)", err)
	}
	c, err := config.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := range fleet {
		s := &fleet[i]
		spec, err := c.Bind(scoring.Machine{Name: s.name, Labels: s.node().Labels, Cores: s.cores()})
		if err != nil {
			t.Fatalf("%s: %v", s.name, err)
		}
		if spec.Capacity != (power.Capacity{Cores: s.cores(), Speed: 1}) {
			t.Errorf("%s: capacity %+v", s.name, spec.Capacity)
		}
		inlet := referenceInlet
		got, err := spec.Predictor.Predict(t.Context(), power.State{Utilization: 0.5, InletTemp: &inlet})
		if want := s.curve.At(0.5); err != nil || got != want {
			t.Errorf("%s: the model says %v (%v), its hardware's published curve %v", s.name, got, err, want)
		}
		if got == s.watts(0.5) {
			t.Errorf("%s: the model is the truth", s.name)
		}
	}
	if mode, err := os.Stat(filepath.Join(filepath.Dir(path), "bmc-password")); err != nil || mode.Mode().Perm()&0o077 != 0 {
		t.Errorf("the password is readable by others: %v, %v", mode, err)
	}
}

// A password is new in every run.
func TestPassword(t *testing.T) {
	if a, b := newPassword(), newPassword(); a == b || len(a) < 20 {
		t.Errorf("passwords %q and %q", a, b)
	}
}

// What the file describes can be read: inlet temperature, power and utilization of every server.
func TestSensorsAnswer(t *testing.T) {
	fleet := mustFleet(t, 3, 1)
	p := newPlant(fleet, 1)
	h, err := startHardware(p)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	path, err := h.writeConfig(t.TempDir(), time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c, err := sensorconfig.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	set, err := c.Build(sensorconfig.BuildOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer set.Close(context.Background())
	for i := range fleet {
		readings, err := set.Source.Read(t.Context(), fleet[i].name)
		if err != nil {
			t.Fatal(err)
		}
		got := map[sensors.Kind]float64{}
		for _, r := range readings {
			got[r.Kind] = r.Value
		}
		if v := got[sensors.Power]; v < 0.9*float64(fleet[i].watts(0)) || v > 1.1*float64(fleet[i].watts(0)) {
			t.Errorf("%s: %v W, idle it draws %v", fleet[i].name, v, fleet[i].watts(0))
		}
		if v := got[sensors.InletTemp]; v < float64(fleet[i].inlet)-2 || v > float64(fleet[i].inlet)+2 {
			t.Errorf("%s: inlet %v °C, truly %v", fleet[i].name, v, fleet[i].inlet)
		}
		if v, ok := got[sensors.CPUUtilization]; !ok || v != 0 {
			t.Errorf("%s: utilization %v (%v), want 0", fleet[i].name, v, ok)
		}
	}
}
