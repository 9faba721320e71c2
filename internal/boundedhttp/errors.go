package boundedhttp

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

var (
	// ErrTooLarge says that a body was longer than allowed.
	ErrTooLarge = errors.New("answer too large")
	// ErrRedirect says that a redirect or link was not followed.
	ErrRedirect = errors.New("redirect refused")
	// ErrCredentials says that the credentials could not be had, so that nothing was sent.
	ErrCredentials = errors.New("no credentials")
)

// A StatusError is an answer with a status that is no success.
type StatusError struct {
	Method string
	URL    string // without user and query
	Code   int
	After  time.Duration // what Retry-After asked for, 0 if it did not
}

// NewStatusError returns the error of a response.
func NewStatusError(r *http.Response) *StatusError {
	e := &StatusError{Code: r.StatusCode, After: retryAfter(r.Header.Get("Retry-After"), time.Now())}
	if r.Request != nil {
		e.Method, e.URL = r.Request.Method, redact(r.Request.URL)
	}
	return e
}

// Error tells request and status, and nothing of the body, which is the device's.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s %s: status %d %s", e.Method, e.URL, e.Code, http.StatusText(e.Code))
}

// RetryAfter returns how long the endpoint asked to be left alone, 0 if it did not.
func (e *StatusError) RetryAfter() time.Duration { return e.After }

// longest is what Retry-After counts at most: until a quota of a day or month is there again, one question a day is bearable.
const longest = 24 * time.Hour

// retryAfter parses either form of the header. Who must not be silenced for so long by a device that is wrong bounds it further.
func retryAfter(s string, now time.Time) time.Duration {
	var d time.Duration
	if n, err := strconv.Atoi(s); err == nil {
		d = time.Duration(min(max(n, 0), int(longest/time.Second))) * time.Second
	} else if at, err := http.ParseTime(s); err == nil {
		d = at.Sub(now)
	}
	return min(max(d, 0), longest)
}

// Describe returns the error of a request without the URL that [net/http] puts before it, whose query may
// hold a token. The chain below stays.
func Describe(err error) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		return u.Err
	}
	return err
}
