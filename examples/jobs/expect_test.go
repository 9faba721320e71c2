package main

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
)

// What was learned of the work that comes outlives restarts at any time: the same is expected as without any, and about as much where no state was stored, as after
// an upgrade, or one that cannot be read.
func TestLearnedOutlivesRestarts(t *testing.T) {
	learn := func(restart func(b *bench, hour int)) *bench {
		b := newBench(t, even{200}, nil)
		for h := range 60 {
			for k := range 1 + h%24/8 {
				b.accept(&Job{ID: fmt.Sprintf("j%d-%d", h, k), CPU: 2, Memory: 1 << 30, Duration: 50 * time.Minute, Deadline: b.now.Add(5 * time.Hour)})
				b.until(b.now.Add(10 * time.Minute))
			}
			if restart != nil {
				restart(b, h)
			}
			b.until(noon.Add(time.Duration(h+1) * time.Hour))
		}
		return b
	}
	work := func(b *bench) (sum float64, state string) {
		for _, j := range b.coming.expect(arrivals.Plan{From: b.now.Sub(epoch), Slot: planSlot, Until: 96, Slots: 200, Energy: []float64{1}}) {
			sum += j.Size * j.Slots()
		}
		text, err := json.Marshal(b.coming.l)
		if err != nil {
			t.Fatal(err)
		}
		return sum, string(text)
	}
	want, state := work(learn(nil))
	if want < 100 || want > 400 { // 2 × 50 minutes × 48 jobs a day make 320 of 15 minutes
		t.Errorf("%.0f core-slots expected of a day", want)
	}
	if v, s := work(learn(func(b *bench, h int) {
		if h%5 == 2 {
			b.restart()
		}
	})); v != want || s != state {
		t.Errorf("with restarts %.0f core-slots are expected, %s; want %.0f, %s", v, s, want, state)
	}
	for _, text := range []string{"", "{", `{"slot":1}`} {
		v, _ := work(learn(func(b *bench, h int) {
			if h == 50 {
				if err := b.store.Do(t.Context(), func(tx *batchTx) error { return tx.set(settingComing, text) }); err != nil {
					t.Fatal(err)
				}
				b.restart()
			}
		}))
		if v < 0.9*want || v > 1.1*want {
			t.Errorf("state %q: %.0f core-slots are expected, want about %.0f", text, v, want)
		}
	}
}

// A part of a slot is a part: jobs of half a slot follow each other in one, before they are late or dear.
func TestPartsOfSlots(t *testing.T) {
	fleet, err := newFleet(t.Context(), testMachines(t, 1), nil)
	if err != nil {
		t.Fatal(err)
	}
	// The second hour is clean; eight jobs of half a slot each take half of it one after the other, and as many whole slots would take two hours.
	source := hoursOf(500, 100, 400, 500)
	var jobs []*Job
	for i := range 8 {
		jobs = append(jobs, &Job{ID: fmt.Sprint(i), CPU: 32, Duration: planSlot / 2, Submitted: noon, Deadline: noon.Add(4 * time.Hour)})
	}
	starts, err := planJobs(noon, jobs, fleet, look(t.Context(), source, fleet.sites, noon, nil), func(j *Job) time.Time { return j.latest(noon, 1.2, 0) }, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range jobs {
		if at := starts[j.ID].at; at.Before(noon.Add(time.Hour)) || !at.Before(noon.Add(2*time.Hour)) {
			t.Errorf("job %s is planned for %v, want the clean hour", j.ID, at)
		}
	}
	// What runs for a third of a slot leaves the rest of it.
	fleet.reserve("r", 0, asBatch(&Job{ID: "r", CPU: 32, Duration: time.Hour}, noon), noon.Add(planSlot+planSlot/3))
	for slot, want := range []float64{0, 32 * 2 / 3.0, 32} {
		if got := fleet.capacity(fleet.tiers(), noon, planSlot, 3, nil)[0].Capacity[slot]; got < want-1e-6 || got > want+1e-6 {
			t.Errorf("slot %d has %v cores free, want %v", slot, got, want)
		}
	}
}
