package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// server is a node in numbers, for formulas written down as they are published.
type server struct {
	site              string
	cores, used       float64
	idle, full, price float64 // watts; and what a kilowatt-hour costs at the site
}

func (s *server) watts(cores float64) float64 { return s.idle + (s.full-s.idle)*cores/s.cores }

// scaled maps values to 0–1 by their 5th and 95th percentile (nearest rank), as KubeEnergyScheduler's notion of robust has it.
func scaled(v []float64) []float64 {
	sorted := slices.Sorted(slices.Values(v))
	at := func(p float64) float64 { return sorted[int(math.Floor(p*float64(len(v)-1)+0.5))] }
	low, high := at(0.05), at(0.95)
	out := make([]float64, len(v))
	for i, x := range v {
		if high > low {
			out[i] = math.Max(0, math.Min(1, (x-low)/(high-low)))
		}
	}
	return out
}

// TestCarbonFormulas compares the strategies that score by the grid with their formulas: the ones that KubeEnergyScheduler names after CarbonScaler (utilization + λ·ci')
// and Ecovisor (utilization / (1 + λ·ci'), the highest), its own Wc·ci' + Ww·wait' + Wu·util', and Green Algorithms' runtime × (cores × watts a core + GB × 0.3725 W) × PUE ×
// intensity (Lannelongue et al. 2021), of which PUE is in the grid's costs.
func TestCarbonFormulas(t *testing.T) {
	o := CarbonOptions{CostWeight: 0.9, WaitWeight: 0.3, UseWeight: 0.08, Lambda: 0.7}
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 5))
		g := hourly{}
		for _, site := range []string{"a", "b", "c"} {
			g[site] = []float64{10 + 700*rnd.Float64()}
		}
		var servers []server
		var nodes []Node
		for i := range 3 + rnd.IntN(30) {
			s := server{site: string("abc"[rnd.IntN(3)]), cores: float64(4 * (1 + rnd.IntN(8))), idle: 20 + 100*rnd.Float64()}
			s.full, s.price = s.idle*(1.5+3*rnd.Float64()), g[s.site][0]
			s.used = math.Floor(rnd.Float64() * (s.cores - 2))
			p, err := power.EvenPiecewise(power.Watts(s.idle), power.Watts(s.full))
			if err != nil {
				t.Fatal(err)
			}
			servers = append(servers, s)
			nodes = append(nodes, Node{Node: scoring.Node{Name: fmt.Sprintf("n%02d", i), Capacity: power.Capacity{Cores: s.cores}, Predictor: p},
				Site: s.site, Allocatable: Resources{CPU: s.cores, Memory: s.cores * 4e9}})
		}
		j := Job{Name: "j", Requests: Resources{CPU: 2, Memory: float64(1+rnd.IntN(8)) * 1e9}, Demand: scoring.Demand{CPU: 0.5 + 1.5*rnd.Float64(), Lifetime: time.Duration(1+rnd.IntN(600)) * time.Minute}}
		n := len(servers)
		grams, use, ci, green := make([]float64, n), make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range servers {
			s := &servers[i]
			h := j.Demand.Lifetime.Hours()
			grams[i] = (s.watts(s.used+j.Demand.CPU) - s.watts(s.used)) / 1000 * h * s.price
			use[i] = (s.used + j.Demand.CPU) / s.cores
			ci[i] = s.price
			green[i] = h * (j.Demand.CPU*s.full/s.cores + j.Requests.Memory/1e9*0.3725) / 1000 * s.price
		}
		clean := scaled(ci)
		scores := map[string][]float64{"ciaware": make([]float64, n), "carbonscaler": make([]float64, n), "ecovisor": make([]float64, n), "greenalgorithms": green}
		for i := range servers {
			scores["ciaware"][i] = o.CostWeight*scaled(grams)[i] + o.UseWeight*scaled(use)[i] // all have room: none waits
			scores["carbonscaler"][i] = use[i] + o.Lambda*clean[i]
			scores["ecovisor"][i] = -use[i] / (1 + o.Lambda*clean[i])
		}
		for name, want := range scores {
			c, err := NewCluster(t.Context(), nodes, ClusterOptions{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range servers {
				if servers[i].used > 0 {
					c.Reserve(i, &Job{Name: fmt.Sprint("there", i), Requests: Resources{CPU: servers[i].used}, Demand: scoring.Demand{CPU: servers[i].used, Lifetime: time.Hour}}, 0)
				}
			}
			p := plan(t, carbon(t, name, g, o), 0, c, j)
			if len(p.Assigned) != 1 {
				t.Fatalf("seed %d, %s: held: %+v", seed, name, p.Waiting)
			}
			if got := want[p.Assigned[0].Node]; got > slices.Min(want)+1e-9 {
				t.Errorf("seed %d, %s: node %d scores %v, the best %v", seed, name, p.Assigned[0].Node, got, slices.Min(want))
			}
		}
	}
}

// TestWaitsForTheCleanServer: what a busy server costs in waiting counts against what it saves in carbon, by the weights; a job waits an hour at most, and not beyond its
// latest start.
func TestWaitsForTheCleanServer(t *testing.T) {
	g := hourly{"clean": {50, 50}, "dirty": {600, 600}}
	for what, x := range map[string]struct {
		weight, busy float64 // of waiting; hours until the clean server is free
		deadline     time.Duration
		waits        bool
	}{
		"soon free":         {0.2, 0.25, 0, true},
		"waiting is dear":   {2, 0.25, 0, false},
		"free too late":     {0.2, 1.5, 0, false},
		"late for deadline": {0.2, 0.25, 70 * time.Minute, false},
		"deadline far":      {0.2, 0.25, 10 * time.Hour, true},
	} {
		c := sited(t, "clean", "dirty")
		busy := work("busy", time.Duration(x.busy*float64(time.Hour)), 0)
		c.Reserve(c.Find("clean-1"), &busy, 0)
		p := plan(t, carbon(t, "ciaware", g, CarbonOptions{CostWeight: 1, WaitWeight: x.weight, UseWeight: 0.05}), 0, c, work("j", time.Hour, x.deadline))
		if waits := len(p.Waiting) == 1; waits != x.waits {
			t.Errorf("%s: waits %v, want %v (%+v)", what, waits, x.waits, p)
		}
	}
}
