package sensors

import (
	"fmt"
	"time"
)

// The three ways in which a reading is not there, each with what is known of the cause.

// absent does not name the node twice: the cause of a failed read does.
func absent(n *NodeReadings, kind Kind) error {
	if n.Err == nil {
		return &Error{Source: "snapshot", Node: n.Node, Kind: kind, Err: ErrNoReading}
	}
	return fmt.Errorf("%w of %s: %w", ErrNoReading, kind, n.Err)
}

func staleBy(age, limit time.Duration, cause error) error {
	age = age.Round(time.Second)
	if cause == nil {
		return fmt.Errorf("%w: measured %v ago, at most %v allowed", ErrStale, age, limit)
	}
	return fmt.Errorf("%w: measured %v ago, at most %v allowed; last read: %w", ErrStale, age, limit, cause)
}

func ahead(by time.Duration) error {
	return fmt.Errorf("%w: its clock is %v ahead of ours", ErrImplausible, by.Round(time.Second))
}
