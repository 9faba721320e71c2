package simulate

import (
	"context"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// TestWaitsForANodeThatIsDown: a job that waits for a node which takes none ends the simulation, whatever ticks beside it.
func TestWaitsForANodeThatIsDown(t *testing.T) {
	large := testNode(t, "large", 8, 100, 200)
	large.Down = true
	small := testNode(t, "small", 4, 100, 200)
	lost := testNode(t, "lost", 8, 100, 200)
	lost.Failures = []Outage{{At: time.Second, For: math.MaxInt64}}
	for _, nodes := range [][]Node{{large, small}, {lost, small}} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute) // only a run that never ends sees it
		defer cancel()
		r, err := Run(ctx, Config{Nodes: nodes, Strategy: strategy(t, "leastwatt"), Sensors: &Sensors{Every: time.Minute},
			Rebalancer: batch.NewRebalancer(batch.RebalanceOptions{})}, Jobs([]Job{testJob("0", 2*time.Second, time.Hour, 6), testJob("1", 2*time.Second, time.Hour, 4)}))
		if err != nil {
			t.Fatal(err)
		}
		if r.Finished != 1 || r.Waiting != 1 || r.Makespan != time.Hour+2*time.Second {
			t.Errorf("%d finished, %d wait, makespan %v", r.Finished, r.Waiting, r.Makespan)
		}
	}
}

// TestBoundOfWhatIsUp: what is down draws nothing, and what sleeps may draw less than what is off; the bound knows both.
func TestBoundOfWhatIsUp(t *testing.T) {
	for _, off := range []bool{false, true} {
		a, b := testNode(t, "a", 4, 100, 200), testNode(t, "b", 4, 100, 200)
		a.OffPower, b.OffPower = 5, 5
		b.Suspend = &Sleep{Power: 2}
		a.Failures = []Outage{{At: 5 * time.Second, For: 20 * time.Second}}
		r := run(t, Config{Nodes: []Node{a, b}, Strategy: strategy(t, "fcfs"), Bound: true, SwitchOff: off, To: time.Minute},
			testJob("1", 0, 10*time.Second, 4), testJob("2", time.Second, 10*time.Second, 4))
		if off && r.OverBound() < 1 {
			t.Errorf("energy is %v of the bound", r.OverBound())
		}
		if !off { // linear curves: every placement draws the least
			near(t, "bound", float64(r.Bound), float64(r.Energy))
		}
	}
}

// TestRestartTogether: a node that comes back takes all of its jobs again at once, and of those that wait the urgent first.
func TestRestartTogether(t *testing.T) {
	a := testNode(t, "a", 400, 100, 200)
	a.Failures = []Outage{{At: 10 * time.Second, For: 10 * time.Second}}
	var jobs []Job
	for i := range 300 {
		jobs = append(jobs, testJob(fmt.Sprint(i), 0, 100*time.Second, 1))
	}
	if r := run(t, Config{Nodes: []Node{a}, Strategy: strategy(t, "fcfs")}, jobs...); r.Makespan != 120*time.Second || r.Restarted != 300 {
		t.Errorf("%d restarted, the last ended after %v", r.Restarted, r.Makespan)
	}
	for _, every := range []time.Duration{0, time.Second} {
		a, b := testNode(t, "a", 4, 100, 200), testNode(t, "b", 4, 100, 200)
		b.Failures = []Outage{{At: 10 * time.Second, For: 10 * time.Second}}
		urgent := testJob("urgent", time.Second, 100*time.Second, 4)
		urgent.Priority = 1
		jobs := []Job{testJob("low", 0, 100*time.Second, 4), urgent}
		for i := range 150 { // more than are looked at in one decision
			jobs = append(jobs, testJob(fmt.Sprint(i), 5*time.Second, 100*time.Second, 4))
		}
		var order []string
		run(t, Config{Nodes: []Node{a, b}, Strategy: strategy(t, "fcfs"), Every: every, OnJob: func(r Record) { order = append(order, r.Job.Name) }}, jobs...)
		if want := []string{"low", "urgent", "0", "1"}; !slices.Equal(order[:4], want) || len(order) != 152 {
			t.Errorf("every %v: jobs end in the order %v, want %v", every, order[:4], want)
		}
	}
}

// TestOverdue: who has not ended by its deadline when the simulation ends has missed it, whether it waits, runs or is held.
func TestOverdue(t *testing.T) {
	j := func(name string, at time.Duration) Job {
		j := testJob(name, at, time.Hour, 4)
		j.Deadline = time.Minute
		return j
	}
	late := testJob("later", 0, time.Hour, 1)
	late.Deadline = 2 * time.Hour
	var running []Record
	r := run(t, Config{Nodes: []Node{testNode(t, "a", 5, 100, 200)}, Strategy: strategy(t, "fcfs"), To: 10 * time.Minute,
		OnJob: func(r Record) { running = append(running, r) }}, late, j("runs", 0), j("waits", time.Second))
	if r.Missed != 2 || r.Waiting != 1 {
		t.Errorf("%d missed, %d wait", r.Missed, r.Waiting)
	}
	// Those that still run are told, with what they took: 4/5 of 200 W, and 1/5.
	if len(running) != 2 || !running[0].Running || running[0].Node != "a" || running[0].End != 0 {
		t.Fatalf("%+v", running)
	}
	for _, x := range running {
		near(t, x.Job.Name, float64(x.Energy), 600*200*x.Job.Requests.CPU/5)
	}
}
