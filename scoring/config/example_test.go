package config_test

import (
	"fmt"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
)

func ExampleConfig() {
	c, err := config.Parse("site.yaml", []byte(`
models:
  - name: big ones
    labels: {size: big}
    kind: piecewise
    watts: [50, 80, 100]
scoring: {maxAge: 30s}
`))
	if err != nil {
		panic(err)
	}
	spec, err := c.Bind(scoring.Machine{Name: "n1", Cores: 32, Labels: map[string]string{"size": "big"}})
	fmt.Println(spec.Model, spec.Capacity.Cores, err)
	_, err = c.Bind(scoring.Machine{Name: "n2", Cores: 32})
	fmt.Println(err)
	_, err = config.Parse("site.yaml", []byte("scoring:\n  maxAeg: 30s\n"))
	fmt.Println(err)
	// Output:
	// big ones 32 <nil>
	// site.yaml: no model fits: no model
	// site.yaml:2: scoring.maxAeg: there is no such field; there are scorer, switchOff, wakeHorizon, gramsPerKWh, maxAge, refresh
}
