package main

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// TestReplay runs the embedded trace through the real scheduler: the simulator must say beforehand what it will draw.
func TestReplay(t *testing.T) {
	controlplane.ForTest(t, "")
	t.Setenv("TMPDIR", t.TempDir())
	o, err := parseOptions(strings.Fields("-replay embedded -pods 30 -steps 10 -nodes 8 -json"), t.Output())
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	if err := run(t.Context(), o, &out, t.Output()); err != nil {
		t.Fatal(err)
	}
	var r replayed
	if err := json.Unmarshal([]byte(out.String()), &r); err != nil {
		t.Fatalf("stdout is not one JSON object: %v\n%s", err, out.String())
	}
	t.Log(out.String())
	if r.Pods != 30 || r.Waited != 0 || !(r.MeasuredWh >= r.BoundWh) || !(r.BoundWh > 0) || math.Abs(r.SimulatedWh/r.MeasuredWh-1-r.Error) > 1e-9 {
		t.Errorf("%+v", r)
	}
}

// TestReportOff holds the command to failing where the simulator is off.
func TestReportOff(t *testing.T) {
	for _, c := range []struct {
		r  replayed
		ok bool
	}{
		{replayed{MeasuredWh: 100, SimulatedWh: 101, BoundWh: 90, Error: 0.01}, true},
		{replayed{MeasuredWh: 100, SimulatedWh: 97, BoundWh: 90, Error: -0.03}, false},
		{replayed{MeasuredWh: 100, SimulatedWh: 100, BoundWh: 90, Waited: 1}, false},
		{replayed{Error: math.NaN()}, false},
	} {
		if err := c.r.report(io.Discard, false); (err == nil) != c.ok {
			t.Errorf("%+v: %v", c.r, err)
		}
	}
}

// TestPackedTrace: a trace is the same packed, and one that is not packed is told by its name.
func TestPackedTrace(t *testing.T) {
	fleet, err := newFleet(12, 1)
	if err != nil {
		t.Fatal(err)
	}
	o := options{replay: "embedded", replayFormat: "batch", pods: 40, steps: 12, load: 0.4}
	want, err := readVisits(o, fleet)
	if err != nil {
		t.Fatal(err)
	}
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	if _, err := z.Write(replayTrace); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	o.replay = filepath.Join(t.TempDir(), "trace.csv.gz")
	if err := os.WriteFile(o.replay, packed.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if got, err := readVisits(o, fleet); err != nil || !slices.Equal(got, want) || len(got) != 40 {
		t.Errorf("%v, %v; want %v", got, err, want)
	}
	if err := os.WriteFile(o.replay, replayTrace, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readVisits(o, fleet); err == nil || !strings.Contains(err.Error(), "trace.csv.gz") {
		t.Errorf("a trace that is not packed: %v", err)
	}
}

// TestShorten: every pod comes before it goes, none is larger than half a server, and the load is what was asked at its peak.
func TestShorten(t *testing.T) {
	fleet, err := newFleet(12, 1)
	if err != nil {
		t.Fatal(err)
	}
	jobs := []simulate.Job{
		{Duration: time.Minute, Requests: batch.Resources{CPU: 1}},
		{Arrival: time.Second, Duration: 1000 * time.Hour, Requests: batch.Resources{CPU: 2}},
		{Arrival: time.Hour, Duration: time.Nanosecond, Requests: batch.Resources{CPU: 1e9}},
	}
	const steps = 10
	for _, v := range shorten(jobs, steps, 0.4, fleet) {
		if v.comes < 0 || v.goes <= v.comes || v.goes > steps || v.milli < quantum || v.milli%quantum != 0 {
			t.Errorf("%+v", v)
		}
		for i := range fleet {
			if v.milli > int64(fleet[i].hardware.Threads)*500 {
				t.Errorf("%+v fills more than half of %s", v, fleet[i].name)
			}
		}
	}
}
