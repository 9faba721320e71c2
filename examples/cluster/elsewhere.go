package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
)

// elsewhere is the first argument of the process that plays the servers' hardware for the benchmark.
const elsewhere = "hardware-elsewhere"

// addresses are what a scheduler needs to ask the hardware. They go from one process to another through a pipe.
type addresses struct {
	Names     []string
	BMCs      []string // URLs, beside Names
	Exporters []string // URLs, beside Names
	Password  string   // of the BMCs
	PEM       []byte   // of the authority that signed their certificates

	Prometheus string // URL of the server that has scraped them all, where that is what is asked
}

// startElsewhere has a process of its own play the hardware of an idle fleet, at the lowest priority: it stands
// for devices with processors of their own, so it should take none from the scheduler. The returned function ends it.
func startElsewhere(ctx context.Context, o options) (_ *hardware, stop func(), err error) {
	path, err := os.Executable()
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, path, elsewhere, o.sensors, strconv.Itoa(o.nodes), strconv.FormatUint(o.seed, 10))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, nil, fmt.Errorf("the servers' hardware: %w", err)
	}
	stop = func() {
		in.Close()
		_ = cmd.Wait() // it ends because its input does
	}
	h := new(hardware)
	if err := json.NewDecoder(out).Decode(&h.addresses); err != nil {
		stop()
		return nil, nil, fmt.Errorf("the servers' hardware, in a process of its own: %w", err)
	}
	return h, stop, nil
}

// serveElsewhere is that process: it writes where the hardware is, and plays it until its input ends.
func serveElsewhere(args []string, in io.Reader, out io.Writer) error {
	if len(args) != 3 {
		return fmt.Errorf("%s is for -bench alone", elsewhere)
	}
	nodes, err := strconv.Atoi(args[1])
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	if err := lowestPriority(); err != nil {
		return fmt.Errorf("lowest priority: %w", err)
	}
	fleet, err := newFleet(nodes, seed)
	if err != nil {
		return err
	}
	start := startHardware
	if args[0] == sensorsOfPrometheus {
		start = startPrometheus
	}
	h, err := start(newPlant(fleet, seed))
	if err != nil {
		return err
	}
	defer h.Close()
	if err := json.NewEncoder(out).Encode(h.addresses); err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, in)
	return err
}
