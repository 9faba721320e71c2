package grid

import (
	"errors"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
)

// LongestPeace is for how long at most a provider is left alone that answers 429 without saying until when, as one whose quota is used up.
const LongestPeace = 6 * time.Hour

// A peace is for how long a provider wants to be left alone.
type peace struct {
	mu    sync.Mutex
	until time.Time // guarded by mu
	why   error     // the provider's; guarded by mu
	tired int       // how often in a row it answered that there were too many requests, and not until when; guarded by mu
}

// wanted returns why the provider is not asked now; nil: it may be.
func (p *peace) wanted(now time.Time) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now.Before(p.until) {
		return left{p.why, p.until.Sub(now)}
	}
	return nil
}

// left is the error by which a provider asked to be left alone, some time later.
type left struct {
	error
	d time.Duration
}

// Unwrap returns the provider's error.
func (l left) Unwrap() error { return l.error }

// RetryAfter returns how much is left of the time that it asked for.
func (l left) RetryAfter() time.Duration { return l.d }

// heed takes over what the provider's last answer says of it, and where that tells no time waits for an interval, then for two, four and so on.
func (p *peace) heed(now time.Time, interval time.Duration, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	after, crowded := retryAfter(err)
	switch {
	case err == nil:
		p.tired = 0
	case crowded && after <= 0:
		after = min(interval<<min(p.tired, 20), LongestPeace)
		p.tired++
	}
	if until := now.Add(after); after > 0 && until.After(p.until) {
		p.until, p.why = until, err
	}
}

// retryAfter returns for how long an error asks for peace, and whether it says that there were too many requests.
func retryAfter(err error) (after time.Duration, crowded bool) {
	if all, ok := errors.AsType[failures](err); ok {
		return all.retryAfter()
	}
	var wait interface{ RetryAfter() time.Duration }
	if errors.As(err, &wait) {
		after = wait.RetryAfter()
	}
	status, ok := errors.AsType[*boundedhttp.StatusError](err)
	return after, ok && status.Code == http.StatusTooManyRequests
}

// failures are the errors of several sources of which none gave an answer. What asks for peace, or says that there is no such thing, holds for all only where
// each says so: one that was away might have known.
type failures []error

// Error implements error.
func (f failures) Error() string { return errors.Join(f...).Error() }

// Is tells whether any of the errors is target; that there is no such thing, all must say.
func (f failures) Is(target error) bool {
	lasting := func(err error) bool { return errors.Is(err, ErrUnknownZone) || errors.Is(err, ErrUnsupported) }
	if lasting(target) && slices.ContainsFunc(f, func(err error) bool { return !lasting(err) }) {
		return false
	}
	return slices.ContainsFunc(f, func(err error) bool { return errors.Is(err, target) })
}

// As finds the first of the errors that is of target's type.
func (f failures) As(target any) bool {
	for _, err := range f {
		if errors.As(err, target) {
			return true
		}
	}
	return false
}

// RetryAfter returns when the first of the sources may be asked again, 0 if one may be at once.
func (f failures) RetryAfter() time.Duration {
	after, _ := f.retryAfter()
	return after
}

func (f failures) retryAfter() (least time.Duration, crowded bool) {
	for _, err := range f {
		after, c := retryAfter(err)
		if after <= 0 && !c {
			return 0, false
		}
		if crowded = crowded || c; after > 0 && (least == 0 || after < least) {
			least = after
		}
	}
	return least, crowded
}
