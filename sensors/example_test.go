package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// A BMC that is dead, and an exporter to fall back to.
func ExampleFirst() {
	bmc := sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
		return nil, &sensors.Error{Source: "bmc", Node: node, Err: sensors.ErrUnreachable}
	})
	exporter := sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) {
		return []sensors.Reading{{Kind: sensors.Power, Value: 215, At: time.Now(), Source: "exporter"}}, nil
	})
	readings, err := sensors.First(bmc, exporter).Read(context.Background(), "worker-1")
	fmt.Println(readings[0].Kind, readings[0].Value, readings[0].Source)
	fmt.Println("but", err)
	// Output:
	// power_watts 215 exporter
	// but bmc: node "worker-1": unreachable
}

// Each kind comes from the first source that has it; an inlet from the BMC, but its power from the meter.
func ExampleMergeBy() {
	source := func(name string, kinds ...sensors.Kind) sensors.SensorSource {
		return sensors.SourceFunc(func(context.Context, string) (r []sensors.Reading, _ error) {
			for _, k := range kinds {
				r = append(r, sensors.Reading{Kind: k, Value: 21, At: time.Now(), Source: name})
			}
			return r, nil
		})
	}
	bmc := source("bmc", sensors.InletTemp, sensors.Power)
	meter := source("meter", sensors.Power)
	merged := sensors.MergeBy(map[sensors.Kind][]int{sensors.Power: {1, 0}}, bmc, meter)
	readings, _ := merged.Read(context.Background(), "worker-1")
	for _, r := range readings {
		fmt.Println(r.Kind, r.Source)
	}
	// Output:
	// inlet_temp_celsius bmc
	// power_watts meter
}

func ExamplePoller() {
	source := sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
		if node == "worker-2" {
			return nil, &sensors.Error{Source: "demo", Node: node, Err: sensors.ErrUnreachable}
		}
		return []sensors.Reading{{Kind: sensors.InletTemp, Value: 23.5, At: time.Now(), Source: "demo"}}, nil
	})
	p := sensors.NewPoller(source, []string{"worker-1", "worker-2"}, sensors.PollerOptions{})

	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- p.Run(ctx) }()
	for p.Snapshot().Len() < 2 { // a program would decide with what there is
		time.Sleep(time.Millisecond)
	}
	for _, node := range []string{"worker-1", "worker-2"} {
		r, err := p.Snapshot().Node(node).Fresh(sensors.InletTemp, time.Now(), time.Minute)
		switch {
		case err == nil:
			fmt.Printf("%s: %v °C\n", node, r.Value)
		case errors.Is(err, sensors.ErrNoReading):
			fmt.Printf("%s: unknown, %s\n", node, sensors.Reason(p.Snapshot().Node(node).Err))
		}
	}
	cancel()
	fmt.Println(<-done)
	// Output:
	// worker-1: 23.5 °C
	// worker-2: unknown, unreachable
	// <nil>
}

// A BMC that refuses the credentials is left alone before it locks the account.
func ExampleBreaker() {
	asked := 0
	bmc := sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
		asked++
		return nil, &sensors.Error{Source: "bmc", Node: node, Err: sensors.ErrUnauthorized}
	})
	breaker := sensors.NewBreaker(bmc, sensors.BreakerOptions{})
	var err error
	for range 10 {
		_, err = breaker.Read(context.Background(), "worker-1")
	}
	_, paused := breaker.Paused("worker-1")
	fmt.Println(asked, paused, sensors.Reason(err))
	// Output:
	// 2 true unauthorized
}
