package sensorstest_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/sensorstest"
)

// A source of one's own, and what the suite says of it.
func ExampleTestSource() {
	source := sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
		if node != "worker-1" {
			return nil, nil // it should say that it does not know the node
		}
		return []sensors.Reading{{Kind: sensors.Power, Value: 180, At: time.Now(), Source: "mine"}}, nil
	})
	fmt.Println(sensorstest.TestSource(source, sensorstest.Want{Node: "worker-1", Kinds: []sensors.Kind{sensors.Power}}))
	// Output:
	// sensorstest: Read("sensorstest-unknown") returned no error
}
