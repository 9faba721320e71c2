package profiles

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/dcgm"
	"github.com/leastwatt/leastwatt/sensors/ipmi"
	"github.com/leastwatt/leastwatt/sensors/ipmiexporter"
	"github.com/leastwatt/leastwatt/sensors/kepler"
	"github.com/leastwatt/leastwatt/sensors/loadwatcher"
	"github.com/leastwatt/leastwatt/sensors/pressure"
	"github.com/leastwatt/leastwatt/sensors/prometheus"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
)

// Keys of a Secret.
const (
	keyUser     = "username"
	keyPassword = "password"
	keyToken    = "token"
	keyCA       = "ca.crt"
	keyCert     = "tls.crt"
	keyKey      = "tls.key"
)

// access is where an endpoint is and how it is spoken to.
type access struct {
	url, user, password, token string
	tls                        *tls.Config
}

// access resolves an endpoint's Secret.
func (s *store) access(url, secret string, t *v1alpha1.TLS, plaintext bool) (access, error) {
	a := access{url: url}
	var data map[string][]byte
	if secret != "" {
		var err error
		if data, err = s.get(secret, host(url)); err != nil {
			return a, err
		}
	}
	if secret != "" {
		if err := complete(data, strings.Contains(url, "://")); err != nil {
			return a, fmt.Errorf("Secret %q: %w", secret, err)
		}
	}
	text := func(key string) string { return strings.TrimRight(string(data[key]), "\r\n") }
	a.user, a.password, a.token = text(keyUser), text(keyPassword), text(keyToken)
	if (a.password != "" || a.token != "") && strings.HasPrefix(url, "http://") && !plaintext {
		return a, fmt.Errorf("Secret %q: its credentials are not sent over http: use https, or say plaintext: true", secret)
	}
	if strings.ContainsAny(a.user+a.password+a.token, "\r\n") {
		return a, fmt.Errorf("Secret %q: username, password or token has more than one line", secret)
	}
	var err error
	if a.tls, err = settings(data, t); err != nil {
		return a, fmt.Errorf("Secret %q: %w", secret, err)
	}
	return a, nil
}

// complete tells which key a Secret lacks. Only IPMI has a user without a name.
func complete(data map[string][]byte, named bool) error {
	has := func(key string) bool { _, ok := data[key]; return ok }
	switch {
	case !slices.ContainsFunc([]string{keyUser, keyPassword, keyToken, keyCA, keyCert}, has):
		return fmt.Errorf("holds none of the keys %s, %s, %s, %s and %s", keyUser, keyPassword, keyToken, keyCA, keyCert)
	case has(keyUser) && !has(keyPassword):
		return errors.New("has a username and no password")
	case has(keyPassword) && !has(keyUser) && named:
		return errors.New("has a password and no username")
	}
	return nil
}

