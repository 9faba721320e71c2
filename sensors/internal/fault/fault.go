// Package fault turns what can go wrong with a request over HTTP into the errors of package sensors, in the
// same way for every back end. Its main function is [HTTP].
package fault

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
)

// HTTP wraps the error of a request made with package boundedhttp in the sensors error that says what it
// means; whatever it does not know came from the network. A RetryAfter method in the chain stays reachable.
func HTTP(err error) error {
	if err == nil || sensors.Reason(err) != "other" {
		return err
	}
	return fmt.Errorf("%w: %w", cause(err), err)
}

func cause(err error) error {
	if s, ok := errors.AsType[*boundedhttp.StatusError](err); ok {
		return Status(s.Code, s.After > 0)
	}
	switch {
	case errors.Is(err, boundedhttp.ErrTooLarge):
		return sensors.ErrMalformed
	case errors.Is(err, boundedhttp.ErrRedirect):
		return sensors.ErrDevice
	case errors.Is(err, boundedhttp.ErrCredentials):
		return sensors.ErrUnauthorized
	}
	return sensors.ErrUnreachable
}

// Status returns the sensors error that a status means; retryAfter tells whether the answer said when to
// come back.
func Status(code int, retryAfter bool) error {
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return sensors.ErrUnauthorized
	case code == http.StatusTooManyRequests || code == http.StatusServiceUnavailable && retryAfter:
		return sensors.ErrThrottled
	case code == http.StatusNotFound || code == http.StatusGone:
		return sensors.ErrNoReading
	}
	return sensors.ErrDevice
}

// Node puts source and node before an error, once.
func Node(source, node string, err error) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*sensors.Error](err); ok {
		return err
	}
	return &sensors.Error{Source: source, Node: node, Err: err}
}
