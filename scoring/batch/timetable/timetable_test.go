package timetable

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// An event is when a job takes a server's cores or gives them back.
type event struct {
	at    time.Duration
	cores float64
}

// check looks that no server is given more at any time than it has, and returns how many jobs have no place in time.
func check(t *testing.T, table *Table, servers []Server, jobs []Job, now time.Duration) (late int) {
	t.Helper()
	on := make([][]event, len(servers))
	for i, s := range servers {
		for _, r := range s.Runs {
			on[i] = append(on[i], event{r.End, -r.CPU})
		}
	}
	for _, j := range jobs {
		p, ok := table.Place(j.Name)
		if !ok {
			late++
			continue
		}
		if p.Late {
			late++
		} else if p.Start < now || p.Start > j.Last {
			t.Errorf("at %v job %s has a place at %v, not in time by %v", now, j.Name, p.Start, j.Last)
		}
		if j.May != nil && !j.May(p.Server) {
			t.Errorf("job %s has a place on server %d, which may not take it", j.Name, p.Server)
		}
		on[p.Server] = append(on[p.Server], event{p.Start, j.CPU}, event{p.Start + j.Life, -j.CPU})
	}
	for i, list := range on {
		slices.SortFunc(list, func(a, b event) int {
			if a.at != b.at {
				return int(a.at - b.at)
			}
			return int(a.cores - b.cores)
		})
		taken := 0.0
		for _, e := range list {
			if taken += e.cores; taken > servers[i].CPU+1e-6 {
				t.Errorf("server %d is given %v cores of %v", i, taken, servers[i].CPU)
				break
			}
		}
	}
	return late
}

const grain = 10 * time.Minute

// feasible puts jobs on servers at times of a day and gives each a deadline that it meets there, with a slack of so many grains at most.
func feasible(rnd *rand.Rand, load float64, slack int) (servers []Server, jobs []Job) {
	const steps = 144
	for i := range 4 {
		cores := []float64{8, 16, 32}[rnd.IntN(3)]
		servers = append(servers, Server{CPU: cores, Memory: 1})
		free := slices.Repeat([]float64{cores}, steps)
		for work, tries := 0.0, 0; work < load*cores*steps && tries < 2000; tries++ {
			size, length := float64(int(1)<<rnd.IntN(5)), 1+rnd.IntN(48)
			at := rnd.IntN(steps - length + 1)
			if slices.Min(free[at:at+length]) < size {
				continue
			}
			for k := range length {
				free[at+k] -= size
			}
			work += size * float64(length)
			last := time.Duration(at+1+rnd.IntN(slack)) * grain
			jobs = append(jobs, Job{Name: fmt.Sprint(i, "-", tries), CPU: size, Life: time.Duration(length) * grain, Due: last - grain, Last: last})
		}
	}
	return servers, jobs
}

// TestAllEndInTime: where all can end in time each has a place in which it does, and no server is given more than it has. That stays so when jobs start at any time and anywhere, so far as the timetable
// lets them, and the rest when its time has come.
func TestAllEndInTime(t *testing.T) {
	started, refused := 0, 0
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		servers, jobs := feasible(rnd, 0.85, 12)
		table := New()
		for now := time.Duration(0); len(jobs) > 0; now += grain {
			for i := range servers {
				for _, r := range servers[i].Runs {
					if r.End <= now {
						servers[i].CPU += r.CPU
					}
				}
				servers[i].Ended(now)
			}
			table.Begin(now, int64(now/time.Hour), servers)
			for k := range jobs {
				jobs[k].First = now
			}
			table.Enter(jobs)
			if late := check(t, table, servers, jobs, now); late > 0 {
				t.Fatalf("seed %d, %v: %d of %d are late", seed, now, late, len(jobs))
			}
			turn := make(map[string]bool)
			for _, j := range jobs {
				if p, _ := table.Place(j.Name); p.Start <= now && !table.Later(j.Name, now+grain) {
					turn[j.Name] = true
				} else {
					table.Wait(j.Name, now+grain)
				}
			}
			jobs = slices.DeleteFunc(jobs, func(j Job) bool {
				i := rnd.IntN(len(servers))
				switch {
				case turn[j.Name]:
					p, _ := table.Place(j.Name)
					if i = p.Server; p.Start > now { // it gave way
						return false
					}
					table.Drop(j.Name)
				case rnd.IntN(8) > 0 || j.CPU > servers[i].CPU:
					return false
				case table.Start(&j, i):
					started++
				default:
					refused++
					return false
				}
				servers[i].CPU -= j.CPU
				servers[i].Add(Run{End: now + j.Life, CPU: j.CPU})
				table.Changed(i)
				return true
			})
		}
	}
	if started == 0 || refused == 0 {
		t.Errorf("%d started and %d were refused: want some of both", started, refused)
	}
}

