package main

import (
	"errors"
	"log/slog"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A teller logs a fault when it comes, becomes another one and has gone, and not in between.
type teller struct {
	log          *slog.Logger
	fault, again string // what is said
	last         grid.Outage
}

func (t *teller) tell(err error) {
	switch t.last.Next(err) {
	case grid.Began:
		t.log.Warn(t.fault, "error", err)
	case grid.Ended:
		t.log.Info(t.again)
	}
}

// err is all that is wrong with an outlook, each fault once.
func (o *Outlook) err() error {
	var errs []error
	seen := make(map[string]bool)
	for _, err := range o.Errs {
		if err != nil && !seen[err.Error()] {
			seen[err.Error()] = true
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}
