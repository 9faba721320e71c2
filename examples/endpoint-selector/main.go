// Endpoint-selector divides requests between endpoints where they cost the fewest watts.
//
// With -simulate it needs nothing: ten servers with published power curves and background load answer a day of
// requests, divided by each weigher, beside the exact optimum.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout, os.Stderr); err != nil && !errors.Is(err, context.Canceled) {
		if !errors.Is(err, flag.ErrHelp) {
			fmt.Fprintln(os.Stderr, "endpoint-selector:", err)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out, errOut io.Writer) error {
	fs := flag.NewFlagSet("endpoint-selector", flag.ContinueOnError)
	fs.SetOutput(errOut)
	var (
		simulated = fs.Bool("simulate", false, "compare the weighers on ten simulated servers and exit")
		seed      = fs.Uint64("seed", 1, "seed of the simulated servers and their background")
		asJSON    = fs.Bool("json", false, "with -simulate: print one JSON object")
		requests  = fs.String("requests", "", "with -simulate: replay the requests of this `file` (counts, or a CSV of timestamps) instead of the embedded day")
		limit     = fs.Float64("limit", 1, "with -simulate: utilization up to which Optimal fills a server")
	)
	if err := fs.Parse(args); err != nil {
		return err
	}
	if fs.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	if !*simulated {
		return errors.New("say -simulate")
	}
	pattern := dayPattern()
	if *requests != "" {
		var err error
		if pattern, err = readRequests(*requests); err != nil {
			return err
		}
	}
	return simulate(ctx, out, *seed, pattern, *limit, *asJSON)
}
