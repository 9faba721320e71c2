package profiles

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// The error of a sensor that cannot be made is of its protocol, whatever the profile calls it, as those of one that can be
// made are: who adds up what all Keplers tell must know that one is missing.
func TestErrorsOfWhatCannotBeMade(t *testing.T) {
	p, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	p.SetProfile(&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: v1alpha1.NodeProfileSpec{
		Sensors: []v1alpha1.Sensor{{Name: "watts", Type: "kepler", URL: "https://n:28282/metrics", SecretName: "kepler"}}}})
	_, err = reader{p}.Read(t.Context(), "n")
	if e, ok := errors.AsType[*sensors.Error](err); !ok || e.Source != "kepler" || e.Node != "n" || !errors.Is(err, sensors.ErrUnauthorized) {
		t.Errorf("the error is %v: want one of source kepler", err)
	}
}

// A sensor is read at its interval by a program whose own is the same, and whose poller comes up to a tenth sooner.
func TestIntervalOfSensor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(Options{})
		if err != nil {
			t.Fatal(err)
		}
		n := p.newSource("n", &v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{{Type: "kepler", URL: "http://n:28282/metrics", Interval: &metav1.Duration{Duration: 30 * time.Second}}}}).probes[0]
		reads := 0
		n.from = sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) {
			reads++
			return []sensors.Reading{{Kind: sensors.Power, Value: float64(reads)}}, nil
		})
		for i, x := range []struct {
			wait time.Duration
			want float64
		}{{0, 1}, {26 * time.Second, 1}, {time.Second, 2}, {27 * time.Second, 3}, {10 * time.Second, 3}, {20 * time.Second, 4}} {
			time.Sleep(x.wait)
			if r, err := n.Read(t.Context(), "n"); err != nil || r[0].Value != x.want {
				t.Errorf("look %d gives read %v, %v; want %v", i, r, err, x.want)
			}
		}
	})
}

// What a Kepler told of pods while it stood in for another sensor is forgotten when it does so no more: it would be stale for
// an hour, and no sum over a namespace complete.
func TestPodsOfAKeplerThatRests(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `kepler_node_cpu_watts{zone="package"} 50
kepler_pod_cpu_watts{pod_name="web",pod_namespace="shop",state="running",zone="package"} 10
`)
	}))
	defer s.Close()
	pods := new(kepler.Pods)
	p, err := New(Options{Pods: pods})
	if err != nil {
		t.Fatal(err)
	}
	p.SetProfile(&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n"}, Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{
		{Type: "redfish", URL: "https://n", Fallback: []string{"kepler"}}, {Type: "kepler", URL: s.URL}}}})
	answers := false
	p.profile("n").source.probes[0].from = sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
		if !answers {
			return nil, &sensors.Error{Source: "redfish", Node: node, Err: sensors.ErrUnreachable}
		}
		return []sensors.Reading{{Kind: sensors.Power, Value: 100, At: time.Now(), Source: "redfish"}}, nil
	})
	for i, told := range []int{1, 0, 1} {
		answers = told == 0
		if _, err := (reader{p}).Read(t.Context(), "n"); answers && err != nil {
			t.Fatal(err)
		}
		if got := len(pods.All()); got != told {
			t.Errorf("after read %d, pods of %d nodes are known, want %d", i, got, told)
		}
	}
}
