// Quickstart ranks three servers for one demand, without Kubernetes: where would 4 more cores draw the fewest watts?
//
// Each server has a published power curve and an emulated BMC that tells its inlet temperature over Redfish. One BMC is
// dead: its server ranks last, and says why.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/redfish"
)

func main() {
	asJSON := flag.Bool("json", false, "print one JSON object")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintf(os.Stderr, "quickstart: unexpected argument %q\n", flag.Arg(0))
		os.Exit(2)
	}
	if err := run(context.Background(), os.Stdout, *asJSON); err != nil {
		fmt.Fprintln(os.Stderr, "quickstart:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, out io.Writer, asJSON bool) error {
	bmcs, stop, err := startBMCs() // yours are real: redfish.Endpoint{URL: "https://10.0.0.7", User: …}
	if err != nil {
		return err
	}
	defer stop()

	// What measures the servers. A BMC knows no CPU load; here a function does, in production Kepler or Prometheus.
	load := map[string]float64{"old": 0.30, "new": 0.30, "silent": 0.10}
	source := sensors.Merge(redfish.New(redfish.Nodes(bmcs), redfish.Options{Kinds: []sensors.Kind{sensors.InletTemp}, Timeout: time.Second}),
		sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
			return []sensors.Reading{{Kind: sensors.CPUUtilization, Value: load[node], At: time.Now(), Source: "quickstart"}}, nil
		}))

	// What predicts their power: a published curve, and how it answers to warm air.
	fleet := scoring.NewFleet(scoring.FleetOptions{})
	readings := make(map[string]*sensors.NodeReadings)
	for node, model := range map[string]string{"old": "PowerEdge R720", "new": "PowerEdge R6515", "silent": "PowerEdge R6515"} {
		server, err := power.FindServer(model)
		if err != nil {
			return err
		}
		predictor, err := power.NewInlet(server.Curve(), power.PublishedInletResponse())
		if err != nil {
			return err
		}
		fleet.Put(scoring.Spec{Name: node, Capacity: server.Capacity(), Predictor: predictor, Model: server.Name(), Prior: true})
		got, err := source.Read(ctx, node) // a sensors.Poller does this in the background
		readings[node] = &sensors.NodeReadings{Node: node, Readings: got, Err: err}
	}

	// Join them, and ask: what would 4 cores for an hour cost on each?
	now := time.Now()
	if err := fleet.Refresh(ctx, sensors.NewSnapshot(now, readings), now); err != nil {
		return err
	}
	var nodes []scoring.Node
	fleet.View().All(func(n *scoring.Node) bool { nodes = append(nodes, *n); return true })
	ranked, err := scoring.Explain(ctx, scoring.EnvelopePower{}, scoring.Demand{CPU: 4, Lifetime: time.Hour}, nodes, now)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(out, ranked)
	}
	return printTable(out, ranked)
}

func printTable(out io.Writer, ranked []scoring.Candidate) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "RANK\tNODE\tWATTS BEFORE\tAFTER\tADDED NOW\tWHY (cost along the envelope of the curve)")
	for _, c := range ranked {
		if c.PowerErr != nil {
			fmt.Fprintf(w, "%d\t%s\t-\t-\t-\t%s\n", c.Rank, c.Node, c.Reason)
			continue
		}
		fmt.Fprintf(w, "%d\t%s\t%.1f\t%.1f\t%+.2f\t%s\n", c.Rank, c.Node, float64(c.Before), float64(c.After), float64(c.After-c.Before), c.Reason)
	}
	return w.Flush()
}

// printJSON prints null where a prediction is not known, never 0.
func printJSON(out io.Writer, ranked []scoring.Candidate) error {
	type candidate struct {
		Node          string       `json:"node"`
		WattsBefore   *power.Watts `json:"wattsBefore"`
		WattsAfter    *power.Watts `json:"wattsAfter"`
		MarginalWatts *power.Watts `json:"marginalWatts"`
		Rank          int          `json:"rank"`
		Reason        string       `json:"reason"`
	}
	result := struct {
		Candidates []candidate `json:"candidates"`
	}{}
	for _, c := range ranked {
		j := candidate{Node: c.Node, Rank: c.Rank, Reason: c.Reason}
		if c.PowerErr == nil {
			j.WattsBefore, j.WattsAfter, j.MarginalWatts = &c.Before, &c.After, new(c.After-c.Before)
		}
		result.Candidates = append(result.Candidates, j)
	}
	e := json.NewEncoder(out)
	e.SetEscapeHTML(false)
	return e.Encode(result)
}
