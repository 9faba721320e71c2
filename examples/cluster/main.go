// Command cluster shows what LeastWatt saves: it starts a real Kubernetes control plane on loopback, with
// simulated servers whose power follows published curves, places the same pods first with the default
// scheduler and then with LeastWatt, and prints what both placements draw beside the lower bound.
//
//	go run ./examples/cluster -nodes 24 -pods 120 -load 0.4 -seed 1
//
// Real are etcd, kube-apiserver, kube-controller-manager, kube-scheduler with the plugin, and every byte
// between the plugin and the sensors: each server has a BMC that speaks Redfish over HTTPS and an
// exporter that speaks like Kepler. Simulated are the kubelets (kwok) and the physics behind the sensors.
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
	if len(os.Args) > 1 && os.Args[1] == elsewhere {
		if err := serveElsewhere(os.Args[2:], os.Stdin, os.Stdout); err != nil {
			fmt.Fprintln(os.Stderr, "cluster:", err)
			os.Exit(1)
		}
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	ctx, cancel := withGoRun(ctx)
	defer cancel()
	o, err := parseOptions(os.Args[1:], os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return
	case err != nil:
		os.Exit(2)
	}
	err = run(ctx, o, os.Stdout, os.Stderr)
	switch {
	case err == nil:
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		fmt.Fprintln(os.Stderr, "cluster: interrupted; everything is stopped and removed")
		os.Exit(130) // as shells have it for Ctrl-C
	default:
		fmt.Fprintln(os.Stderr, "cluster:", err)
		os.Exit(1)
	}
}

// run does what the options say. Results go to out and progress to stderr, or both to out where people read.
func run(ctx context.Context, o options, out, stderr io.Writer) error {
	progress := out
	if o.json {
		progress = stderr
	}
	if o.bench {
		return runBench(ctx, o, progress)
	}
	if o.replay != "" {
		return runReplay(ctx, o, out, progress)
	}
	return runComparison(ctx, o, out, progress)
}
