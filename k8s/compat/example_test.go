package compat_test

import (
	"fmt"

	"github.com/leastwatt/leastwatt/k8s/compat"
)

func ExampleParsePeaks() {
	a, err := compat.ParsePeaks([]byte(`{"node-1": {"k0": 174.0, "k1": -91.5, "k2": -0.0719}}`))
	fmt.Println(a.NodePowerModel["node-1"].K1, err)
	// Output: -91.5 <nil>
}