// settings returns how an endpoint is verified; nil is by the system's roots.
func settings(data map[string][]byte, t *v1alpha1.TLS) (*tls.Config, error) {
	if t == nil && data[keyCA] == nil && data[keyCert] == nil {
		return nil, nil
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if t != nil {
		c.ServerName, c.InsecureSkipVerify = t.ServerName, t.InsecureSkipVerify
	}
	if ca := data[keyCA]; ca != nil {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(ca) {
			return nil, errors.New("ca.crt holds no certificate in PEM")
		}
	}
	if cert := data[keyCert]; cert != nil {
		pair, err := tls.X509KeyPair(cert, data[keyKey])
		if err != nil {
			return nil, errors.New("tls.crt and tls.key are no pair of certificate and key in PEM") // the cause could quote them
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// sensor makes one sensor of a node.
func (p *Provider) sensor(node string, x *v1alpha1.Sensor, n *probe) (sensors.SensorSource, error) {
	a, err := p.secrets.access(x.URL, x.SecretName, x.TLS, x.Plaintext)
	if err != nil {
		return nil, err
	}
	src, err := p.protocol(node, x, a, n)
	if err != nil {
		return nil, err
	}
	if len(x.Plausible) > 0 {
		src = sensors.Plausible(src, checks(x.Plausible))
	}
	if x.Derive {
		src = sensors.Derive(src, sensors.DeriveOptions{Cores: p.cores})
	}
	if len(x.Kinds) > 0 {
		src = sensors.Only(src, kinds(x.Kinds)...)
	}
	return src, nil
}

func (p *Provider) protocol(node string, x *v1alpha1.Sensor, a access, n *probe) (sensors.SensorSource, error) {
	if a.token != "" && a.user == "" && (x.Type == "redfish" || x.Type == "ipmi") {
		return nil, fmt.Errorf("Secret %q: type %s takes username and password, not a token", x.SecretName, x.Type)
	}
	var timeout time.Duration
	if x.Timeout != nil {
		timeout = x.Timeout.Duration
	}
	exporter := kepler.Nodes(map[string]kepler.Endpoint{node: {URL: a.url, User: a.user, Password: a.password, Token: a.token, TLS: a.tls,
		Match: x.Match, Sensors: byKind(x.Sensors)}})
	options := kepler.Options{Timeout: timeout}
	var src sensors.SensorSource
	switch x.Type {
	case "redfish":
		o := redfish.Options{Timeout: timeout}
		if len(x.Kinds) > 0 && !x.Derive { // what is derived needs others
			o.Kinds = kinds(x.Kinds)
		}
		src = redfish.New(redfish.Nodes(map[string]redfish.Endpoint{node: {URL: a.url, User: a.user, Password: a.password, TLS: a.tls,
			Session: x.Session != nil && *x.Session, Chassis: x.Chassis, Override: byKind(x.Override)}}), o)
	case "ipmi":
		b := ipmi.BMC{Address: a.url, Username: a.user, Password: a.password, Sensors: byKind(x.Sensors)}
		if x.CipherSuite != nil {
			b.CipherSuite = int(*x.CipherSuite)
		}
		if err := b.Check(); err != nil {
			return nil, err
		}
		src = ipmi.New(ipmi.Nodes(map[string]ipmi.BMC{node: b}), ipmi.Options{Timeout: timeout})
	case "kepler":
		k := kepler.New(exporter, options)
		k.KeepPods = p.pods
		src = k
	case "scaphandre":
		src = scaphandre.New(exporter, options)
	case "dcgm":
		src = dcgm.New(exporter, options)
	case "ipmi-exporter":
		src = ipmiexporter.New(exporter, options)
	case "pressure":
		s, err := pressure.New(pressure.Endpoint{URL: a.url, User: a.user, Password: a.password, Token: a.token, TLS: a.tls},
			pressure.Options{Timeout: timeout})
		if err != nil {
			return nil, err
		}
		src = s
	case "prometheus", "load-watcher":
		return p.serviceOf(node, x, a, timeout, n)
	default:
		return nil, fmt.Errorf("type %q is not built in", x.Type)
	}
	n.closing(src)
	return sensors.NewBreaker(src, sensors.BreakerOptions{MaxPause: time.Minute}), nil // wrong credentials, asked with again and again, lock accounts
}

// serviceOf makes a source that answers for all nodes whose profiles describe it alike, which then share it.
func (p *Provider) serviceOf(node string, x *v1alpha1.Sensor, a access, timeout time.Duration, n *probe) (sensors.SensorSource, error) {
	alike := *x
	alike.Name, alike.Interval, alike.Kinds, alike.Derive, alike.Plausible, alike.Fallback = "", nil, nil, false, nil, nil
	key, err := json.Marshal([]any{alike, a.user, a.password, a.token, p.secrets.version(x.SecretName)})
	if err != nil {
		return nil, err
	}
	s, err := p.shared.acquire(string(key), node, func() (sensors.SensorSource, error) {
		if x.Type == "load-watcher" {
			return asSource(loadwatcher.New(loadwatcher.Endpoint{URL: a.url, User: a.user, Password: a.password, Token: a.token, TLS: a.tls},
				loadwatcher.Options{Timeout: timeout}))
		}
		all, err := queries(x)
		if err != nil {
			return nil, err
		}
		return asSource(prometheus.New(prometheus.Endpoint{URL: a.url, User: a.user, Password: a.password, Token: a.token, TLS: a.tls}, all,
			prometheus.Options{Label: x.Label, Timeout: timeout}))
	})
	if err != nil {
		return nil, err
	}
	n.closing(s)
	return s, nil
}

func asSource[T sensors.SensorSource](s T, err error) (sensors.SensorSource, error) {
	if err != nil {
		return nil, err
	}
	return s, nil
}

// queries returns what a Prometheus server is asked.
func queries(x *v1alpha1.Sensor) ([]prometheus.Query, error) {
	var all []prometheus.Query
	add := func(more ...prometheus.Query) {
		for _, q := range more {
			all = slices.DeleteFunc(all, func(old prometheus.Query) bool { return old.Kind == q.Kind })
			all = append(all, q)
		}
	}
	ready := map[string]func() []prometheus.Query{"node-exporter": prometheus.NodeExporter, "ipmi-exporter": prometheus.IPMIExporter, "kepler": prometheus.Kepler,
		"kepler-legacy": prometheus.KeplerLegacy, "scaphandre": prometheus.Scaphandre, "dcgm": prometheus.DCGM}
	for _, name := range x.Ready {
		q := ready[name]
		if q == nil {
			return nil, fmt.Errorf("ready: there are no queries for %q", name)
		}
		add(q()...)
	}
	for _, q := range x.Queries {
		add(prometheus.Query{Kind: sensors.Kind(q.Kind), Expr: q.Expr, Time: q.Time})
	}
	return all, nil
}

func kinds(list []v1alpha1.Kind) []sensors.Kind {
	all := make([]sensors.Kind, 0, len(list))
	for _, k := range list {
		all = append(all, sensors.Kind(k))
	}
	slices.Sort(all)
	return all
}

func checks(all v1alpha1.Checks) map[sensors.Kind]sensors.Check {
	made := make(map[sensors.Kind]sensors.Check, len(all))
	for k, c := range all {
		x := sensors.Check{Min: c.Min, Max: c.Max, MaxPerSecond: c.MaxPerSecond, Settle: int(c.Settle)}
		if c.StuckAfter != nil {
			x.StuckAfter = c.StuckAfter.Duration
		}
		made[sensors.Kind(k)] = x
	}
	return made
}

func byKind(m map[string]string) map[sensors.Kind]string {
	if m == nil {
		return nil
	}
	all := make(map[sensors.Kind]string, len(m))
	for k, v := range m {
		all[sensors.Kind(k)] = v
	}
	return all
}
