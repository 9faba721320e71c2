package grid_test

import (
	"errors"
	"fmt"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A zone is unknown, and a forecast not to be had, where all sources say so: one that is away might know it.
func TestFallbackOfWhichOneIsAway(t *testing.T) {
	one, other := &seer{}, &seer{}
	f, err := grid.NewFallback(one, other)
	if err != nil {
		t.Fatal(err)
	}
	away := errors.New("away")
	for _, none := range []error{grid.ErrUnknownZone, grid.ErrUnsupported} {
		for _, errs := range [][2]error{{none, away}, {away, none}, {none, none}} {
			one.err, other.err = fmt.Errorf("one: %w", errs[0]), fmt.Errorf("other: %w", errs[1])
			_, current := f.Current(t.Context(), "GB")
			_, past := f.History(t.Context(), "GB", time.Now().Add(-time.Hour), time.Now())
			_, future := f.Forecast(t.Context(), "GB", time.Now(), time.Now().Add(time.Hour))
			for _, err := range []error{current, past, future} {
				if errors.Is(err, none) != (errs[0] == errs[1]) {
					t.Errorf("of %v: %v", errs, err)
				}
				if errs[0] != errs[1] && !errors.Is(err, away) {
					t.Errorf("of %v: %v does not tell why", errs, err)
				}
			}
		}
	}
}

// One source that wants peace does not silence the others: what asks for it is all of them.
func TestFallbackOfWhichOneWantsPeace(t *testing.T) {
	full := &boundedhttp.StatusError{Method: "GET", URL: "http://provider", Code: http.StatusTooManyRequests}
	for name, tired := range map[string]error{"until then": throttled{}, "of no known length": full} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				one, other := &seer{}, &seer{}
				one.err, other.err = tired, grid.ErrUnknownZone
				f, err := grid.NewFallback(one, other)
				if err != nil {
					t.Fatal(err)
				}
				c := grid.NewCached(f, grid.CacheOptions{})
				if _, err := c.Current(t.Context(), "FR"); err == nil {
					t.Fatal("known")
				}
				other.err, other.value = nil, 7
				if p, err := c.Current(t.Context(), "GB"); err != nil || p.Value != 7 {
					t.Errorf("the other source knows 7, got %v, error %v", p.Value, err)
				}
				other.err = tired
				if _, err := c.Current(t.Context(), "DE"); err == nil {
					t.Fatal("known")
				}
				asked := one.calls + other.calls
				if _, err := c.Current(t.Context(), "SE"); err == nil || one.calls+other.calls != asked {
					t.Errorf("both want peace and are asked %d times more, error %v", one.calls+other.calls-asked, err)
				}
			})
		})
	}
}

// A time of peace does not begin anew with each question.
func TestCachedTellsWhatIsLeftOfThePeace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := grid.NewCached(&flaky{err: throttled{}}, grid.CacheOptions{})
		for range 3 {
			_, err := c.Current(t.Context(), "GB")
			var wait interface{ RetryAfter() time.Duration }
			if !errors.As(err, &wait) {
				t.Fatalf("error %v", err)
			}
			if d, want := wait.RetryAfter(), 3*time.Hour-time.Since(synctestStart); d != want {
				t.Errorf("after %v it is to be left alone for %v more, want %v", time.Since(synctestStart), d, want)
			}
			time.Sleep(time.Hour) // of the bubble's clock
		}
	})
}

// synctestStart is when a bubble's clock begins.
var synctestStart = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
