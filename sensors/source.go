package sensors

import (
	"context"
	"time"
)

// A Reading is one measurement. Its value is finite.
type Reading struct {
	Kind  Kind
	Value float64 // in the unit that Kind names

	// At is when the hardware measured, as far as the protocol tells; otherwise when the answer arrived.
	At time.Time

	// Mean is over how long before At the value is a mean; 0 is a moment, or a time that nobody tells.
	Mean time.Duration

	// Source tells the protocol and the view that gave the value: "redfish:ThermalMetrics".
	Source string
}

// Age returns how old the measurement is at now. A clock ahead of ours gives a negative age.
func (r Reading) Age(now time.Time) time.Duration { return now.Sub(r.At) }

// Middle returns the time that the value tells of best: a mean shows half of what began in the middle.
func (r Reading) Middle() time.Time { return r.At.Add(-max(r.Mean, 0) / 2) }

// A SensorSource reads the current measurements of a node. It leaves out what it lacks, and never puts
// 0 in its place; a kind occurs at most once.
//
// Read is safe for concurrent use and returns when ctx is done. It may return readings and an error
// together: what could be read, and an [*Error] (or several, joined) for what could not. The caller owns
// the slice. A node that the source does not know is an error that wraps [ErrUnknownNode]. No error
// contains a credential.
type SensorSource interface {
	Read(ctx context.Context, node string) ([]Reading, error)
}

// SourceFunc makes a function a [SensorSource].
type SourceFunc func(ctx context.Context, node string) ([]Reading, error)

// Read calls f.
func (f SourceFunc) Read(ctx context.Context, node string) ([]Reading, error) { return f(ctx, node) }

// A BatchSource reads many nodes in one request: a Prometheus query, one exposition of many hosts. The
// [Poller] prefers ReadAll where a source has it. The maps hold an entry for a node that was answered or
// that failed, or both.
type BatchSource interface {
	SensorSource
	ReadAll(ctx context.Context, nodes []string) (map[string][]Reading, map[string]error)
}
