package main

import (
	"testing"
	"time"
)

// A job is suspended only if what is left of it has a place after the pause in which it ends in time, beside those that wait; and until it goes on it keeps that.
func TestPauseKeepsAPlace(t *testing.T) {
	fleet, err := newFleet(t.Context(), testMachines(t, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	latest := func(j *Job) time.Time { return j.latest(noon, 1.1, 0) }
	after := func(hours float64) time.Time { return noon.Add(time.Duration(hours * float64(time.Hour))) }
	runs := &Job{ID: "runs", CPU: 32, Duration: 2 * time.Hour, Started: noon, State: Running, Site: "east", Suspendable: true}
	fleet.reserve(runs.ID, 0, asBatch(runs, noon), after(2))
	waits := &Job{ID: "waits", CPU: 32, Duration: 2 * time.Hour, Deadline: after(4.5), State: Queued}
	for _, x := range []struct {
		deadline, next float64
		want           bool
	}{
		{6, 3, false},   // the other runs from 2 to 4.5
		{6.9, 3, true},  // after that
		{6.9, 5, false}, // for so long is no time
	} {
		d := newDeadlines()
		d.know([]*Job{waits}, fleet, noon, latest)
		d.begin(fleet, noon, true)
		runs.Deadline = after(x.deadline)
		if got := d.keeps(fleet, runs, noon, after(x.next), latest(runs)); got != x.want {
			t.Errorf("deadline %v h, paused until %v h: %v", x.deadline, x.next, got)
		}
		if p, ok := d.table.Place("waits"); !ok || p.Late {
			t.Errorf("the other stands at %+v, %v", p, ok)
		}
		if p, ok := d.table.Place("runs"); ok != x.want || ok && p.Start < after(x.next).Sub(epoch) {
			t.Errorf("deadline %v h, paused until %v h: it goes on at %+v, %v", x.deadline, x.next, p, ok)
		}
		d.begin(fleet, noon.Add(time.Second), true)
		if _, ok := d.table.Place("runs"); ok != x.want {
			t.Errorf("in the next step it has a place: %v, want %v", ok, x.want)
		}
	}
}

// Of more jobs than a timetable holds the most urgent are in it, also when they come when it is full.
func TestTheMostUrgentHaveAPlace(t *testing.T) {
	fleet, err := newFleet(t.Context(), testMachines(t, 4), nil)
	if err != nil {
		t.Fatal(err)
	}
	latest := func(j *Job) time.Time { return j.latest(noon, 1.1, 0) }
	var jobs []*Job
	for k := range 2100 {
		jobs = append(jobs, &Job{ID: string(rune('A' + k)), CPU: 0.01, Duration: time.Hour, Deadline: noon.Add(time.Duration(10*60+k) * time.Minute), State: Queued})
	}
	d := newDeadlines()
	now := noon
	step := func(jobs []*Job) {
		d.know(jobs, fleet, now, latest)
		d.begin(fleet, now, true)
		d.turns(now)
		now = now.Add(time.Second)
	}
	step(jobs)
	urgent := &Job{ID: "urgent", CPU: 1, Duration: time.Hour, Deadline: noon.Add(2 * time.Hour), State: Queued}
	for range 3 { // what has to go goes when it was not asked about
		step(append([]*Job{urgent}, jobs...))
	}
	for j, want := range map[*Job]bool{urgent: true, jobs[0]: true, jobs[1998]: true, jobs[2000]: false} {
		if _, ok := d.table.Place(j.ID); ok != want {
			t.Errorf("a job that is due at %v has a place: %v", j.Deadline, ok)
		}
	}
}
