package main

import (
	"context"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/redfish"
)

// rank is the SDK from end to end: on which of these servers would four more cores for an hour draw the fewest watts?
func rank(ctx context.Context, bmcs map[string]redfish.Endpoint) ([]scoring.Candidate, error) {
	// What measures the servers. A BMC knows no CPU load; here a function does, in production Kepler or Prometheus.
	load := map[string]float64{"old": 0.30, "new": 0.30, "silent": 0.10}
	source := sensors.Merge(
		redfish.New(redfish.Nodes(bmcs), redfish.Options{Kinds: []sensors.Kind{sensors.InletTemp}, Timeout: time.Second}),
		sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
			return []sensors.Reading{{Kind: sensors.CPUUtilization, Value: load[node], At: time.Now(), Source: "quickstart"}}, nil
		}))

	// What predicts their power: a published curve, and how it answers to warm air.
	fleet := scoring.NewFleet(scoring.FleetOptions{})
	readings := make(map[string]*sensors.NodeReadings)
	for node, model := range map[string]string{"old": "PowerEdge R720", "new": "PowerEdge R6515", "silent": "PowerEdge R6515"} {
		server, err := power.FindServer(model)
		if err != nil {
			return nil, err
		}
		predictor, err := power.NewInlet(server.Curve(), power.PublishedInletResponse())
		if err != nil {
			return nil, err
		}
		fleet.Put(scoring.Spec{Name: node, Capacity: server.Capacity(), Predictor: predictor, Model: server.Name(), Prior: true})
		got, err := source.Read(ctx, node) // a sensors.Poller does this in the background
		readings[node] = &sensors.NodeReadings{Node: node, Readings: got, Err: err}
	}

	// Join them, and ask.
	now := time.Now()
	if err := fleet.Refresh(ctx, sensors.NewSnapshot(now, readings), now); err != nil {
		return nil, err
	}
	nodes := fleet.View().Nodes()
	return scoring.Explain(ctx, scoring.EnvelopePower{}, scoring.Demand{CPU: 4, Lifetime: time.Hour}, nodes, now)
}
