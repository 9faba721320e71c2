package arrivals

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"
)

// TestArrivals: the rate follows the time of day where that is more than chance, counts each job once and neither what was there at first nor what has been
// forgotten. What was saved and restored goes on as what was not.
func TestArrivals(t *testing.T) {
	job := func(name string, at time.Duration) Job {
		return Job{Name: name, Submitted: at, Cores: 4, Duration: 30 * time.Minute, Slack: time.Hour, Load: 1}
	}
	r := rand.New(rand.NewPCG(1, 1))
	daily, even := New(time.Hour, 0), New(time.Hour, 0)
	daily.See(job("old", 0))
	for h := range 24 * 10 {
		now := time.Duration(h) * time.Hour
		daily.Pass(now)
		even.Pass(now)
		if h == 100 {
			text, err := json.Marshal(daily)
			if err != nil {
				t.Fatal(err)
			}
			var again Learner
			if err := json.Unmarshal(text, &again); err != nil {
				t.Fatal(err)
			}
			if again.seen = daily.seen; !reflect.DeepEqual(&again, daily) || again.Slot() != time.Hour {
				t.Fatalf("restored %+v from %s, want %+v", again, text, daily)
			}
			daily = &again
		}
		if h == 0 {
			continue
		}
		if h%24 >= 12 { // 4 cores, half an hour each
			for k := range 6 {
				daily.See(job(fmt.Sprint(h, k), now))
				daily.See(job(fmt.Sprint(h, k), now)) // it is asked about again
			}
		}
		for range r.IntN(9) {
			even.See(Job{Submitted: now, Cores: 4, Duration: 30 * time.Minute, Slack: time.Hour})
		}
	}
	daily.Pass(240 * time.Hour)
	even.Pass(240 * time.Hour)
	if night, day := daily.rate(240+3), daily.rate(240+15); night > 1 || math.Abs(day-12) > 1 {
		t.Errorf("%.2f core-slots at night and %.2f by day: want 0 and 12", night, day)
	}
	for h := range int64(24) {
		if v := even.rate(240 + h); math.Abs(v-8) > 2 {
			t.Errorf("hour %d of an even stream: %.2f core-slots, want about 8", h, v)
		}
	}
	if n := len(daily.kinds); n != 1 {
		t.Errorf("%d kinds of jobs, want 1", n)
	}
	// Slots of a plan that begin in the middle of a slot, and are shorter, expect as much.
	whole := daily.Expect(Plan{From: 240 * time.Hour, Slot: time.Hour, Until: 24, Slots: 30, Energy: []float64{1}})
	parts := daily.Expect(Plan{From: 240*time.Hour + 30*time.Minute, Slot: 15 * time.Minute, Until: 96, Slots: 120, Energy: []float64{0.25}})
	sum := func(slot time.Duration, from, until int) (work, energy float64) {
		list := whole
		if slot < time.Hour {
			list = parts
		}
		for _, j := range list {
			if j.Earliest >= from && j.Earliest < until {
				slots := float64(j.Length-1) + j.Last
				work, energy = work+j.Size*slots*slot.Hours(), energy+j.Energy[0]*slots
			}
		}
		return work, energy
	}
	w, e := sum(time.Hour, 0, 24)
	if v, f := sum(15*time.Minute, 0, 96); math.Abs(v-w) > 1e-6*w || math.Abs(f-e) > 1e-6*e || math.Abs(e-w) > 1e-6*w || math.Abs(w-144) > 10 {
		t.Errorf("%v core-hours and energy %v expected of a day, by quarters %v and %v: want about 144 of all", w, e, v, f)
	}
	hours := daily.Expect(Plan{From: 240*time.Hour + 30*time.Minute, Slot: 15 * time.Minute, Until: 96, Slots: 120, Every: 4, Energy: []float64{0.25}})
	parts, hours = hours, parts
	if v, _ := sum(15*time.Minute, 0, 96); math.Abs(v-w) > 1e-6*w || 3*len(parts) > len(hours) {
		t.Errorf("%v core-hours expected in %d jobs by the hour, %v in %d by the quarter", v, len(parts), w, len(hours))
	}
	parts = hours
	if v, _ := sum(15*time.Minute, 44, 46); v > w/24 { // half an hour before noon
		t.Errorf("%v core-hours expected before noon", v)
	}
	if v, _ := sum(15*time.Minute, 46, 48); math.Abs(v-6) > 1 {
		t.Errorf("%v core-hours expected in the half-hour after noon, want 6", v)
	}
	if !daily.Any() || !daily.Pass((240+24*365)*time.Hour) {
		t.Error("nothing is expected, or no slot has passed")
	}
	if v := daily.rate(240 + 24*365); v != 0 || len(daily.seen) > 0 || len(daily.kinds) > 0 || daily.Any() {
		t.Errorf("a year later %.2f core-slots are expected, and %d jobs remembered", v, len(daily.seen))
	}
}

// TestClockThatJumps: a clock that was a year ahead and is right again leaves a learner that learns; one that goes back an hour loses nothing.
func TestClockThatJumps(t *testing.T) {
	l := New(time.Hour, 0)
	learn := func(from, until int) {
		for h := from; h < until; h++ {
			l.Pass(time.Duration(h) * time.Hour)
			l.See(Job{Submitted: time.Duration(h) * time.Hour, Cores: 4, Duration: time.Hour})
		}
	}
	learn(1, 49)
	before := l.rate(50)
	if l.Pass(40 * time.Hour); l.rate(50) != before {
		t.Errorf("after an hour twice %v core-slots are expected, before %v", l.rate(50), before)
	}
	l.Pass(365 * 24 * time.Hour)
	learn(49, 97)
	if v := l.rate(98); math.Abs(v-4) > 0.5 {
		t.Errorf("%v core-slots are expected, want 4", v)
	}
}

// TestBadState: what is no state is refused, and leaves the learner as it was.
func TestBadState(t *testing.T) {
	l := New(12*time.Hour, 0)
	good := `{"slot":43200000000000,"begun":0,"at":3,"work":1,"all":[1,2],"noise":[0,0],"day":[[1,1],[2,1]],"kinds":[[1,1,2,2,2,2]]}`
	if err := json.Unmarshal([]byte(good), l); err != nil || l.at != 3 || l.all.mean != 1 {
		t.Fatalf("%v, %+v", err, l)
	}
	before, err := json.Marshal(l)
	if err != nil {
		t.Fatal(err)
	}
	for _, bad := range []string{
		`{}`, `[]`, `{"slot":-1}`,
		`{"slot":43200000000000,"at":3,"day":[[1,1]]}`,
		`{"slot":43200000000000,"at":-3,"day":[[1,1],[2,1]]}`,
		`{"slot":43200000000000,"at":9000000000000000000,"day":[[1,1],[2,1]]}`,
		`{"slot":43200000000000,"at":3,"all":[-1,2],"day":[[1,1],[2,1]]}`,
		`{"slot":43200000000000,"at":3,"day":[[1,1],[2,1]],"kinds":[[1,1,0,2,2,2]]}`,
		`{"slot":43200000000000,"at":3,"day":[[1,1],[2,1]],"kinds":[[100,1,1,2,2,2]]}`,
	} {
		if err := json.Unmarshal([]byte(bad), l); err == nil {
			t.Errorf("%s was taken over", bad)
		}
		if after, err := json.Marshal(l); err != nil || string(after) != string(before) {
			t.Errorf("%s left %s, %v", bad, after, err)
		}
	}
}
