package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestLeavesRoomForWhatComes: where jobs come that fill the server, one does not wait for the next hour, which is a little cleaner, since others will need it
// and the hours that follow are dirty; where nothing came before, it does.
func TestLeavesRoomForWhatComes(t *testing.T) {
	const days = 3
	var costs []float64
	for range days + 2 {
		for h := range 24 {
			switch {
			case h < 12:
				costs = append(costs, 500)
			case h == 12:
				costs = append(costs, 100)
			case h == 13:
				costs = append(costs, 90)
			default:
				costs = append(costs, 400)
			}
		}
	}
	for _, busy := range []bool{true, false} {
		s, c := carbon(t, "spacetime", hourly{"a": costs}, CarbonOptions{Margin: 1}), sited(t, "a")
		var waiting []Job
		ends := time.Duration(-1)
		ran := Job{}
		clock := time.Duration(0)
		step := func(fresh ...Job) (started []string) {
			if ends == clock {
				c.Release(0, &ran)
				ends = -1
			}
			waiting = append(waiting, fresh...)
			p := plan(t, s, clock, c, waiting...)
			var left []Job
			for _, w := range p.Waiting {
				left = append(left, waiting[w.Job])
			}
			for _, a := range p.Assigned {
				ran, ends = waiting[a.Job], clock+time.Hour
				started = append(started, ran.Name)
			}
			waiting = left
			return started
		}
		for h := range days*24 + 12 {
			clock = time.Duration(h) * time.Hour
			var fresh []Job
			if h > 0 && busy {
				j := work(fmt.Sprint("j", h), time.Hour, clock+5*time.Hour)
				j.Submitted = clock
				fresh = append(fresh, j)
			}
			step(fresh...)
		}
		clock += time.Hour
		step()
		if busy == (ends < 0) {
			t.Fatalf("busy %v: the server is in use until %v", busy, ends)
		}
		clock = (days*24 + 36) * time.Hour // noon of the next day; the server has been idle
		if busy {
			waiting = nil
			c.Release(0, &ran)
			ends = -1
		}
		j := work("probe", time.Hour, clock+5*time.Hour)
		j.Submitted = clock
		if got := step(j); (len(got) == 1) != busy {
			t.Errorf("busy %v: started %v at noon", busy, got)
		}
	}
}

// TestArrivals: the rate follows the time of day where that is more than chance, counts each job once and neither what was there at first nor what has been
// forgotten.
func TestArrivals(t *testing.T) {
	job := func(name string, at time.Duration) *Job {
		j := work(name, 30*time.Minute, 0)
		j.Submitted = at
		return &j
	}
	r := rand.New(rand.NewPCG(1, 1))
	daily, even := newArrivals(time.Hour, 0), newArrivals(time.Hour, 0)
	old := job("old", 0)
	daily.see(old, 0)
	for h := range 24 * 10 {
		daily.pass(int64(h))
		even.pass(int64(h))
		if h == 0 {
			continue
		}
		at := time.Duration(h) * time.Hour
		if h%24 >= 12 { // 4 cores, half an hour each
			for k := range 6 {
				j := job(fmt.Sprint(h, k), at)
				daily.see(j, time.Hour)
				daily.see(j, time.Hour) // it is asked about again
			}
		}
		for k := range r.IntN(9) {
			even.see(job(fmt.Sprint(h, k), at), time.Hour)
		}
	}
	daily.pass(240)
	even.pass(240)
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
	daily.pass(240 + 24*365)
	if v := daily.rate(240 + 24*365); v != 0 || len(daily.seen) > 0 || len(daily.kinds) > 0 {
		t.Errorf("a year later %.2f core-slots are expected, and %d jobs remembered", v, len(daily.seen))
	}
}
