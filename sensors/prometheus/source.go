package prometheus

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	v1 "github.com/prometheus/client_golang/api/prometheus/v1"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
)

// An Endpoint is a Prometheus server.
type Endpoint struct {
	// URL is the server's address, with the path before /api/v1 if it has one.
	URL string

	// User and Password authenticate, or Token does. PasswordFrom and TokenFrom, where they are not nil, are
	// asked at every use instead, so that credentials can change.
	User, Password string
	PasswordFrom   func() (string, error)
	Token          string
	TokenFrom      func() (string, error)

	// TLS verifies the server; nil means the system's roots.
	TLS *tls.Config
}

// Options tune a [Source]. The zero value works.
type Options struct {
	// Label names the node in series; "" means "node". A query's own goes first.
	Label string

	// Names gives the node for a label's value where they differ.
	Names map[string]string

	// Window stands for $window in queries, the range of rate(); 0 means 2 minutes. It must hold a few
	// scrapes.
	Window time.Duration

	Timeout  time.Duration // of one request; 0 means 10 seconds
	MaxBytes int64         // of one answer; 0 means 32 MiB
	Parallel int           // queries at once; 0 means 4
}

// Source reads all nodes from one Prometheus server.
type Source struct {
	client  *boundedhttp.Client
	queries []Query
	sizes   []atomic.Int64 // beside queries: bytes of the last answer
	opts    Options
	last    atomic.Pointer[places]
}

var _ sensors.BatchSource = (*Source)(nil)

// New returns a source that asks the queries. It connects to nothing. The error tells which query cannot work;
// whether its PromQL is right, only the server knows.
func New(e Endpoint, queries []Query, o Options) (*Source, error) {
	o.Label = cmp.Or(o.Label, "node")
	o.Window = cmp.Or(o.Window, 2*time.Minute)
	o.Parallel = cmp.Or(o.Parallel, 4)
	o.MaxBytes = cmp.Or(o.MaxBytes, 32<<20)
	o.Names = maps.Clone(o.Names)
	s := &Source{opts: o}
	var errs []error
	kinds := make(map[sensors.Kind]bool)
	for _, q := range queries {
		q, err := q.prepare(&o)
		if err == nil && kinds[q.Kind] {
			err = fmt.Errorf("%s: two queries; join them with \"or\", or make two sources", q.Kind)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("prometheus: %w", err))
			continue
		}
		kinds[q.Kind] = true
		s.queries = append(s.queries, q)
	}
	if len(queries) == 0 {
		errs = append(errs, errors.New("prometheus: no queries"))
	}
	c, err := boundedhttp.New(e.URL, boundedhttp.Options{
		Timeout: o.Timeout, MaxBytes: o.MaxBytes, TLS: e.TLS, Auth: e.auth(), MaxConns: o.Parallel,
	})
	if err != nil {
		errs = append(errs, fmt.Errorf("prometheus: %w", err))
	}
	if len(errs) > 0 {
		return nil, errors.Join(errs...)
	}
	s.client, s.sizes = c, make([]atomic.Int64, len(s.queries))
	return s, nil
}

// NewAPI returns the API library's client of a server, with this package's bounds on time and size, for those who ask in
// their own way. Of Options it takes Timeout, MaxBytes and Parallel. It connects to nothing.
func NewAPI(e Endpoint, o Options) (v1.API, error) {
	c, err := boundedhttp.New(e.URL, boundedhttp.Options{
		Timeout: o.Timeout, MaxBytes: cmp.Or(o.MaxBytes, 32<<20), TLS: e.TLS, Auth: e.auth(), MaxConns: cmp.Or(o.Parallel, 4),
	})
	if err != nil {
		return nil, fmt.Errorf("prometheus: %w", err)
	}
	return v1.NewAPI(transport{c}), nil
}

func (e *Endpoint) auth() boundedhttp.Auth {
	switch {
	case e.TokenFrom != nil:
		return boundedhttp.BearerFunc(e.TokenFrom)
	case e.Token != "":
		return boundedhttp.Bearer(e.Token)
	case e.User != "" && e.PasswordFrom != nil:
		return boundedhttp.BasicFunc(e.User, e.PasswordFrom)
	case e.User != "":
		return boundedhttp.Basic(e.User, e.Password)
	}
	return nil
}

// String returns "prometheus".
func (s *Source) String() string { return name }

const name = "prometheus"

// Close closes unused connections.
func (s *Source) Close() error { s.client.Close(); return nil }

// Read implements [sensors.SensorSource]. It asks for all nodes; see ReadAll.
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	readings, errs := s.ReadAll(ctx, []string{node})
	return readings[node], errs[node]
}

// ReadAll implements [sensors.BatchSource]: each query is asked once, a few at a time. A query that fails is
// an error of its kind for every node, beside the readings of the others. A node that no query's answer names
// is [sensors.ErrUnknownNode].
func (s *Source) ReadAll(ctx context.Context, nodes []string) (map[string][]sensors.Reading, map[string]error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	answers, places := make([]answer, len(s.queries)), s.places(nodes)
	limit := make(chan struct{}, s.opts.Parallel)
	var wg sync.WaitGroup
	for i := range s.queries {
		wg.Go(func() {
			limit <- struct{}{}
			defer func() { <-limit }()
			answers[i] = s.ask(ctx, i, places)
		})
	}
	wg.Wait()
	readings, errs := make(map[string][]sensors.Reading, len(nodes)), make(map[string]error)
	for _, node := range nodes {
		r, err := s.node(node, places.of[node], answers)
		if len(r) > 0 {
			readings[node] = r
		}
		if err != nil {
			errs[node] = err
		}
	}
	return readings, errs
}

// node returns the readings of a node, which stands at the i-th place.
func (s *Source) node(node string, i int32, answers []answer) ([]sensors.Reading, error) {
	out := make([]sensors.Reading, 0, len(answers))
	var errs []error
	known := false
	fail := func(kind sensors.Kind, err error) {
		errs = append(errs, &sensors.Error{Source: name, Node: node, Kind: kind, Err: err})
	}
	for k := range answers {
		a, q := &answers[k], &s.queries[k]
		if a.err != nil {
			fail(q.Kind, a.err)
			continue
		}
		if !a.nodes[i].known {
			continue
		}
		known = true
		r, err := a.nodes[i].reading(q)
		if err != nil {
			fail(q.Kind, err)
			continue
		}
		out = append(out, r)
	}
	if !known && len(errs) == 0 {
		fail("", fmt.Errorf("%w: no series names it", sensors.ErrUnknownNode))
	}
	return out, errors.Join(errs...)
}
