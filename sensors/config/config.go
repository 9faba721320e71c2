// Package config reads the section "sensors" of a site's YAML file: which sources there are, the credentials
// and addresses that they are read with, and how often. The same file may hold the sections "models",
// "scoring" and "objective", which package scoring/config reads.
//
// Its main type is [Config]. Reading is strict: whatever is not understood is an error with file, line and
// field. Passwords and tokens stand in files or in the environment, never in the YAML.
//
//	sensors:
//	  poll: {interval: 10s}
//	  sources:
//	  - type: redfish
//	    url: https://{{.Name}}-bmc.example.com
//	    user: monitor
//	    passwordFile: /etc/leastwatt/bmc-password
//	    tls: {caFile: /etc/leastwatt/bmc-ca.pem}
//	  - type: kepler
//	    url: http://{{.Address}}:28282/metrics
//
// Texts in double braces are templates over the node; see [Node].
package config

import (
	"fmt"
	"path"
	"path/filepath"
	"reflect"
	"slices"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/internal/strictyaml"
	"github.com/leastwatt/leastwatt/sensors"
)

// MaxBytes bounds the size of a file.
const MaxBytes = strictyaml.MaxBytes

// A Config is what the section says. [Config.Build] makes sources of it.
type Config struct {
	file    string
	section section
	types   map[string]Type       // that the program added
	lines   map[string]*yaml.Node // of sources, by the path of their field
}

// section is the section "sensors".
type section struct {
	Poll       poll                      `yaml:"poll" doc:"how often nodes are read"`
	Sources    []source                  `yaml:"sources" required:"true" doc:"where readings come from; of a kind that several give, the first listed wins"`
	Precedence map[sensors.Kind][]string `yaml:"precedence" doc:"for single kinds, the names of the sources that win, best first"`
	Nodes      []node                    `yaml:"nodes" doc:"nodes and their addresses, where no cluster tells them"`
}

type poll struct {
	Interval    time.Duration `yaml:"interval" doc:"between reads of a node (10s)"`
	Timeout     time.Duration `yaml:"timeout" doc:"deadline of one read (5s)"`
	Concurrency int           `yaml:"concurrency" doc:"reads at once (64)"`
	MaxBackoff  time.Duration `yaml:"maxBackoff" doc:"longest time between reads of a node that fails (8 intervals)"`
}

type node struct {
	Name    string            `yaml:"name" required:"true"`
	Address string            `yaml:"address" doc:"host or IP address, for templates"`
	Labels  map[string]string `yaml:"labels" doc:"for templates"`
	Cores   float64           `yaml:"cores" doc:"CPU capacity, where utilization is derived from cores in use"`
}

// source is one source, with those that it falls back to.
type source struct {
	single
	Fallback []single `yaml:"fallback" doc:"asked one after the other when this source gives nothing"`
}

// single is one source with its endpoint, which holds for all nodes that perNode does not except.
type single struct {
	Name  string   `yaml:"name" doc:"how precedence and errors call it (its type)"`
	Type  string   `yaml:"type" required:"true" examples:"redfish,ipmi,kepler,scaphandre,dcgm,ipmi-exporter,prometheus,load-watcher,pressure,sysfs,metrics.k8s.io" doc:"the protocol; programs may add to those that are built in"`
	Nodes []string `yaml:"nodes" doc:"patterns of the names of the nodes that it reads, such as rack1-* (all)"`
	Kinds []string `yaml:"kinds" doc:"the only kinds that are taken from it (all)"`
	endpoint
	queries
	treatment
	PerNode    map[string]endpoint `yaml:"perNode" doc:"what is different for single nodes"`
	KeplerFile string              `yaml:"keplerFile" doc:"redfish: nodes and BMCs from the file that Kepler uses for its Redfish option"`
	Timeout    time.Duration       `yaml:"timeout" doc:"of one request (5s)"`
}

// endpoint is where and how a node is read. All texts are templates.
type endpoint struct {
	URL          string            `yaml:"url" doc:"address of the endpoint, with its path where it is an exporter; for ipmi, host or host:port; for sysfs, where it is mounted (/sys)"`
	User         string            `yaml:"user"`
	PasswordFile string            `yaml:"passwordFile" doc:"file with the password, read at every use"`
	PasswordEnv  string            `yaml:"passwordEnv" doc:"environment variable with the password"`
	TokenFile    string            `yaml:"tokenFile" doc:"file with a bearer token, read at every use"`
	TokenEnv     string            `yaml:"tokenEnv" doc:"environment variable with a bearer token"`
	TLS          *tlsSettings      `yaml:"tls" doc:"how the endpoint is verified (by the system's roots)"`
	Session      *bool             `yaml:"session" doc:"redfish: log in once and keep the session (false)"`
	Chassis      string            `yaml:"chassis" doc:"redfish: the Id of the chassis (found)"`
	Override     map[string]string `yaml:"override" doc:"redfish: for single kinds, path and JSON pointer of the value"`
	Match        map[string]string `yaml:"match" doc:"exporters: labels that choose the node's series"`
	Sensors      map[string]string `yaml:"sensors" doc:"ipmi and ipmi-exporter: for single kinds, the name of the sensor"`
	CipherSuite  *int              `yaml:"cipherSuite" doc:"ipmi: 3 or 17 (3)"`
}

