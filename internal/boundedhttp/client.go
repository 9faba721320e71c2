// Package boundedhttp asks one HTTP endpoint, with a limit on everything that a faulty or hostile endpoint
// could make large: the time, the body after decompression, headers, connections, redirects.
//
// Its main type is [Client]. Credentials reach the configured origin (scheme, host and port) and nothing
// else. No error of this package contains a credential or a query string.
package boundedhttp

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Options bound a [Client]. The zero value works.
type Options struct {
	// Timeout limits one exchange from connecting to the last byte of the body; 0 means 10 seconds.
	Timeout time.Duration

	// MaxBytes limits a body after decompression; 0 means 4 MiB.
	MaxBytes int64

	// TLS is cloned; nil verifies against the system's roots. [TLS.Config] makes one.
	TLS *tls.Config

	// Auth authorizes requests to the endpoint's own origin; nil sends none.
	Auth Auth

	// Public says that the endpoint is one of the internet, where credentials go over https alone: http is for loopback
	// and Services of a cluster (*.svc), where a stand-in or a proxy may be.
	Public bool

	// MaxConns limits connections to the endpoint; 0 means 4.
	MaxConns int

	// IdleTimeout is how long an unused connection is kept; 0 means 90 seconds.
	IdleTimeout time.Duration

	// Redirects limits how many redirects within the origin are followed; 0 means 3, negative none. A
	// redirect to another origin is always refused.
	Redirects int

	// Proxy chooses a proxy; nil uses none, whatever the environment says.
	Proxy func(*http.Request) (*url.URL, error)
}

// A Client asks one endpoint. It is safe for concurrent use.
type Client struct {
	base *url.URL
	http *http.Client
	idle func()
}

// New returns a client for the endpoint at base: scheme, host and optionally a path that requests are
// relative to. It connects to nothing.
func New(base string, o Options) (*Client, error) {
	u, err := url.Parse(base)
	if err != nil {
		return nil, errors.New("endpoint: not a URL") // the parser's own error quotes what may hold a password
	}
	switch {
	case u.User != nil:
		return nil, fmt.Errorf("endpoint %s: take the user and password out of the URL and give them as credentials", redact(u))
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("endpoint %s: the scheme is %q, want http or https", redact(u), u.Scheme)
	case u.Host == "":
		return nil, fmt.Errorf("endpoint %s: no host", redact(u))
	case o.Public && u.Scheme == "http" && !near(u.Hostname()):
		return nil, fmt.Errorf("endpoint %s: credentials would go over the wire in the clear: give an https URL; http is for loopback and Services (*.svc)", redact(u))
	}
	u.Path = strings.TrimSuffix(u.Path, "/")
	u.RawPath, u.RawQuery, u.Fragment = "", "", ""
	conns := cmp.Or(o.MaxConns, 4)
	t := &http.Transport{
		Proxy:                  o.Proxy,
		DialContext:            (&net.Dialer{Timeout: cmp.Or(o.Timeout, defaultTimeout), KeepAlive: 30 * time.Second}).DialContext,
		TLSHandshakeTimeout:    cmp.Or(o.Timeout, defaultTimeout),
		MaxConnsPerHost:        conns,
		MaxIdleConnsPerHost:    conns,
		IdleConnTimeout:        cmp.Or(o.IdleTimeout, 90*time.Second),
		MaxResponseHeaderBytes: 64 << 10,
		ReadBufferSize:         1 << 10, // answers of devices are small, and there may be thousands of connections
		WriteBufferSize:        1 << 10,
		ExpectContinueTimeout:  time.Second,
	}
	if o.TLS != nil {
		t.TLSClientConfig = o.TLS.Clone()
	} else {
		t.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	b := &bounded{base: u, next: t, auth: o.Auth, limit: cmp.Or(o.MaxBytes, defaultBytes)}
	c := &http.Client{Transport: b, Timeout: cmp.Or(o.Timeout, defaultTimeout)}
	c.CheckRedirect = func(r *http.Request, via []*http.Request) error {
		limit := o.Redirects
		if limit == 0 {
			limit = 3
		}
		if !sameOrigin(u, r.URL) {
			return fmt.Errorf("%w to another origin, %s", ErrRedirect, origin(r.URL))
		}
		if len(via) > limit {
			return fmt.Errorf("%w: more than %d in a row", ErrRedirect, max(limit, 0))
		}
		return nil
	}
	return &Client{base: u, http: c, idle: t.CloseIdleConnections}, nil
}

// near tells whether a host is this machine or a Service of its cluster.
func near(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback() || strings.HasSuffix(host, ".svc") || strings.HasSuffix(host, ".svc.cluster.local")
}

const (
	defaultTimeout = 10 * time.Second
	defaultBytes   = 4 << 20
)

// HTTP returns a client with the same bounds, credentials and redirect policy, for a library that wants
// one. Requests made with it by other means than this package have the standard library's errors, which
// [Describe] makes fit to show.
func (c *Client) HTTP() *http.Client { return c.http }

// Base returns the endpoint's URL, without credentials.
func (c *Client) Base() string { return c.base.String() }

// Close closes unused connections. The client can still be used.
func (c *Client) Close() { c.idle() }

// A Response is an answer that was read to its end.
type Response struct {
	Status int // 2xx, or 304 where the request was conditional
	Header http.Header
	Body   []byte
	At     time.Time // when the headers arrived
}

// Get asks for a path below the endpoint, which may have a query. A status other than 2xx (or 304, where
// header makes the request conditional) is a [*StatusError].
func (c *Client) Get(ctx context.Context, path string, header http.Header) (*Response, error) {
	return c.Do(ctx, http.MethodGet, path, header, nil)
}

// Do asks with any method and body; see Get.
func (c *Client) Do(ctx context.Context, method, path string, header http.Header, body []byte) (*Response, error) {
	u, err := c.resolve(path)
	if err != nil {
		return nil, err
	}
	r, err := http.NewRequestWithContext(ctx, method, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, redact(u), Describe(err))
	}
	maps.Copy(r.Header, header)
	resp, err := c.http.Do(r)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", method, redact(u), Describe(err))
	}
	defer resp.Body.Close()
	at := time.Now()
	if resp.StatusCode/100 != 2 && (resp.StatusCode != http.StatusNotModified || r.Header.Get("If-None-Match") == "") {
		_, _ = io.CopyN(io.Discard, resp.Body, 4<<10) // so that the connection of a short error page can be used again
		return nil, NewStatusError(resp)
	}
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return nil, fmt.Errorf("%s %s: body: %w", method, redact(u), Describe(err))
	}
	return &Response{Status: resp.StatusCode, Header: resp.Header, Body: b, At: at}, nil
}

// resolve makes a path that a device gave, or the caller, a URL of the endpoint.
func (c *Client) resolve(path string) (*url.URL, error) {
	ref, err := url.Parse(path)
	if err != nil {
		return nil, errors.New("path: not a URL path")
	}
	if ref.IsAbs() || ref.Host != "" {
		if !sameOrigin(c.base, ref) || ref.User != nil {
			return nil, fmt.Errorf("%w: a link to another origin, %s", ErrRedirect, origin(ref))
		}
		return ref, nil
	}
	u := *c.base
	u.RawPath = u.EscapedPath() + "/" + strings.TrimPrefix(ref.EscapedPath(), "/")
	u.Path += "/" + strings.TrimPrefix(ref.Path, "/")
	if ref.Path == "" {
		u.Path, u.RawPath = cmp.Or(c.base.Path, "/"), ""
	}
	u.RawQuery = ref.RawQuery
	return &u, nil
}
