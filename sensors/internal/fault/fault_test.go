package fault_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
)

func TestHTTPErrorsHaveAReason(t *testing.T) {
	for reason, err := range map[string]error{
		"unauthorized": &boundedhttp.StatusError{Code: 403},
		"throttled":    &boundedhttp.StatusError{Code: 503, After: time.Second},
		"device":       &boundedhttp.StatusError{Code: 503},
		"no_reading":   &boundedhttp.StatusError{Code: 404},
		"malformed":    fmt.Errorf("body: %w", boundedhttp.ErrTooLarge),
		"unreachable":  context.DeadlineExceeded,
		"stale":        sensors.ErrStale, // what has a meaning keeps it
		"":             nil,
	} {
		got := fault.HTTP(err)
		if sensors.Reason(got) != reason || !errors.Is(got, err) {
			t.Errorf("HTTP(%v) = %v with reason %q, want reason %q and the cause kept", err, got, sensors.Reason(got), reason)
		}
	}
}
