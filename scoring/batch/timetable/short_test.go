package timetable

import (
	"fmt"
	"testing"
	"time"
)

// Where more would have to be done by some time than the servers can it is proved that there is no timetable, and not where it can.
func TestShort(t *testing.T) {
	jobs := func(n int, cpu, memory float64, life, last time.Duration) (out []Job) {
		for k := range n {
			out = append(out, Job{Name: fmt.Sprint(n, "-", k, "-", last), CPU: cpu, Memory: memory, Life: life, Due: last, Last: last})
		}
		return out
	}
	const h = time.Hour
	runs := []Run{{End: h, CPU: 4, Memory: 16}}
	for _, x := range []struct {
		name    string
		servers []Server
		jobs    []Job
		want    bool
	}{
		{"cores", []Server{{CPU: 8, Memory: 32}, {CPU: 8, Memory: 32}}, jobs(17, 1, 1, h, 0), true},
		{"just the cores", []Server{{CPU: 8, Memory: 32}, {CPU: 8, Memory: 32}}, jobs(16, 1, 1, h, 0), false},
		{"memory", []Server{{CPU: 8, Memory: 32}}, jobs(5, 1, 8, h, 0), true},
		{"two of a size on one server, one after the other", []Server{{CPU: 8, Memory: 32}}, jobs(2, 5, 1, h, h-time.Minute), true},
		{"two of a size, with time for both", []Server{{CPU: 8, Memory: 32}}, jobs(2, 5, 1, h, h), false},
		{"two of a size on two servers", []Server{{CPU: 8, Memory: 32}, {CPU: 5, Memory: 32}}, jobs(2, 5, 1, h, 0), false},
		{"a part of each by then", []Server{{CPU: 8, Memory: 32}}, append(jobs(8, 1, 1, h, 0), jobs(5, 1, 1, 4*h, 30*time.Minute)...), true},
		{"a part of each, later", []Server{{CPU: 8, Memory: 32}}, append(jobs(8, 1, 1, h, 0), jobs(5, 1, 1, 4*h, h)...), false},
		{"what runs ends too late", []Server{{CPU: 4, Memory: 32, Runs: runs}}, jobs(5, 1, 1, h, 0), true},
		{"what runs ends", []Server{{CPU: 4, Memory: 32, Runs: runs}}, jobs(9, 1, 1, h, h), false},
		{"a server that is down", []Server{{CPU: 8, Memory: 32}, {CPU: -1, Memory: -1}}, jobs(8, 1, 1, h, 0), false},
	} {
		table := New()
		table.Begin(0, 0, x.servers)
		want := wanting(x.jobs)
		if got := table.short(table.loads(want), nil); got != x.want {
			t.Errorf("%s: all: %v", x.name, got)
		}
		table.Enter(x.jobs)
		if late := check(t, table, x.servers, x.jobs, 0); (late > 0) != x.want {
			t.Errorf("%s: %d are late", x.name, late)
		}
	}
}

// Jobs come one by one where servers are full: none that has a place in time loses it, and however many find none, what is looked at in a round is bounded.
func TestNoRoomForMore(t *testing.T) {
	late := 0
	for _, p := range plants(0.95, time.Hour) {
		if p.servers != 4 {
			continue
		}
		servers, jobs := p.grow(1)
		table := New()
		table.Begin(0, 0, servers)
		table.Enter(jobs)
		had := jobs
		for n, j := range jobs[:100] {
			j.Name = fmt.Sprint("more ", n)
			table.Enter([]Job{j})
			if at, ok := table.Place(j.Name); !ok || at.Late {
				late++
			} else {
				had = append(had[:len(had):len(had)], j)
			}
		}
		if n := check(t, table, servers, had, 0); n > 0 {
			t.Errorf("%v: %d of %d that had a place in time have none", p, n, len(had))
		}
		if table.looked > mostLooks*11/10 {
			t.Errorf("%v: %d were looked at: want %d at most, and what comes beside", p, table.looked, mostLooks)
		}
		whole(t, table)
	}
	if late == 0 {
		t.Error("all find a place: these servers are not full")
	}
}
