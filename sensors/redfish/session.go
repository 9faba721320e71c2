package redfish

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
)

// session is a login.
type session struct {
	token string
	uri   string // to delete it
}

const (
	rootPath     = "/redfish/v1"
	sessionsPath = "/redfish/v1/SessionService/Sessions"
)

// authorize adds the credentials to a request. The holder of the slot calls it.
func (b *bmc) authorize(r *http.Request) error {
	switch {
	case b.endpoint.User == "":
	case !b.endpoint.Session:
		password, err := b.endpoint.PasswordFrom()
		if err != nil {
			return err
		}
		r.SetBasicAuth(b.endpoint.User, password)
	case b.session.token != "":
		r.Header.Set("X-Auth-Token", b.session.token)
	}
	return nil
}

// get asks for a resource, conditionally where there is an ETag, and logs in where that is needed.
func (b *bmc) get(ctx context.Context, uri, etag string) (*boundedhttp.Response, error) {
	header := http.Header{"Accept": {"application/json"}, "Odata-Version": {"4.0"}}
	if etag != "" {
		header.Set("If-None-Match", etag)
	}
	sessions := b.endpoint.Session && b.endpoint.User != ""
	fresh := false
	if sessions && b.session.token == "" && uri != rootPath {
		if err := b.login(ctx); err != nil {
			return nil, err
		}
		fresh = true
	}
	r, err := b.client.Get(ctx, uri, header)
	if status, ok := errors.AsType[*boundedhttp.StatusError](err); ok && status.Code == http.StatusUnauthorized && sessions && !fresh && uri != rootPath {
		b.session = session{} // it has expired
		if err := b.login(ctx); err != nil {
			return nil, err
		}
		r, err = b.client.Get(ctx, uri, header)
	}
	return r, fault.HTTP(err)
}

// login opens a session.
func (b *bmc) login(ctx context.Context) error {
	password, err := b.endpoint.PasswordFrom()
	if err != nil {
		return fmt.Errorf("%w: %w", sensors.ErrUnauthorized, err)
	}
	body, err := json.Marshal(struct{ UserName, Password string }{b.endpoint.User, password})
	if err != nil {
		return fmt.Errorf("%w: log in: the credentials are no text", sensors.ErrUnauthorized)
	}
	uri := sessionsPath
	if root := b.static[rootPath]; root != nil {
		uri = cmp.Or(string(root.Links.Sessions), uri)
	}
	r, err := b.client.Do(ctx, http.MethodPost, uri, http.Header{"Content-Type": {"application/json"}, "Odata-Version": {"4.0"}}, body)
	if err != nil {
		return fault.HTTP(fmt.Errorf("log in: %w", err))
	}
	s := session{token: r.Header.Get("X-Auth-Token"), uri: r.Header.Get("Location")}
	if s.token == "" {
		return fmt.Errorf("%w: log in: the answer has no X-Auth-Token", sensors.ErrMalformed)
	}
	if u, err := url.Parse(s.uri); err == nil {
		s.uri = u.Path // some BMCs give a URL with a host that only they know
	}
	b.session = s
	return nil
}

// logout closes the session, if there is one.
func (b *bmc) logout(ctx context.Context) error {
	if b.session.token == "" || b.session.uri == "" {
		return nil
	}
	_, err := b.client.Do(ctx, http.MethodDelete, b.session.uri, http.Header{"Odata-Version": {"4.0"}}, nil)
	b.session = session{}
	return fault.HTTP(err)
}
