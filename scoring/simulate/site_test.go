package simulate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// foretold is a grid that strategies are told, which may differ from what is.
type foretold map[string][]float64

func (foretold) Slot() time.Duration { return time.Hour }

func (g foretold) Ahead(dst []float64, site string, now time.Duration, n int) []float64 {
	from := min(int(now/time.Hour), len(g[site]))
	return append(dst, g[site][from:min(len(g[site]), from+n)]...)
}

func clean(t *testing.T, name string, g batch.Grid) batch.Strategy {
	t.Helper()
	s, err := batch.New(name, batch.Options{Grid: g})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// TestGramsByHand: two sites, PUE, factor, price, over a change of the hour.
func TestGramsByHand(t *testing.T) {
	a, b := testNode(t, "a", 4, 100, 200), testNode(t, "b", 4, 100, 200)
	a.Site, b.Site = "x", "y"
	c := Config{Nodes: []Node{a, b}, Strategy: strategy(t, "fcfs"), To: 2 * time.Hour, Bound: true,
		Sites: []Site{{Name: "x", PUE: 1.5, Factor: 2, Intensity: []float64{100, 300}, Price: []float64{1, -1}}, {Name: "y", Intensity: []float64{50}}}}
	var bill Record
	c.OnJob = func(r Record) { bill = r }
	r := run(t, c, testJob("1", 30*time.Minute, time.Hour, 4))
	near(t, "grams of the job", bill.Grams, 1.5*2*(0.1*100+0.1*300)) // all of x while it ran
	near(t, "money of the job", bill.Money, 1.5*(0.1*1+0.1*-1))
	// x: 100 W for ½ h, 200 W for ½ h in the first hour; 200 W for ½ h, 100 W for ½ h in the second. y idles.
	near(t, "grams of x", r.Sites[0].Grams, 1.5*2*(0.15*100+0.15*300))
	near(t, "money of x", r.Sites[0].Money, 1.5*(0.15*1+0.15*-1))
	near(t, "grams of y", r.Sites[1].Grams, 0.2*50)
	near(t, "energy", r.Energy.KilowattHours(), 1.5*0.3+0.2)
	if r.Energy < r.Bound {
		t.Errorf("energy %v is below its bound %v", r.Energy, r.Bound)
	}
	c.Sites = c.Sites[:1]
	if _, err := Run(t.Context(), c, Jobs(nil)); err == nil {
		t.Error("a node at an unknown site is no error")
	}
}

// TestSuspendAndResume: a job of 2 h runs in the two clean hours, 0 and 2, on a server that is off between.
func TestSuspendAndResume(t *testing.T) {
	n := testNode(t, "a", 4, 100, 200)
	n.Site = "x"
	series := []float64{100, 500, 100, 500, 500, 500}
	var records []Record
	c := Config{Nodes: []Node{n}, Strategy: clean(t, "spacetime", foretold{"x": series}), SwitchOff: true, To: 6 * time.Hour, Lifetimes: Told, Uses: Told,
		Sites: []Site{{Name: "x", Intensity: series}}, OnJob: func(r Record) { records = append(records, r) }}
	j := testJob("1", 0, 2*time.Hour, 4)
	j.Deadline, j.Suspend = 5*time.Hour, true
	r := run(t, c, j)
	near(t, "energy", r.Energy.KilowattHours(), 0.4)
	near(t, "grams", r.Sites[0].Grams, 40)
	if r.Suspended != 1 || r.Finished != 1 || r.Missed != 0 || len(records) != 1 || records[0].End != 3*time.Hour || records[0].Start != 0 {
		t.Errorf("suspended %d, finished %d, missed %d, records %+v", r.Suspended, r.Finished, r.Missed, records)
	}
}

// TestDeadlinesInFullHours: where the clean hours of a day are fewer than the work, so that they are full, also jobs that need half of a server end in time,
// and less is emitted than by a threshold.
func TestDeadlinesInFullHours(t *testing.T) {
	truth := make([]float64, 240)
	for k := range truth {
		truth[k] = 300 + 250*math.Sin(2*math.Pi*float64(k)/24)
	}
	var nodes []Node
	for i := range 4 {
		n := testNode(t, string(rune('a'+i)), 8, 1, 201)
		n.Site = "x"
		nodes = append(nodes, n)
	}
	var planned, delayed float64
	for seed := range uint64(3) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		var jobs []Job
		for at := 0.0; at < 120; at += 0.14 * rnd.ExpFloat64() {
			j := testJob(fmt.Sprint(len(jobs)), time.Duration(at*float64(time.Hour)), time.Duration((0.1+1.3*rnd.ExpFloat64())*float64(time.Hour)), []float64{0.5, 1, 1, 2, 4}[rnd.IntN(5)])
			j.Deadline = j.Arrival + j.Duration*11/10 + 24*time.Hour
			jobs = append(jobs, j)
		}
		for name, grams := range map[string]*float64{"spacetime": &planned, "threshold": &delayed} {
			r := run(t, Config{Nodes: nodes, Strategy: clean(t, name, foretold{"x": truth}), Lifetimes: Told, Uses: Told, Sites: []Site{{Name: "x", Intensity: truth}}}, jobs...)
			if r.Finished != len(jobs) || name == "spacetime" && r.Missed > 0 {
				t.Errorf("seed %d, %s: %d of %d finished, %d late", seed, name, r.Finished, len(jobs), r.Missed)
			}
			*grams += r.Sites[0].Grams
		}
	}
	if planned >= delayed {
		t.Errorf("planned %.0f g, delayed by a threshold %.0f g", planned, delayed)
	}
	t.Logf("planned %.0f g, delayed by a threshold %.0f g", planned, delayed)
}

// TestNothingLostOverOutages: whatever the forecast says or leaves out, all work ends, and in time where there is room.
func TestNothingLostOverOutages(t *testing.T) {
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		truth := make([]float64, 200)
		grid := foretold{"x": make([]float64, rnd.IntN(200)), "y": make([]float64, rnd.IntN(200))}
		for k := range truth {
			truth[k] = 500 * rnd.Float64()
		}
		for _, v := range grid {
			for k := range v {
				v[k] = truth[k] * 2 * rnd.Float64()
			}
		}
		var nodes []Node
		for i := range 30 {
			n := testNode(t, string(rune('a'+i%26))+string(rune('a'+i/26)), 8, 50, 150)
			n.Site = []string{"x", "y"}[i%2]
			nodes = append(nodes, n)
		}
		var jobs []Job
		for k := range 40 {
			j := testJob(string(rune('A'+k)), time.Duration(rnd.IntN(48*60))*time.Minute, time.Duration(1+rnd.IntN(600))*time.Minute, float64(1+rnd.IntN(4)))
			j.Deadline = j.Arrival + 2*j.Duration + time.Duration(rnd.IntN(48*60))*time.Minute
			j.Suspend = rnd.IntN(2) == 0
			jobs = append(jobs, j)
		}
		for _, name := range batch.CarbonNames() {
			r := run(t, Config{Nodes: nodes, Strategy: clean(t, name, grid), Lifetimes: Told, Uses: Told,
				Sites: []Site{{Name: "x", Intensity: truth}, {Name: "y", Intensity: truth}}}, jobs...)
			if r.Finished != len(jobs) || r.Missed > 0 || r.Waiting > 0 {
				t.Errorf("seed %d, %s: %d of %d finished, %d late, %d waiting", seed, name, r.Finished, len(jobs), r.Missed, r.Waiting)
			}
		}
	}
}
