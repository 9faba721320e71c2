// Quickstart ranks three servers for one demand, without Kubernetes: where would 4 more cores draw the fewest watts?
//
// Each server has a published power curve and an emulated BMC that tells its inlet temperature over Redfish. One BMC is
// dead: its server ranks last, and says why. The SDK part is rank.go; the rest is flags, printing and the emulated BMCs.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"text/tabwriter"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
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
	ranked, err := rank(ctx, bmcs)
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
