package prometheus

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
)

// describe wraps what the API library and the network say.
func describe(err error) error {
	if e, ok := errors.AsType[*v1.Error](err); ok {
		if e.Type == v1.ErrBadResponse {
			return fmt.Errorf("%w: %s", sensors.ErrMalformed, e.Msg)
		}
		return fmt.Errorf("%w: %s: %s", sensors.ErrDevice, e.Type, e.Msg)
	}
	if e, ok := errors.AsType[*exchangeError](err); ok {
		return fault.HTTP(e.err)
	}
	return fmt.Errorf("%w: not an answer of Prometheus' API: %w", sensors.ErrMalformed, err)
}

// transport carries the API library's requests, bounded.
type transport struct{ c *boundedhttp.Client }

// URL implements the library's client.
func (t transport) URL(endpoint string, _ map[string]string) *url.URL {
	u, _ := url.Parse(t.c.Base()) // parsed before
	u.Path += endpoint
	return u
}

// Do implements the library's client. Statuses that carry an answer of the API pass; others are errors.
func (t transport) Do(ctx context.Context, r *http.Request) (*http.Response, []byte, error) {
	resp, err := t.c.HTTP().Do(r.WithContext(ctx))
	if err != nil {
		return nil, nil, &exchangeError{boundedhttp.Describe(err)}
	}
	defer resp.Body.Close()
	api := []int{http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnprocessableEntity, http.StatusNotImplemented}
	if resp.StatusCode/100 != 2 && !slices.Contains(api, resp.StatusCode) {
		return nil, nil, &exchangeError{boundedhttp.NewStatusError(resp)}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, nil, &exchangeError{fmt.Errorf("body: %w", boundedhttp.Describe(err))}
	}
	if resp.StatusCode/100 == 2 {
		if err := wellFormed(body); err != nil {
			return nil, nil, err
		}
	}
	return resp, body, nil
}

// exchangeError is an error of the network or a status, told apart from the library's about the answer.
type exchangeError struct{ err error }

func (e *exchangeError) Error() string { return e.err.Error() }
func (e *exchangeError) Unwrap() error { return e.err }
