package boundedhttp

import (
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
)

// bounded adds credentials to requests for its own origin and limits what comes back.
type bounded struct {
	base  *url.URL
	next  http.RoundTripper
	auth  Auth
	limit int64
}

// RoundTrip implements [http.RoundTripper].
func (b *bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	if !sameOrigin(b.base, r.URL) { // a library that follows links by itself
		return nil, fmt.Errorf("%w: a request to another origin, %s", ErrRedirect, origin(r.URL))
	}
	if b.auth != nil {
		r = r.Clone(r.Context())
		if err := b.auth(r); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrCredentials, err)
		}
	}
	resp, err := b.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = &limited{ReadCloser: resp.Body, left: b.limit, limit: b.limit}
	return resp, nil
}

// CloseIdleConnections lets [http.Client.CloseIdleConnections] reach the transport.
func (b *bounded) CloseIdleConnections() {
	if c, ok := b.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// limited fails, rather than ends, where a body is longer than allowed: what is cut off must not parse.
type limited struct {
	io.ReadCloser
	left, limit int64
}

func (l *limited) Read(p []byte) (int, error) {
	if int64(len(p)) > l.left+1 {
		p = p[:l.left+1]
	}
	n, err := l.ReadCloser.Read(p)
	if int64(n) > l.left {
		n = int(l.left)
		l.left = 0
		return n, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, l.limit)
	}
	l.left -= int64(n)
	return n, err
}

func sameOrigin(a, b *url.URL) bool {
	return a.Scheme == b.Scheme && strings.EqualFold(a.Hostname(), b.Hostname()) && port(a) == port(b)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	if u.Scheme == "https" {
		return "443"
	}
	return "80"
}

func origin(u *url.URL) string { return u.Scheme + "://" + u.Host }

// redact leaves of a URL what may be shown: neither user nor query.
func redact(u *url.URL) string {
	v := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path}
	return v.String()
}
