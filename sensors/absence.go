package sensors

import (
	"fmt"
	"time"
)

// The three ways in which a reading is not there, each with what is known of the cause.

func absent(cause error) error {
	if cause == nil {
		return ErrNoReading
	}
	return fmt.Errorf("%w: %w", ErrNoReading, cause)
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
