package scheduler

import (
	"errors"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors"
)

// A reason is why a node is unknown, as a small number that is cheap to count.
type reason uint8

// The reasons that come from here; the others are those of package sensors.
const (
	otherReason  reason = iota
	notWatched          // the node has just joined
	noModel             // no model is bound to it
	badModel            // its model cannot be used
	missingInput        // its model needs what no sensor gave
	outsideModel        // its model is not valid there, or gave no finite number
	firstOfSensors
)

const reasons = int(firstOfSensors) + 9

var reasonWords = [reasons]string{"other", "not_watched", "no_model", "bad_model", "missing_input", "outside_model",
	"unauthorized", "throttled", "unreachable", "device", "malformed", "unknown_node", "stale", "implausible", "no_reading"}

// String returns the word for metrics.
func (r reason) String() string { return reasonWords[r] }

func reasonOf(err error) reason {
	if err == nil {
		return otherReason
	}
	word := sensors.Reason(err)
	for r := firstOfSensors; int(r) < reasons; r++ {
		if reasonWords[r] == word {
			return r
		}
	}
	switch {
	case errors.Is(err, power.ErrNoModel):
		return noModel
	case errors.Is(err, power.ErrBadModel):
		return badModel
	case errors.Is(err, power.ErrMissingInput):
		return missingInput
	case errors.Is(err, power.ErrDomain), errors.Is(err, power.ErrNotFinite):
		return outsideModel
	}
	return otherReason
}
