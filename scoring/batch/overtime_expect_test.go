package batch

import (
	"fmt"
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
