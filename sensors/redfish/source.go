// Package redfish reads servers' inlet temperature, power and more from their BMCs, over Redfish.
//
// Its main type is [Source]. It needs a BMC that answers HTTPS, and an account that may read. The first
// read of a node finds out what its BMC offers, which takes several requests; later ones ask for what was
// found, mostly two requests.
//
// # Precedence
//
// BMCs offer the same measurement in several views that need not agree. The first that has it wins, and
// [sensors.Reading] tells which in its Source ("redfish:ThermalMetrics"):
//
//	inlet temperature  the endpoint's override; ThermalMetrics, summary Intake; Sensors, then Thermal, with
//	                   PhysicalContext Intake; Sensors, then Thermal, by name (see below)
//	power              the endpoint's override; EnvironmentMetrics, PowerWatts; Power, PowerControl 0;
//	                   Sensors in watts of the whole chassis; the sum of all supplies' input power
//	exhaust            ThermalMetrics, summary Exhaust; Sensors, then Thermal, with PhysicalContext Exhaust
//	others             EnvironmentMetrics (energy, fans), ThermalMetrics (pressure), Thermal (hottest CPU, fans)
//
// By name, an inlet is what says inlet or intake, else ambient, and is not of a supply, card, processor,
// memory or drive. Where the BMC has a metric report with all that is wanted, the report is read instead:
// one request for everything. Its values are those of the sensors that would have won.
//
// Among several chassis, those that a computer system is linked to come first, and what the first of them
// measures wins.
//
// # Time
//
// Sensors and metric reports tell when they measured; other views do not, and have the time of the answer.
// A BMC whose clock is wrong tells so by the Date of its answers, which is used to correct its times.
package redfish

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
)

// An Endpoint is the BMC of one node.
type Endpoint struct {
	// URL is scheme and host, "https://10.0.0.7", and may have a path that stands before /redfish/v1.
	URL string

	// User and Password authenticate. PasswordFrom, where it is not nil, is asked for the password instead
	// at every use, so that it can change. Without a User, none are sent.
	User         string
	Password     string
	PasswordFrom func() (string, error)

	// Session logs in once and keeps the session, instead of sending the password with every request.
	// Mind that BMCs have few sessions, and close the [Source] to log out.
	Session bool

	// TLS verifies the BMC; nil means the system's roots. It is this endpoint's alone.
	TLS *tls.Config

	// Chassis is the Id of the chassis to read; "" finds it.
	Chassis string

	// Override says where a kind is to be read, whatever else there is: a path with a JSON pointer, as in
	// "/redfish/v1/Chassis/1/Thermal#/Temperatures/3/ReadingCelsius"; without one, "#/Reading" is meant.
	Override map[sensors.Kind]string
}

// A Lookup finds the endpoint of a node. Its error wraps [sensors.ErrUnknownNode] where there is none.
type Lookup func(node string) (Endpoint, error)

// Nodes looks endpoints up in a map, which is not to be changed afterwards.
func Nodes(endpoints map[string]Endpoint) Lookup {
	return func(node string) (Endpoint, error) {
		e, ok := endpoints[node]
		if !ok {
			return e, sensors.ErrUnknownNode
		}
		return e, nil
	}
}

// Options tune a [Source]. The zero value works.
type Options struct {
	// Kinds are looked for in all views, and their absence is an error; nil means inlet temperature and
	// power. Other kinds are given where a view that is read anyhow has them.
	Kinds []sensors.Kind

	// Timeout limits one request; 0 means 5 seconds. A read takes several and is limited by its context.
	Timeout time.Duration

	// MaxBytes limits one answer; 0 means 4 MiB.
	MaxBytes int64

	// Rediscover is how often a kind that no view had is looked for again; 0 means 10 minutes.
	Rediscover time.Duration

	// NoReports leaves metric reports alone.
	NoReports bool

	// MaxReportAge is how old a metric report may be to be used; 0 means 30 seconds.
	MaxReportAge time.Duration
}

// A Source reads nodes' BMCs. It asks one BMC for one thing at a time, and different BMCs at once. It keeps
// a connection to each. Close it to log out.
type Source struct {
	lookup Lookup
	opts   Options

	mu   sync.Mutex
	bmcs map[string]*bmc // guarded by mu
}

// New returns a source of the nodes that lookup knows, which is asked at the first read of each. It
// connects to nothing.
func New(lookup Lookup, o Options) *Source {
	if o.Kinds == nil {
		o.Kinds = []sensors.Kind{sensors.InletTemp, sensors.Power}
	}
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	o.Rediscover = cmp.Or(o.Rediscover, 10*time.Minute)
	o.MaxReportAge = cmp.Or(o.MaxReportAge, 30*time.Second)
	return &Source{lookup: lookup, opts: o, bmcs: make(map[string]*bmc)}
}

// String returns "redfish".
func (s *Source) String() string { return name }

const name = "redfish"

// Read implements [sensors.SensorSource].
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	b, err := s.bmc(node)
	if err != nil {
		return nil, fault.Node(name, node, err)
	}
	return b.read(ctx)
}

// bmc returns the BMC of a node.
func (s *Source) bmc(node string) (*bmc, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b := s.bmcs[node]; b != nil {
		return b, nil
	}
	e, err := s.lookup(node)
	if err != nil {
		return nil, err
	}
	b, err := newBMC(node, e, s.opts)
	if err != nil {
		return nil, err
	}
	s.bmcs[node] = b
	return b, nil
}

// Forget closes the connection and the session of a node, which is looked up anew when it is read again.
func (s *Source) Forget(ctx context.Context, node string) error {
	s.mu.Lock()
	b := s.bmcs[node]
	delete(s.bmcs, node)
	s.mu.Unlock()
	if b == nil {
		return nil
	}
	return b.close(ctx)
}

// Close logs out of all sessions, at most 16 BMCs at once, and closes connections. The source can still be
// used, and then logs in again.
func (s *Source) Close(ctx context.Context) error {
	s.mu.Lock()
	bmcs := s.bmcs
	s.bmcs = make(map[string]*bmc)
	s.mu.Unlock()
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		errs  []error
		slots = make(chan struct{}, 16)
	)
	for b := range maps.Values(bmcs) {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := b.close(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				errs = append(errs, err)
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

// newBMC checks an endpoint and returns its BMC.
func newBMC(node string, e Endpoint, o Options) (*bmc, error) {
	b := &bmc{node: node, endpoint: e, opts: o, slot: make(chan struct{}, 1), scanned: make(map[string]*scan), static: make(map[string]*links)}
	if e.PasswordFrom == nil {
		b.endpoint.PasswordFrom = boundedhttp.Literal(e.Password)
	}
	b.endpoint.Password = ""
	client, err := boundedhttp.New(e.URL, boundedhttp.Options{Timeout: o.Timeout, MaxBytes: o.MaxBytes, TLS: e.TLS, MaxConns: 1, Auth: b.authorize})
	if err != nil {
		return nil, err
	}
	b.client = client
	for kind, place := range e.Override {
		path, pointer, err := override(place)
		if err != nil {
			return nil, fmt.Errorf("override of %s: %w", kind, err)
		}
		b.overrides = append(b.overrides, step{view: viewOverride, uri: path, pointer: pointer, kinds: []sensors.Kind{kind}})
	}
	return b, nil
}