// two is a table of a server of 8 cores, and one of 4.
func two(now time.Duration) (*Table, []Server) {
	servers := []Server{{CPU: 8, Memory: 100}, {CPU: 4, Memory: 100}}
	t := New()
	t.Begin(now, 0, servers)
	return t, servers
}

// What starts leaves the others their places, or does not start, and then nothing has changed.
func TestStartLeavesThePlaces(t *testing.T) {
	table, _ := two(0)
	big := Job{Name: "big", CPU: 8, Life: 2 * time.Hour, Due: time.Hour, Last: time.Hour}
	table.Enter([]Job{big})
	before, _ := table.Place("big")
	for _, x := range []struct {
		name   string
		job    Job
		server int
		want   bool
	}{
		{"in its way", Job{Name: "a", CPU: 1, Life: 2 * time.Hour}, 0, false},
		{"elsewhere", Job{Name: "a", CPU: 1, Life: 2 * time.Hour}, 1, true},
		{"before it", Job{Name: "a", CPU: 8, Life: time.Hour}, 0, true},
		{"nobody knows for how long", Job{Name: "a", CPU: 1}, 0, true},
		{"no room", Job{Name: "a", CPU: 5, Life: time.Minute}, 1, false},
		{"no memory", Job{Name: "a", CPU: 1, Memory: 101, Life: time.Minute}, 1, false},
	} {
		if got := table.Start(&x.job, x.server); got != x.want {
			t.Errorf("%s: %v", x.name, got)
		}
		if p, ok := table.Place("big"); !ok || p != before {
			t.Errorf("%s: the other stands at %+v, %v: want %+v", x.name, p, ok, before)
		}
	}
	if !table.Start(&big, 0) {
		t.Error("its own place is in its way")
	}
	if p, ok := table.Place("big"); ok || len(table.entries) > 0 {
		t.Errorf("it has started and still stands there: %+v", p)
	}
}

// What may not stay where it stands gets another place: a server that takes nothing any more, or that is given less than told; and one whose time has passed.
func TestMovesOn(t *testing.T) {
	down := -1
	job := Job{Name: "a", CPU: 4, Life: time.Hour, Due: 5 * time.Hour, Last: 6 * time.Hour, May: func(i int) bool { return i != down }}
	table, servers := two(0)
	table.Enter([]Job{job})
	p, _ := table.Place("a")
	if p.Start != job.Due {
		t.Errorf("it stands at %v, not as late as it may: %v", p.Start, job.Due)
	}
	down = p.Server
	table.Begin(time.Minute, 0, servers)
	table.Enter([]Job{job})
	q, ok := table.Place("a")
	if !ok || q.Server == down || q.Late {
		t.Errorf("server %d takes it no more, and it stands at %+v, %v", down, q, ok)
	}
	now := job.Due + time.Minute
	table.Begin(now, 0, servers)
	table.Enter([]Job{job})
	if q, ok = table.Place("a"); !ok || q.Start != now || q.Late {
		t.Errorf("its time has passed, and it stands at %+v, %v: want now, %v", q, ok, now)
	}
	if table.Later("a", now+1) {
		t.Error("there is a later place than its latest start")
	}
	now = job.Last + time.Minute
	table.Begin(now, 1, servers)
	table.Enter([]Job{job})
	if q, ok = table.Place("a"); !ok || !q.Late {
		t.Errorf("it cannot end in time, and stands at %+v, %v", q, ok)
	}
}

