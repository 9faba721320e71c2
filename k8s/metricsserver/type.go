package metricsserver

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"k8s.io/client-go/rest"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/config"
)

// Type is the type metrics.k8s.io for a configuration of sensors, which programs with a Kubernetes client add:
//
//	config.Load(file, metricsserver.Type(ctrl.GetConfig))
//
// A source without a url asks the API server that cluster returns, with its credentials; one with a url asks that
// server, with the credentials of the file alone. The function cluster is called when such a source is made; nil
// means that every source needs a url.
func Type(cluster func() (*rest.Config, error)) config.Type {
	return config.Type{Name: name, Uses: []string{"token", "tls"}, NoURL: cluster != nil, New: func(e config.Endpoint) (sensors.SensorSource, error) {
		o := Options{Timeout: e.Timeout}
		if e.URL == "" {
			if e.Token != nil || e.TLS != nil {
				return nil, errors.New("metricsserver: credentials are for a url: without one, those of the cluster are used")
			}
			c, err := cluster()
			if err != nil {
				return nil, fmt.Errorf("metricsserver: no cluster: %w", err)
			}
			return New(c, o)
		}
		c := &rest.Config{Host: e.URL}
		t := &http.Transport{TLSClientConfig: e.TLS, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 5 * time.Second,
			ResponseHeaderTimeout: 30 * time.Second, IdleConnTimeout: 90 * time.Second, MaxConnsPerHost: 4}
		c.Transport = t
		if e.Token != nil {
			c.Transport = &bearer{t, e.Token}
		}
		return New(c, o)
	}}
}

// bearer sends a token that may change. Redirects are not followed, so that it stays with its server.
type bearer struct {
	*http.Transport
	token func() (string, error)
}

// RoundTrip implements [http.RoundTripper].
func (b *bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	token, err := b.token()
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+token)
	return b.Transport.RoundTrip(r)
}
