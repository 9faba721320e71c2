// Package transport puts a balancing selector into HTTP clients and reverse proxies.
//
// Its main type is [Transport], an [http.RoundTripper] that sends each request to the endpoint that the
// selector picks.
package transport

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/leastwatt/leastwatt/balancing"
)

// ErrNoEndpoint says that a Service has no endpoint to send a request to.
var ErrNoEndpoint = errors.New("no endpoint")

// Transport sends requests to the endpoints of a Selector. It replaces scheme and host of the URL and keeps
// the path and the Host header. It retries nothing.
type Transport struct {
	// Selector picks; required.
	Selector *balancing.Selector[*url.URL]

	// Base sends; nil means [http.DefaultTransport].
	Base http.RoundTripper

	// Key names whom a request belongs to, for pickers with affinity; nil means nobody.
	Key func(*http.Request) uint64
}

// RoundTrip implements [http.RoundTripper]. The request is over, for pickers that track it, when the body of
// the response is closed.
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	key := uint64(0)
	if t.Key != nil {
		key = t.Key(r)
	}
	choice, ok := t.Selector.Pick(key)
	if !ok {
		if r.Body != nil {
			_ = r.Body.Close() // a RoundTripper closes the body, whatever comes
		}
		return nil, fmt.Errorf("%s %s: %w", r.Method, r.URL.Redacted(), ErrNoEndpoint)
	}
	out := r.Clone(r.Context())
	if out.Host == "" {
		out.Host = r.URL.Host
	}
	out.URL.Scheme, out.URL.Host = choice.Endpoint.Scheme, choice.Endpoint.Host
	base := t.Base
	if base == nil {
		base = http.DefaultTransport
	}
	resp, err := base.RoundTrip(out)
	if err != nil {
		choice.Done()
		return nil, err
	}
	b := &body{ReadCloser: resp.Body, done: sync.OnceFunc(choice.Done)}
	if w, ok := resp.Body.(io.Writer); ok { // a switched protocol stays writable
		resp.Body = &duplex{body: b, Writer: w}
	} else {
		resp.Body = b
	}
	return resp, nil
}

type body struct {
	io.ReadCloser
	done func()
}

func (b *body) Close() error {
	b.done()
	return b.ReadCloser.Close()
}

type duplex struct {
	*body
	io.Writer
}