// A job that becomes another keeps its place where it ends in time there: else all that stand close would lose theirs at once.
func TestChangesInPlace(t *testing.T) {
	table, _ := two(0)
	job := Job{Name: "a", CPU: 8, Life: time.Hour, Due: 5 * time.Hour, Last: 5 * time.Hour}
	table.Enter([]Job{job})
	job.Life, job.Due, job.Last = 2*time.Hour, 6*time.Hour, 6*time.Hour
	table.Enter([]Job{job})
	if p, _ := table.Place("a"); p.Start != 5*time.Hour {
		t.Errorf("it has moved to %v", p.Start)
	}
	if x := (Job{Name: "b", CPU: 1, Life: 5*time.Hour + 30*time.Minute}); !table.Start(&x, 0) {
		t.Error("it does not give way")
	}
	job.Life, job.Due, job.Last = 3*time.Hour, 4*time.Hour, 4*time.Hour
	table.Enter([]Job{job})
	if p, _ := table.Place("a"); p.Start > 4*time.Hour || p.Late {
		t.Errorf("it stands at %+v and ends too late", p)
	}
}

// A job that is to pause has a place after the pause, or is told that there is none; and what nobody asks about is forgotten, but not while it waits.
func TestKeepAndSweep(t *testing.T) {
	table, _ := two(0)
	rest := Job{Name: "rest", CPU: 8, Life: time.Hour, First: 2 * time.Hour, Due: 150 * time.Minute, Last: 150 * time.Minute}
	if p, _ := table.Place("rest"); !table.Keep(rest) || p.Start != 0 {
		t.Error("there is no place for it")
	}
	if p, ok := table.Place("rest"); !ok || p.Start < rest.First {
		t.Errorf("it goes on at %+v, %v: want %v at the earliest", p, ok, rest.First)
	}
	other := rest
	if other.Name = "other"; table.Keep(other) {
		t.Error("two jobs are kept the same cores")
	}
	table.Enter([]Job{{Name: "asked", CPU: 1, Life: time.Hour, Due: 9 * time.Hour, Last: 9 * time.Hour}})
	table.Sweep(time.Hour)
	if _, ok := table.Place("asked"); ok {
		t.Error("nobody asks about it, and it keeps its place")
	}
	if _, ok := table.Place("rest"); !ok {
		t.Error("it waits, and lost its place")
	}
}

// However much more is to be done than there is time for, entering ends soon, and what has a place in time has room there.
func TestOverload(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 1))
	servers := make([]Server, 10)
	for i := range servers {
		servers[i] = Server{CPU: 32, Memory: 1}
	}
	var jobs []Job
	for k := range Most + 100 {
		last := time.Duration(rnd.Float64() * float64(100*time.Hour))
		jobs = append(jobs, Job{Name: fmt.Sprint(k), CPU: float64(int(1) << rnd.IntN(5)), Life: time.Duration((0.1 + 9.9*rnd.Float64()) * float64(time.Hour)), Due: last, Last: last})
	}
	table := New()
	table.Begin(0, 0, servers)
	table.Enter(jobs)
	if late := check(t, table, servers, jobs, 0); late < 200 || late > 1500 {
		t.Errorf("%d of %d are late", late, len(jobs))
	}
	if table.looked > 2*mostLooks {
		t.Errorf("%d were looked at: want %d at most, and what comes beside", table.looked, mostLooks)
	}
	if len(table.entries) != Most {
		t.Errorf("%d jobs have a place: want %d", len(table.entries), Most)
	}
}
