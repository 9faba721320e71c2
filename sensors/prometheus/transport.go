package prometheus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
)

// describe wraps what the network and Prometheus say.
func describe(err error) error {
	if e, ok := errors.AsType[*exchangeError](err); ok {
		return fault.HTTP(e.err)
	}
	if e, ok := errors.AsType[*apiError](err); ok {
		return fmt.Errorf("%w: %w", sensors.ErrDevice, e)
	}
	return fmt.Errorf("%w: not an answer of Prometheus' API to an instant query: %w", sensors.ErrMalformed, err)
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
	resp, body, err := t.exchange(ctx, r, 0)
	if err == nil && resp.StatusCode/100 == 2 {
		err = wellFormed(body)
	}
	if err != nil {
		return nil, nil, err
	}
	return resp, body, nil
}

// exchange is Do without a look at the body, which is expected to have about so many bytes.
func (t transport) exchange(ctx context.Context, r *http.Request, size int) (*http.Response, []byte, error) {
	resp, err := t.c.HTTP().Do(r.WithContext(ctx))
	if err != nil {
		return nil, nil, &exchangeError{boundedhttp.Describe(err)}
	}
	defer resp.Body.Close()
	api := []int{http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusUnprocessableEntity, http.StatusNotImplemented}
	if resp.StatusCode/100 != 2 && !slices.Contains(api, resp.StatusCode) {
		return nil, nil, &exchangeError{boundedhttp.NewStatusError(resp)}
	}
	var body bytes.Buffer
	body.Grow(size + bytes.MinRead)
	if _, err := body.ReadFrom(resp.Body); err != nil {
		return nil, nil, &exchangeError{fmt.Errorf("body: %w", boundedhttp.Describe(err))}
	}
	return resp, body.Bytes(), nil
}

// query asks an instant query: by POST, or by GET where a proxy allows nothing else. It calls each for every series.
func (t transport) query(ctx context.Context, text, label string, size *atomic.Int64, each func(*point)) error {
	form := url.Values{"query": {text}, "time": {strconv.FormatFloat(float64(time.Now().UnixMilli())/1000, 'f', -1, 64)}}.Encode()
	u := t.c.Base() + "/api/v1/query"
	r, err := http.NewRequest(http.MethodPost, u, strings.NewReader(form))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header["Idempotency-Key"] = nil // it is one: net/http may send it again where a kept connection was closed
	expected := int(size.Load())
	resp, body, err := t.exchange(ctx, r, expected+expected/8)
	if err == nil && (resp.StatusCode == http.StatusMethodNotAllowed || resp.StatusCode == http.StatusNotImplemented) {
		if r, err = http.NewRequest(http.MethodGet, u+"?"+form, nil); err != nil {
			return err
		}
		resp, body, err = t.exchange(ctx, r, expected+expected/8)
	}
	if err != nil {
		return err
	}
	size.Store(int64(len(body)))
	err = readVector(body, label, each)
	if _, ok := errors.AsType[*apiError](err); !ok && resp.StatusCode/100 != 2 {
		return &exchangeError{boundedhttp.NewStatusError(resp)}
	}
	return err
}

// exchangeError is an error of the network or a status, told apart from the library's about the answer.
type exchangeError struct{ err error }

func (e *exchangeError) Error() string { return e.err.Error() }
func (e *exchangeError) Unwrap() error { return e.err }
