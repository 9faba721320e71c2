package profiles_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// The error of a PowerModel that has changed is that of what it says now: the measurements of before tell nothing of it.
func TestErrorOfAChangedModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) {
			return []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.5, At: time.Now(), Source: "test"}, {Kind: sensors.Power, Value: 150, At: time.Now(), Source: "test"}}, nil
		})
		p, err := profiles.New(profiles.Options{Interval: 10 * time.Second, Sources: []sensors.SensorSource{server}})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		set := func(text string, priority int32) {
			p.SetModel(&v1alpha1.PowerModel{ObjectMeta: metav1.ObjectMeta{Name: "m"}, Spec: v1alpha1.PowerModelSpec{JSON: text, Nodes: []string{"n1"}, Priority: priority}})
		}
		report := func() v1alpha1.ModelStatus {
			if m := p.Report("n1").Model; m != nil {
				return *m
			}
			return v1alpha1.ModelStatus{}
		}
		p.Put(scoring.Machine{Name: "n1", Cores: 16})
		set(linear(t, 200, 400), 0)
		time.Sleep(30 * time.Minute)
		before := report()
		if before.Error != "100.0 %" || before.Samples < 150 {
			t.Errorf("half an hour with a model that predicts the double: %+v", before)
		}
		set(linear(t, 200, 400), 1)
		time.Sleep(time.Minute)
		if got := report(); got.Error != before.Error || got.Samples <= before.Samples {
			t.Errorf("another priority of the same model: %+v, was %+v", got, before)
		}
		set(linear(t, 100, 200), 1)
		time.Sleep(5 * time.Minute)
		if got := report(); got.Error != "0.0 %" || got.Samples < 20 || got.Samples > 40 {
			t.Errorf("five minutes with a model that is right: %+v", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
