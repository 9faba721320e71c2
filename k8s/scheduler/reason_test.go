package scheduler

import (
	"errors"
	"fmt"
	"testing"

	"github.com/leastwatt/leastwatt/sensors"
)

// Metrics tell failures of a sensor apart by the words of package sensors.
func TestReasonsOfSensorsKeepTheirWords(t *testing.T) {
	for _, err := range []error{sensors.ErrUnauthorized, sensors.ErrThrottled, sensors.ErrUnreachable, sensors.ErrDevice, sensors.ErrMalformed,
		sensors.ErrUnknownNode, sensors.ErrStale, sensors.ErrImplausible, sensors.ErrNoReading} {
		want := sensors.Reason(err)
		if got := reasonOf(fmt.Errorf("node: %w", err)).String(); got != want {
			t.Errorf("%v is counted as %q: want %q", err, got, want)
		}
	}
	if got := reasonOf(errors.New("own")).String(); got != "other" {
		t.Errorf("an own error is counted as %q", got)
	}
}
