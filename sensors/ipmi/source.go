package ipmi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// A BMC says how one node's baseboard controller is reached.
type BMC struct {
	Address  string // host, or host:port; port 623 if none
	Username string // at most 16 bytes; the User privilege is enough
	Password string // at most 20 bytes

	// PasswordFrom, where it is not nil, is asked for the password at each log-in instead, so that it can
	// change.
	PasswordFrom func() (string, error)

	// CipherSuite is 3 (HMAC-SHA1, AES-128) or 17 (HMAC-SHA256, AES-128); 0 means 3, which every IPMI 2.0
	// BMC must have.
	CipherSuite int

	// Sensors overrides which sensor gives a kind, by the name in the BMC's records: {InletTemp: "Ambient"}.
	// [sensors.Power] named here is preferred to DCMI.
	Sensors map[sensors.Kind]string
}

// Options are what all BMCs share. The zero value works.
type Options struct {
	// Timeout is how long one request waits for its answer before it is sent again. Default 1 s.
	Timeout time.Duration
	// Attempts is how often a request is sent before the session is given up. Default 2.
	Attempts int
	// AuthPause is how long a BMC that refused the credentials is left alone, so that polling with a wrong
	// password cannot lock the account. Reads in between repeat the refusal. Default 5 min; negative for none.
	AuthPause time.Duration
}

// A Lookup finds the BMC of a node. Its error wraps [sensors.ErrUnknownNode] where there is none.
type Lookup func(node string) (BMC, error)

// Nodes looks BMCs up in a map, which is not to be changed afterwards.
func Nodes(bmcs map[string]BMC) Lookup {
	return func(node string) (BMC, error) {
		b, ok := bmcs[node]
		if !ok {
			return b, sensors.ErrUnknownNode
		}
		return b, nil
	}
}

// Source is a [sensors.SensorSource] over many BMCs. Close it to log out.
type Source struct {
	lookup Lookup
	opts   Options

	mu    sync.Mutex
	nodes map[string]*controller // guarded by mu
}

// New returns a source that reads each node from its BMC, which lookup is asked for at the first read. It
// connects to nothing.
func New(lookup Lookup, o Options) *Source {
	o.Timeout = cmp.Or(o.Timeout, time.Second)
	o.Attempts = cmp.Or(o.Attempts, 2)
	o.AuthPause = cmp.Or(o.AuthPause, 5*time.Minute)
	return &Source{lookup: lookup, opts: o, nodes: make(map[string]*controller)}
}

// String returns "ipmi".
func (s *Source) String() string { return "ipmi" }

func (s *Source) controller(node string) (*controller, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c := s.nodes[node]; c != nil {
		return c, nil
	}
	b, err := s.lookup(node)
	if err != nil {
		return nil, err
	}
	address, err := b.check()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", sensors.ErrUnknownNode, err)
	}
	b.Sensors = maps.Clone(b.Sensors)
	if b.PasswordFrom == nil {
		password := b.Password
		b.PasswordFrom = func() (string, error) { return password, nil }
	}
	c := &controller{node: node, address: address, bmc: b, opts: s.opts, turn: make(chan struct{}, 1)}
	s.nodes[node] = c
	return c, nil
}

// Check returns why a BMC cannot be read as it is described: no address, a name that is too long.
func (b BMC) Check() error {
	_, err := b.check()
	return err
}

func (b *BMC) check() (address string, err error) {
	b.CipherSuite = cmp.Or(b.CipherSuite, 3)
	switch {
	case b.Address == "":
		return "", errors.New("no address: give host or host:port")
	case b.CipherSuite != 3 && b.CipherSuite != 17:
		return "", fmt.Errorf("cipher suite %d: use 3 or 17", b.CipherSuite)
	case len(b.Username) > 16:
		return "", fmt.Errorf("the user name has %d bytes, IPMI allows 16", len(b.Username))
	case len(b.Password) > maxPassword:
		return "", fmt.Errorf("the password has %d bytes, IPMI allows %d", len(b.Password), maxPassword)
	}
	host, port, err := net.SplitHostPort(b.Address)
	if err != nil {
		return net.JoinHostPort(b.Address, "623"), nil
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "", fmt.Errorf("address %q: the port is no number", b.Address)
	}
	return net.JoinHostPort(host, port), nil
}

// Read returns what the node's BMC measures now. Reads of one node wait for each other, those of different
// nodes do not. A sensor that exists but gives no value is an error of its kind beside the other readings.
func (s *Source) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	c, err := s.controller(node)
	if err != nil {
		return nil, &sensors.Error{Source: "ipmi", Node: node, Err: err}
	}
	select {
	case c.turn <- struct{}{}:
		defer func() { <-c.turn }()
	case <-ctx.Done():
		return nil, c.failure("", ctx.Err())
	}
	return c.read(ctx)
}

// Close logs out of every BMC at once and waits at most [Options.Timeout] for each. A later Read logs in again.
func (s *Source) Close() error {
	s.mu.Lock()
	all := slices.Collect(maps.Values(s.nodes))
	s.mu.Unlock()
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			c.turn <- struct{}{}
			defer func() { <-c.turn }()
			c.logout()
		})
	}
	wg.Wait()
	return nil
}
