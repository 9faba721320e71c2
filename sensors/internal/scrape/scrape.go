// Package scrape asks exporters for their text exposition, and puts together what a back end reads in it.
// What back ends for Kepler, Scaphandre, DCGM and ipmi_exporter share is here: endpoints, credentials,
// errors, plausibility.
package scrape

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/internal/exposition"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
)

// An Endpoint is where one node's answer is read.
type Endpoint struct {
	// URL is the whole address, with path and query: "http://10.0.0.7:8080/metrics".
	URL string

	// User and Password authenticate, or Token does. PasswordFrom and TokenFrom, where they are not nil, are
	// asked at every use instead, so that credentials can change. Credentials never follow a redirect to
	// another host.
	User, Password string
	PasswordFrom   func() (string, error)
	Token          string
	TokenFrom      func() (string, error)

	// TLS verifies the endpoint; nil means the system's roots. It is this endpoint's alone.
	TLS *tls.Config

	// Match chooses the node's series by labels where one endpoint answers for several nodes; nil takes all.
	Match map[string]string

	// Sensors overrides which sensor gives a kind, by the name that the exporter shows, in back ends whose
	// exporter shows named sensors: {InletTemp: "Ambient"}.
	Sensors map[sensors.Kind]string
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

// Options tune a source over HTTP. The zero value works.
type Options struct {
	Timeout  time.Duration // of one request; 0 means 5 seconds
	MaxBytes int64         // of one answer after decompression; 0 means 4 MiB
}

// A Reader asks the endpoints of many nodes. It keeps a connection to each.
type Reader struct {
	name   string
	lookup Lookup
	opts   Options

	mu    sync.Mutex
	nodes map[string]*node // guarded by mu
}

type node struct {
	client *boundedhttp.Client
	path   string
	match  map[string]string
	named  map[sensors.Kind]string
}

// New returns a reader for a source of that name. It connects to nothing.
func New(name string, lookup Lookup, o Options) *Reader {
	o.Timeout = cmp.Or(o.Timeout, 5*time.Second)
	return &Reader{name: name, lookup: lookup, opts: o, nodes: make(map[string]*node)}
}

func (r *Reader) node(name string) (*node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if n := r.nodes[name]; n != nil {
		return n, nil
	}
	e, err := r.lookup(name)
	if err != nil {
		return nil, err
	}
	c, path, err := e.Open(r.opts, 2)
	if err != nil {
		return nil, err
	}
	n := &node{client: c, path: path, match: maps.Clone(e.Match), named: maps.Clone(e.Sensors)}
	r.nodes[name] = n
	return n, nil
}

// Open returns a client for the endpoint's origin with at most that many connections, and the path and query
// to ask for.
func (e *Endpoint) Open(o Options, conns int) (c *boundedhttp.Client, path string, err error) {
	u, err := url.Parse(e.URL)
	if err != nil {
		return nil, "", errors.New("endpoint: not a URL") // the parser's own error quotes what may hold a password
	}
	path = u.EscapedPath()
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	u.Path, u.RawPath, u.RawQuery, u.Fragment = "", "", "", ""
	c, err = boundedhttp.New(u.String(), boundedhttp.Options{
		Timeout: o.Timeout, MaxBytes: o.MaxBytes, TLS: e.TLS, MaxConns: conns, Auth: e.auth(),
	})
	return c, path, err
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

// Close closes unused connections. The reader can still be used.
func (r *Reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.nodes {
		n.client.Close()
	}
	return nil
}

// Fetch returns the body of a node's answer and when it came.
func (r *Reader) Fetch(ctx context.Context, name, accept string) (body []byte, at time.Time, err error) {
	n, err := r.node(name)
	if err != nil {
		return nil, at, fault.Node(r.name, name, wrapConfig(err))
	}
	resp, err := n.client.Get(ctx, n.path, http.Header{"Accept": {accept}})
	if err != nil {
		return nil, at, fault.Node(r.name, name, fault.HTTP(err))
	}
	return resp.Body, resp.At, nil
}

// wrapConfig keeps errors of the lookup as they are.
func wrapConfig(err error) error {
	if sensors.Reason(err) != "other" {
		return err
	}
	return fmt.Errorf("%w: %w", sensors.ErrUnknownNode, err)
}

// Scrape returns the samples of the wanted metrics that are the node's, in a result to be filled. Lines that
// could not be read are an error of the result already.
func (r *Reader) Scrape(ctx context.Context, name string, want ...string) (exposition.Samples, *Result, error) {
	body, at, err := r.Fetch(ctx, name, "text/plain;version=0.0.4")
	if err != nil {
		return nil, nil, err
	}
	samples, err := exposition.Parse(body, want...)
	res := &Result{Source: r.name, Node: name, At: at}
	if err != nil {
		res.Fail("", fmt.Errorf("%w: %w", sensors.ErrMalformed, err))
	}
	r.mu.Lock()
	n := r.nodes[name]
	r.mu.Unlock()
	res.Named = n.named
	if len(n.match) > 0 {
		samples = samples.Where(n.match)
	}
	return samples, res, nil
}

// A Result is what a read of one node gives.
type Result struct {
	Source, Node string
	At           time.Time               // when the answer came
	Named        map[sensors.Kind]string // the endpoint's Sensors; not to be changed

	readings []sensors.Reading
	errs     []error
}

// Add adds a reading if its value is possible, and an error of its kind if not. A zero at is the answer's.
func (r *Result) Add(kind sensors.Kind, value float64, at time.Time, view string) {
	if err := sensors.Possible(kind, value); err != nil {
		r.Fail(kind, err)
		return
	}
	if at.IsZero() {
		at = r.At
	}
	r.readings = append(r.readings, sensors.Reading{Kind: kind, Value: value, At: at, Source: r.Source + ":" + view})
}

// AddMean adds a reading of the answer's time that is a mean over a while before.
func (r *Result) AddMean(kind sensors.Kind, value float64, over time.Duration, view string) {
	before := len(r.readings)
	r.Add(kind, value, time.Time{}, view)
	for i := range r.readings[before:] {
		r.readings[before+i].Mean = over
	}
}

// Has reports whether there is a reading of a kind already.
func (r *Result) Has(kind sensors.Kind) bool {
	return slices.ContainsFunc(r.readings, func(x sensors.Reading) bool { return x.Kind == kind })
}

// Fail adds an error of a kind, or of the whole read.
func (r *Result) Fail(kind sensors.Kind, err error) {
	r.errs = append(r.errs, &sensors.Error{Source: r.Source, Node: r.Node, Kind: kind, Err: err})
}

// Done returns what Read returns. Nothing at all is an error; missing says what was looked for.
func (r *Result) Done(missing string) ([]sensors.Reading, error) {
	if len(r.readings) == 0 && len(r.errs) == 0 {
		r.Fail("", fmt.Errorf("%w: %s", sensors.ErrNoReading, missing))
	}
	return r.readings, errors.Join(r.errs...)
}
