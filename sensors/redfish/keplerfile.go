package redfish

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
)

// KeplerFile reads the file that Kepler uses for its own Redfish option, so that it need be written once:
//
//	nodes:
//	  worker-1: bmc-1
//	bmcs:
//	  bmc-1: {endpoint: "https://10.0.0.7", username: monitor, password: …, insecure: true}
//
// It returns the endpoints by node. Fields beyond these are Kepler's, and left alone. insecure switches
// verification off for that BMC alone.
func KeplerFile(name string) (map[string]Endpoint, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	const limit = 16 << 20
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if len(data) > limit {
		return nil, fmt.Errorf("%s: more than %d bytes", name, limit)
	}
	return parseKepler(name, data)
}

func parseKepler(name string, data []byte) (map[string]Endpoint, error) {
	var file struct {
		Nodes map[string]string `yaml:"nodes"`
		BMCs  map[string]struct {
			Endpoint string    `yaml:"endpoint"`
			Username string    `yaml:"username"`
			Password yaml.Node `yaml:"password"` // as it is: errors of the library quote values
			Insecure bool      `yaml:"insecure"`
		} `yaml:"bmcs"`
	}
	if err := yaml.Unmarshal(data, &file); err != nil {
		return nil, fmt.Errorf("%s: not a file of nodes and bmcs as Kepler has it", name)
	}
	if len(file.Nodes) == 0 {
		return nil, fmt.Errorf("%s: nodes: is missing or empty", name)
	}
	endpoints := make(map[string]Endpoint, len(file.Nodes))
	var errs []error
	for _, node := range slices.Sorted(maps.Keys(file.Nodes)) {
		id := file.Nodes[node]
		b, ok := file.BMCs[id]
		if !ok {
			errs = append(errs, fmt.Errorf("%s: nodes.%s: there is no BMC %q under bmcs", name, node, id))
			continue
		}
		if b.Password.Kind != 0 && b.Password.Kind != yaml.ScalarNode {
			errs = append(errs, fmt.Errorf("%s:%d: bmcs.%s.password: want one value", name, b.Password.Line, id))
			continue
		}
		if _, err := boundedhttp.New(b.Endpoint, boundedhttp.Options{}); err != nil {
			errs = append(errs, fmt.Errorf("%s: bmcs.%s: %w", name, id, err))
			continue
		}
		e := Endpoint{URL: b.Endpoint, User: b.Username, Password: b.Password.Value}
		if b.Insecure {
			e.TLS = &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS12}
		}
		endpoints[node] = e
	}
	return endpoints, errors.Join(errs...)
}
