package profiles

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/sensors"
)

// A source is the sensors of one node.
type source struct {
	probes  []*probe
	all     sensors.SensorSource // nil where there is none
	pending []string             // Secrets that were not read yet
	waiting atomic.Int32         // reads that wait for these
}

// A probe is one sensor of a profile, and what it did last.
type probe struct {
	name, secret string
	every        time.Duration // the shortest time between two reads
	chains       []*chain      // that it is a fallback of
	from         sensors.SensorSource
	closers      []func(context.Context) error
	secrets      *store

	mu    sync.Mutex
	last  []sensors.Reading // guarded by mu: of the last read
	err   error             // guarded by mu: of the last read
	tried time.Time         // guarded by mu
	ended bool              // guarded by mu: a read has
	alone time.Time         // guarded by mu: until when the device wants to be left alone
	good  time.Time         // guarded by mu: when a read last gave anything
}

// newSource makes the sensors of a node. What cannot be made is an error whenever it is read.
func (p *Provider) newSource(node string, spec *v1alpha1.NodeProfileSpec) *source {
	s := &source{}
	for i := range spec.Sensors {
		x := &spec.Sensors[i]
		n := &probe{name: nameOf(x), secret: x.SecretName, secrets: p.secrets}
		if x.Interval != nil {
			n.every = x.Interval.Duration * 9 / 10 // the poller's times are as much shorter: or it would be every second one
		}
		p.secrets.acquire(x.SecretName)
		made, err := p.sensor(node, x, n)
		if err != nil {
			if errors.Is(err, errNotRead) {
				s.pending = append(s.pending, x.SecretName)
			} else {
				p.log.Warn("sensor cannot be read", "node", node, "sensor", n.name, "err", err)
			}
			if x.SecretName != "" {
				err = fmt.Errorf("%w: %w", sensors.ErrUnauthorized, err)
			}
			made = failing(x.Type, err) // as its errors would be named if it could be made
		}
		n.from = made
		s.probes = append(s.probes, n)
	}
	s.join(spec)
	return s
}

// goodbye is how long a device has to end our session.
const goodbye = 5 * time.Second

// close ends sessions in the background.
func (s *source) close() {
	for _, n := range s.probes {
		n.secrets.release(n.secret)
		if len(n.closers) == 0 {
			continue
		}
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), goodbye)
			defer cancel()
			for _, c := range n.closers {
				_ = c(ctx) // the device forgets the session by itself
			}
		}()
	}
}

// closing notes how a source is closed, where it can be.
func (n *probe) closing(s sensors.SensorSource) {
	switch c := s.(type) {
	case interface{ Close(context.Context) error }:
		n.closers = append(n.closers, c.Close)
	case io.Closer:
		n.closers = append(n.closers, func(context.Context) error { return c.Close() })
	}
}

// String names the sensor.
func (n *probe) String() string { return n.name }

// Read implements [sensors.SensorSource].
func (n *probe) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	now := time.Now()
	n.mu.Lock()
	if !n.tried.IsZero() && (now.Sub(n.tried) < n.every || now.Before(n.alone)) {
		defer n.mu.Unlock()
		return slices.Clone(n.last), n.err
	}
	n.tried = now
	n.mu.Unlock()
	r, err := n.from.Read(ctx, node)
	if refused(err) {
		n.secrets.suspect(n.secret)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if wait, ok := errors.AsType[retryAfter](err); ok {
		n.alone = now.Add(min(wait.RetryAfter(), maxAlone))
		err = n.patient(node, err)
	}
	n.last, n.err, n.ended = slices.Clone(r), err, true
	if len(r) > 0 {
		n.good = time.Now()
	}
	return r, err
}

// maxAlone is for how long at most a device is left alone that asks for it.
const maxAlone = time.Hour

// retryAfter is an error that says how long the device wants to be left alone.
type retryAfter interface {
	error
	RetryAfter() time.Duration
}

// patient hides from the poller, which reads all sensors of a node together, for how long one of them is to be left alone.
func (n *probe) patient(node string, err error) error {
	var all []error
	for _, e := range sensors.Errors(err) {
		x := &sensors.Error{Source: n.name, Node: node, Err: hidden{e}}
		if s, ok := errors.AsType[*sensors.Error](e); ok {
			x.Source, x.Kind, x.Err = s.Source, s.Kind, hidden{s.Err}
		}
		all = append(all, x)
	}
	return errors.Join(all...)
}

// hidden is an error of which only the text and the kind can be seen.
type hidden struct{ err error }

// Error implements error.
func (h hidden) Error() string { return h.err.Error() }

// Is tells what kind of error it is.
func (h hidden) Is(target error) bool { return errors.Is(h.err, target) }

// status returns what the sensor did last.
func (n *probe) status() v1alpha1.SensorStatus {
	n.mu.Lock()
	defer n.mu.Unlock()
	s := v1alpha1.SensorStatus{Name: n.name, Answering: len(n.last) > 0, Standby: n.standby(), LastRead: stamp(n.good)}
	kinds := make(map[string]bool)
	var oldest time.Time
	for _, r := range n.last {
		kinds[string(r.Kind)] = true
		if oldest.IsZero() || r.At.Before(oldest) {
			oldest = r.At
		}
	}
	s.Kinds, s.Measured = slices.Sorted(maps.Keys(kinds)), stamp(oldest)
	switch {
	case s.Standby: // what it did when it was needed last is not what it would do now
		s.Answering, s.Kinds, s.Measured = false, nil, nil
	case n.err != nil:
		s.Message = short(n.err.Error())
	case n.tried.IsZero():
		s.Message = "not read yet"
	case n.ended && !s.Answering:
		s.Message = "answers, and gives none of the readings that are taken from it"
	}
	return s
}

// waiting tells whether the sensor was not read yet, or is being read for the first time; one on standby does not wait.
func (n *probe) waiting() bool {
	if n.standby() {
		return false
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return !n.ended
}

// nameOf returns what a sensor is called.
func nameOf(x *v1alpha1.Sensor) string { return cmp.Or(x.Name, x.Type) }

// failing is a source of a protocol, or of a name, that cannot be made.
func failing(name string, err error) sensors.SensorSource {
	return sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
		return nil, &sensors.Error{Source: name, Node: node, Err: err}
	})
}

// host returns the host of a URL or of an address with or without a port.
func host(address string) string {
	if strings.Contains(address, "://") {
		if u, err := url.Parse(address); err == nil {
			return u.Hostname()
		}
		return ""
	}
	if h, _, err := net.SplitHostPort(address); err == nil {
		return h
	}
	return strings.Trim(address, "[]")
}
