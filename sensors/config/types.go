package config

import (
	"crypto/tls"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// A Type is a type of sources that a program adds to those that are built in: one that needs a library which this
// module is without, such as metrics.k8s.io, or one of its own. It reads all nodes through one endpoint.
type Type struct {
	// Name is what the field type says. It is none of those that are built in.
	Name string

	// Uses are the fields of an endpoint that it takes beside url: of user, password, token, tls. Others are
	// errors of the file.
	Uses []string

	// NoURL says that it works without a url as well.
	NoURL bool

	// New makes a source. It connects to nothing. Where the source has a method Close, the set calls it.
	New func(Endpoint) (sensors.SensorSource, error)
}

// An Endpoint is what the file says of a source of a [Type].
type Endpoint struct {
	URL      string // as the file has it; "" where it has none
	User     string
	Password func() (string, error) // to be asked at every use; nil: none
	Token    func() (string, error) // the same, of a bearer token
	TLS      *tls.Config            // nil: the system's roots
	Timeout  time.Duration          // of one request; 0: the source's own
}

// builtIn are the types that every program has.
const builtIn = "redfish,ipmi,kepler,scaphandre,dcgm,ipmi-exporter,prometheus,load-watcher,pressure,sysfs"

// add takes in the types of a program.
func (c *Config) add(types []Type) error {
	c.types = make(map[string]Type, len(types))
	for _, t := range types {
		if _, twice := c.types[t.Name]; twice || t.Name == "" || t.New == nil || uses[t.Name] != nil {
			return fmt.Errorf("sensors: type %q cannot be added: it needs a name of its own and New", t.Name)
		}
		c.types[t.Name] = t
	}
	return nil
}

// typeNames returns the names of all types.
func (c *Config) typeNames() string {
	names := strings.Split(builtIn, ",")
	return strings.Join(append(names, slices.Sorted(maps.Keys(c.types))...), ", ")
}

// uses returns which fields of an endpoint a type has, beside url; nil for one that is not known.
func (c *Config) uses(name string) []string {
	if t, ok := c.types[name]; ok {
		return append([]string{}, t.Uses...)
	}
	return uses[name]
}

// shared tells whether a type has one endpoint for all nodes.
func (c *Config) shared(name string) bool {
	_, added := c.types[name]
	return added || slices.Contains(shared, name)
}

// added makes a source of a type that the program added.
func (b *builder) added(at string, s *single, t Type) (sensors.SensorSource, error) {
	r := resolved{endpoint: s.endpoint}
	if err := b.resolve(&r, Node{}); err != nil {
		return nil, b.errorf(at, "%w", err)
	}
	src, err := t.New(Endpoint{URL: r.URL, User: r.User, Password: r.password, Token: r.token, TLS: r.tls, Timeout: s.Timeout})
	if err != nil {
		return nil, b.errorf(at, "%w", err)
	}
	return src, nil
}
