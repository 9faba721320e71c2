package main

import (
	"errors"
	"log/slog"
	"strings"
)

// A teller logs a fault when it comes, becomes another one and has gone, and not in between. Numbers in its text, as of ports and times, make no other one of it.
type teller struct {
	log          *slog.Logger
	fault, again string // what is said
	last         string
}

func (t *teller) tell(err error) {
	is := ""
	if err != nil {
		is = strings.Map(func(r rune) rune {
			if r >= '0' && r <= '9' {
				return -1
			}
			return r
		}, err.Error())
	}
	switch {
	case is == t.last:
	case is == "":
		t.log.Info(t.again)
	default:
		t.log.Warn(t.fault, "error", err)
	}
	t.last = is
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
