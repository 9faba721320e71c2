package sensors

import (
	"errors"
	"fmt"
)

// What callers act on. An [*Error] wraps one of them.
var (
	// ErrUnknownNode says that the source has no such node.
	ErrUnknownNode = errors.New("unknown node")
	// ErrUnreachable says that the device did not answer: refused, reset, timed out.
	ErrUnreachable = errors.New("unreachable")
	// ErrUnauthorized says that the device refused the credentials.
	ErrUnauthorized = errors.New("unauthorized")
	// ErrThrottled says that the device asked to be asked less often.
	ErrThrottled = errors.New("throttled")
	// ErrDevice says that the device answered that it failed: a status such as 500, an error code.
	ErrDevice = errors.New("device error")
	// ErrMalformed says that the answer could not be understood, or was larger than allowed.
	ErrMalformed = errors.New("malformed answer")
	// ErrNoReading says that the device answered but measures none of what was asked.
	ErrNoReading = errors.New("no reading")
	// ErrStale says that a reading is older than allowed, by the hardware's time.
	ErrStale = errors.New("stale reading")
	// ErrImplausible says that a reading was refused: out of range, a jump, a stuck sensor, a clock in the future.
	ErrImplausible = errors.New("implausible reading")
)

// Error is a failed read of one node: which source, which node, which kind where it is known, and why.
type Error struct {
	Source string // "redfish", "ipmi", …
	Node   string
	Kind   Kind // empty when the whole read failed
	Err    error
}

// Error tells source, node and cause, and no credential.
func (e *Error) Error() string {
	if e.Kind == "" {
		return fmt.Sprintf("%s: node %q: %v", e.Source, e.Node, e.Err)
	}
	return fmt.Sprintf("%s: node %q: %s: %v", e.Source, e.Node, e.Kind, e.Err)
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Reason returns a short, stable word for metrics labels: "unreachable", "stale", …; "other" for an error
// that wraps none of this package's and "" for nil.
func Reason(err error) string {
	if err == nil {
		return ""
	}
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.word
		}
	}
	return "other"
}

var reasons = [...]struct {
	err  error
	word string
}{
	{ErrUnauthorized, "unauthorized"},
	{ErrThrottled, "throttled"},
	{ErrUnreachable, "unreachable"},
	{ErrDevice, "device"},
	{ErrMalformed, "malformed"},
	{ErrUnknownNode, "unknown_node"},
	{ErrStale, "stale"},
	{ErrImplausible, "implausible"},
	{ErrNoReading, "no_reading"},
}