type tlsSettings struct {
	CAFile             string `yaml:"caFile" doc:"PEM file of the authorities to trust"`
	CertFile           string `yaml:"certFile" doc:"PEM file of a client certificate"`
	KeyFile            string `yaml:"keyFile" doc:"PEM file of its key"`
	ServerName         string `yaml:"serverName" doc:"the name to verify"`
	InsecureSkipVerify bool   `yaml:"insecureSkipVerify" doc:"do not verify, for this endpoint alone"`
}

// Load reads a file of at most [MaxBytes]. Relative paths in it are taken from its folder. Its sources may be of the
// types that are built in, and of the program's.
func Load(name string, types ...Type) (*Config, error) {
	data, err := strictyaml.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return Parse(name, data, types...)
}

// Parse reads YAML as [Load] does; file is the name that errors give.
func Parse(file string, data []byte, types ...Type) (*Config, error) {
	root, err := strictyaml.Document(file, data)
	if err != nil {
		return nil, err
	}
	var sections struct {
		Sensors *yaml.Node `yaml:"sensors" required:"true"`
		Models  *yaml.Node `yaml:"models"`
		Scoring *yaml.Node `yaml:"scoring"`

		Objective *yaml.Node `yaml:"objective"`
	}
	if err := strictyaml.Decode(file, root, "", &sections); err != nil {
		return nil, err
	}
	return ParseSection(file, sections.Sensors, types...)
}

// ParseSection reads the section of a file that somebody else has taken apart.
func ParseSection(file string, n *yaml.Node, types ...Type) (*Config, error) {
	c := &Config{file: file, lines: make(map[string]*yaml.Node)}
	if n == nil {
		return nil, fmt.Errorf("%s: sensors: is missing", file)
	}
	if err := c.add(types); err != nil {
		return nil, err
	}
	if err := strictyaml.Decode(file, n, "sensors", &c.section); err != nil {
		return nil, err
	}
	c.note(n, "sensors")
	if err := c.check(); err != nil {
		return nil, err
	}
	return c, nil
}

// note remembers the lines of fields, for what is found out later than at decoding.
func (c *Config) note(n *yaml.Node, path string) {
	if len(c.lines) > 100_000 {
		return
	}
	c.lines[path] = n
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			c.note(n.Content[i+1], path+"."+n.Content[i].Value)
		}
	case yaml.SequenceNode:
		for i, x := range n.Content {
			c.note(x, fmt.Sprintf("%s[%d]", path, i))
		}
	}
}

func (c *Config) errorf(path, format string, args ...any) error {
	return strictyaml.Errorf(c.file, c.lines[path], path, format, args...)
}

// Schema returns the JSON schema of the whole file, in which the sections of other packages may be anything.
func Schema() map[string]any {
	return map[string]any{
		"$schema": "https://json-schema.org/draft/2020-12/schema",
		"title":   "Leastwatt's configuration of sensors",
		"type":    "object",
		"properties": map[string]any{
			"sensors": strictyaml.Schema(reflect.TypeFor[section]()), "models": map[string]any{}, "scoring": map[string]any{}, "objective": map[string]any{},
		},
		"required":             []string{"sensors"},
		"additionalProperties": false,
	}
}

// Nodes returns the names of the nodes that the file lists.
func (c *Config) Nodes() []string {
	var names []string
	for _, n := range c.section.Nodes {
		names = append(names, n.Name)
	}
	return names
}

// PollerOptions returns what the file says of polling.
func (c *Config) PollerOptions() sensors.PollerOptions {
	p := c.section.Poll
	return sensors.PollerOptions{Interval: p.Interval, Timeout: p.Timeout, Concurrency: p.Concurrency, MaxBackoff: p.MaxBackoff}
}

// path resolves a path of the file, which is relative to its folder.
func (c *Config) path(name string) string {
	if name == "" || filepath.IsAbs(name) {
		return name
	}
	return filepath.Join(filepath.Dir(c.file), name)
}

// reads reports whether a source reads a node.
func (s *single) reads(node string) bool {
	return len(s.Nodes) == 0 || slices.ContainsFunc(s.Nodes, func(pattern string) bool {
		ok, err := path.Match(pattern, node)
		return ok && err == nil
	})
}
