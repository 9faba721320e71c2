package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors"
)

// A generator loads the server with a percentage of all its CPUs until stop is called, which returns when the
// load has ended.
type generator interface {
	run(ctx context.Context, percent int) (stop func(), err error)
	String() string
}

func newGenerator() generator {
	if path, err := exec.LookPath("stress-ng"); err == nil {
		return stressNG(path)
	}
	return spinning(runtime.NumCPU())
}

// stressNG is the path of the program.
type stressNG string

func (s stressNG) String() string { return "stress-ng" }

func (s stressNG) run(ctx context.Context, percent int) (func(), error) {
	if percent == 0 {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	cmd := exec.CommandContext(ctx, string(s), "--cpu", strconv.Itoa(runtime.NumCPU()), "--cpu-load", strconv.Itoa(percent), "--quiet")
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it ends its children itself
	cmd.WaitDelay = 10 * time.Second
	if err := cmd.Start(); err != nil {
		cancel()
		return nil, err
	}
	return func() {
		cancel()
		_ = cmd.Wait() // ended by the signal
	}, nil
}

// spinning is a number of CPUs that are each kept busy for a part of every tenth of a second.
type spinning int

func (s spinning) String() string {
	return fmt.Sprintf("%d busy loops (stress-ng is not installed)", int(s))
}

func (s spinning) run(ctx context.Context, percent int) (func(), error) {
	if percent == 0 {
		return func() {}, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	for range int(s) {
		wg.Go(func() { spin(ctx, percent) })
	}
	return func() { cancel(); wg.Wait() }, nil
}

const period = 100 * time.Millisecond

func spin(ctx context.Context, percent int) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	x := 1.0
	for next := time.Now(); ctx.Err() == nil; next = next.Add(period) {
		for busy := next.Add(period * time.Duration(percent) / 100); time.Now().Before(busy); {
			for range 10_000 {
				x = math.Sqrt(x*1.0000001 + 1)
			}
		}
		if wait(ctx, time.Until(next.Add(period))) != nil {
			break
		}
	}
	sink.Store(math.Float64bits(x))
}

var sink atomic.Uint64 // keeps the loops from being optimised away

// An emulation is a published server that obeys at once, as generator and as sensor.
type emulation struct {
	curve *power.Piecewise
	name  string

	mu    sync.Mutex
	level float64    // guarded by mu
	rng   *rand.Rand // guarded by mu
}

func newEmulation(name string) (*emulation, error) {
	s, err := power.FindServer(name)
	if err != nil {
		return nil, err
	}
	return &emulation{curve: s.Curve(), name: s.Name(), rng: rand.New(rand.NewPCG(1, 2))}, nil
}

func (e *emulation) String() string { return "an emulated " + e.name }

func (e *emulation) run(_ context.Context, percent int) (func(), error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.level = float64(percent) / 100
	return func() {}, nil
}

func (e *emulation) Read(_ context.Context, _ string) ([]sensors.Reading, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	u := min(max(e.level+0.01*e.rng.NormFloat64(), 0), 1)
	w := float64(e.curve.At(u)) * (1 + 0.01*e.rng.NormFloat64())
	now := time.Now()
	return []sensors.Reading{
		{Kind: sensors.CPUUtilization, Value: u, At: now, Source: "emulation"},
		{Kind: sensors.InletTemp, Value: 22 + 3*u + 0.2*e.rng.NormFloat64(), At: now, Source: "emulation"},
		{Kind: sensors.Power, Value: w, At: now, Source: "emulation"},
	}, nil
}

// A cpuMeter reads this machine's utilization from the kernel's counters.
type cpuMeter struct{ busy, all uint64 }

func newCPUMeter() *cpuMeter {
	m := &cpuMeter{}
	m.busy, m.all, _ = kernelCPU() // an error shows again when it is read
	return m
}

// utilization returns the busy share since the last call.
func (m *cpuMeter) utilization() (float64, error) {
	busy, all, err := kernelCPU()
	if err != nil {
		return 0, err
	}
	if all <= m.all {
		return 0, errors.New("/proc/stat: the counters have not moved")
	}
	u := float64(busy-m.busy) / float64(all-m.all)
	m.busy, m.all = busy, all
	return u, nil
}

// kernelCPU sums the jiffies of the line "cpu" of /proc/stat: user, nice, system, idle, iowait, irq, softirq,
// steal (proc(5)); the guests' are in user already.
func kernelCPU() (busy, all uint64, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	return parseCPU(data)
}

func parseCPU(data []byte) (busy, all uint64, err error) {
	first, _, _ := bytes.Cut(data, []byte("\n"))
	f := bytes.Fields(first)
	if len(f) < 9 || string(f[0]) != "cpu" {
		return 0, 0, fmt.Errorf("/proc/stat: %q is not the line of all CPUs", first)
	}
	for i, text := range f[1:9] {
		v, err := strconv.ParseUint(string(text), 10, 64)
		if err != nil {
			return 0, 0, fmt.Errorf("/proc/stat: %w", err)
		}
		if all += v; i != 3 && i != 4 {
			busy += v
		}
	}
	return busy, all, nil
}
