package timetable

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// A plant makes jobs that can all end in time, because they are taken from a timetable in which they do.
type plant struct {
	servers int
	sizes   []float64
	longest time.Duration
	load    float64       // how full the servers are
	slack   time.Duration // between the start in that timetable and the latest, at most
}

func (p plant) String() string {
	return fmt.Sprintf("%d servers, %v full, slack %v, jobs of %v cores for %v at most", p.servers, p.load, p.slack, p.sizes, p.longest)
}

// plants are of few and of many servers, and of jobs that are short and long, and of sizes that divide a server and not.
func plants(load float64, slack time.Duration) (out []plant) {
	for _, servers := range []int{1, 4, 12} {
		for _, longest := range []time.Duration{time.Hour, 8 * time.Hour} {
			for _, sizes := range [][]float64{{1, 2, 4, 8, 16}, {0.5, 1, 1.5, 3, 5, 7, 11}} {
				out = append(out, plant{servers, sizes, longest, load, slack})
			}
		}
	}
	return out
}

// grow makes the case of a seed: not more jobs than a timetable holds, in some order.
func (p plant) grow(seed uint64) (servers []Server, jobs []Job) {
	rnd := rand.New(rand.NewPCG(seed, 7))
	hours := 24
	if p.servers > 1 {
		hours = 12
	}
	if p.servers > 4 {
		hours = min(8, 4*int(p.longest.Hours()))
	}
	day := 60 * hours
	for i := range p.servers {
		cores := []float64{8, 16, 32}[rnd.IntN(3)]
		servers = append(servers, Server{CPU: cores, Memory: 4 * cores})
		free, memory := slices.Repeat([]float64{cores}, day), slices.Repeat([]float64{4 * cores}, day)
		for work, tries := 0.0, 0; work < p.load*cores*float64(day) && tries < 5000; tries++ {
			size := p.sizes[rnd.IntN(len(p.sizes))]
			length := 5 * (1 + rnd.IntN(int(p.longest/(5*time.Minute))))
			if tries > 1000 {
				length = min(length, 5*(1+rnd.IntN(12)))
			}
			length = min(length, day)
			mem := size * (1 + 4*rnd.Float64())
			at := 5 * rnd.IntN((day-length)/5+1)
			if slices.Min(free[at:at+length]) < size || slices.Min(memory[at:at+length]) < mem {
				continue
			}
			for k := at; k < at+length; k++ {
				free[k] -= size
				memory[k] -= mem
			}
			work += size * float64(length)
			last := time.Duration(at)*time.Minute + time.Duration((0.1+0.9*rnd.Float64())*float64(p.slack))
			jobs = append(jobs, Job{Name: fmt.Sprint(i, "-", tries), CPU: size, Memory: mem, Life: time.Duration(length) * time.Minute, Due: last - p.slack/10, Last: last})
		}
	}
	rnd.Shuffle(len(jobs), func(i, k int) { jobs[i], jobs[k] = jobs[k], jobs[i] })
	return servers, jobs[:min(len(jobs), Most)]
}

// easy is how full servers are, and for what slack, so that a timetable was found in each of many more cases than are tried here.
var easy = map[float64]time.Duration{0.7: 10 * time.Minute, 0.85: 30 * time.Minute, 0.95: time.Hour}

// TestFeasible: where all can end in time and have a little to spare each has a place in which it does, whether they come together or one by one; none that has one loses it to what comes.
// It is never proved that there is no such timetable.
func TestFeasible(t *testing.T) {
	const seeds = 3
	for load, slack := range easy {
		for _, p := range plants(load, slack) {
			for seed := range uint64(seeds) {
				servers, jobs := p.grow(seed)
				table := New()
				table.Begin(0, 0, servers)
				if want := wanting(jobs); table.short(table.loads(want), nil) {
					t.Errorf("%v, seed %d: proved that there is no timetable", p, seed)
				}
				step := len(jobs)
				if seed == seeds-1 {
					step = 1
				}
				for n := 0; n < len(jobs); n += step {
					table.Begin(0, int64(n), servers)
					table.Enter(jobs[n : n+step])
					if seed == seeds-1 && n%100 > 0 && n < len(jobs)-1 {
						continue
					}
					if late := check(t, table, servers, jobs[:n+step], 0); late > 0 {
						t.Errorf("%v, seed %d: %d of %d are late", p, seed, late, n+step)
						break
					}
				}
				whole(t, table)
			}
		}
	}
}

func wanting(jobs []Job) (out []*entry) {
	for _, j := range jobs {
		out = append(out, &entry{Job: j, node: -1})
	}
	return out
}

// whole looks that what is free on the servers is what it is when it is counted anew.
func whole(t *testing.T, table *Table) {
	t.Helper()
	for i := range table.on {
		r := table.free(i)
		at, cpu, mem := slices.Clone(r.at), slices.Clone(r.cpu), slices.Clone(r.mem)
		r.built = 0
		r = table.free(i)
		if !slices.Equal(at, r.at) {
			t.Fatalf("server %d has %d steps, counted anew %d", i, len(at), len(r.at))
		}
		for k := range at {
			if max(cpu[k]-r.cpu[k], r.cpu[k]-cpu[k], mem[k]-r.mem[k], r.mem[k]-mem[k]) > 1e-9 {
				t.Fatalf("server %d has %v cores and %v of memory at %v, counted anew %v and %v", i, cpu[k], mem[k], at[k], r.cpu[k], r.mem[k])
			}
		}
	}
}

// BenchmarkFeasible reports in how many cases no timetable is found for all, though there is one.
func BenchmarkFeasible(b *testing.B) {
	for _, load := range []float64{0.7, 0.85, 0.95} {
		for _, slack := range []time.Duration{10 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour} {
			b.Run(fmt.Sprintf("load=%v/slack=%v", load, slack), func(b *testing.B) {
				cases, failed, late, all := 0, 0, 0, 0
				var took, longest time.Duration
				for n := range b.N {
					for _, p := range plants(load, slack) {
						servers, jobs := p.grow(uint64(n))
						table := New()
						began := time.Now()
						table.Begin(0, 0, servers)
						table.Enter(jobs)
						d := time.Since(began)
						took, longest = took+d, max(longest, d)
						missing := 0
						for _, j := range jobs {
							if at, ok := table.Place(j.Name); !ok || at.Late {
								missing++
							}
						}
						if cases, late, all = cases+1, late+missing, all+len(jobs); missing > 0 {
							failed++
						}
					}
				}
				b.ReportMetric(float64(cases), "cases")
				b.ReportMetric(float64(failed), "failed")
				b.ReportMetric(float64(all), "jobs")
				b.ReportMetric(float64(late), "late")
				b.ReportMetric(took.Seconds()*1e3/float64(cases), "ms/case")
				b.ReportMetric(longest.Seconds()*1e3, "ms-longest")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}
