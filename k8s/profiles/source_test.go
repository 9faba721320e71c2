package profiles

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors"
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
