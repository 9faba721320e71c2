package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"text/tabwriter"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch/minplus"
)

const (
	simulatedServers = 10

	// requestCPU is the work of one simulated request in core-seconds.
	requestCPU = 0.05

	// grain is the step of loads in cores. Capacities, background and demand are whole multiples, and so are the
	// knots of the curves, every tenth of a capacity; the optimum on this grid is then the exact optimum.
	grain = 1.0
)

// A world is ten servers with one endpoint each and what they do besides.
type world struct {
	r     *rand.Rand
	nodes []*scoring.Node // as measured: background and requests together
	own   []float64       // background, cores
}

// newWorld draws servers from the published ones of 2012 and later.
func newWorld(seed uint64) *world {
	w := &world{r: rand.New(rand.NewPCG(seed, 0x6c65617374))}
	recent := slices.DeleteFunc(power.Servers(), func(s power.Server) bool { return s.Year < 2012 })
	slices.SortFunc(recent, func(a, b power.Server) int { return cmp.Compare(a.Name()+a.CPU, b.Name()+b.CPU) })
	for i := range simulatedServers {
		s := &recent[w.r.IntN(len(recent))]
		cores := 10 * grain * max(1, math.Round(s.Capacity().Work()/(10*grain)))
		w.nodes = append(w.nodes, &scoring.Node{Name: fmt.Sprintf("server-%d", i), Capacity: power.Capacity{Cores: cores}, Predictor: s.Curve(), Model: s.Name()})
		w.own = append(w.own, 0)
	}
	w.step(1)
	return w
}

// step moves the background of every server towards a new random load of 5 to 25 %.
func (w *world) step(pace float64) {
	for i, n := range w.nodes {
		to := (0.05 + 0.2*w.r.Float64()) * n.Capacity.Cores
		w.own[i] = grain * math.Round((w.own[i]+pace*(to-w.own[i]))/grain)
	}
}

func (w *world) capacity() (total, free float64) {
	for i, n := range w.nodes {
		total += n.Capacity.Cores
		free += n.Capacity.Cores - w.own[i]
	}
	return total, free
}

// demand brings cores of requests to the grid and below what fits.
func (w *world) demand(cores float64) float64 {
	_, free := w.capacity()
	return grain * math.Round(min(max(cores, grain), 0.98*free)/grain)
}

// least is the exact optimum: the least watts that carry the demand on top of the background.
func (w *world) least(demand float64) (float64, error) {
	added, idle := make([][]float64, len(w.nodes)), 0.0
	for i, n := range w.nodes {
		curve := n.Predictor.(*power.Piecewise)
		at := float64(curve.At(w.own[i] / n.Capacity.Cores))
		idle += at
		for k := 1; w.own[i]+float64(k)*grain <= n.Capacity.Cores+grain/1e6; k++ {
			added[i] = append(added[i], float64(curve.At((w.own[i]+float64(k)*grain)/n.Capacity.Cores))-at)
		}
	}
	k := int(math.Round(demand / grain))
	least, err := minplus.Least(added, k)
	if err != nil {
		return 0, err
	}
	return idle + least[k-1], nil
}

// A contender is a weigher and the requests that it has on each server now.
type contender struct {
	name  string
	w     balancing.Weigher
	load  []float64
	watts float64 // sum over steps
	least float64 // of the exact optimum over the same steps
	steps int
}

// contenders returns the three weighers as the comparison wants them, floor and damping off.
func contenders(limit float64) []*contender {
	return []*contender{
		{name: "uniform", w: balancing.Uniform{}},
		{name: "inverse", w: balancing.Inverse{}},
		{name: "optimal", w: &balancing.Optimal{Limit: limit, Floor: -1}},
	}
}

// guarded returns Optimal as it is by default: a floor for every endpoint, steps of a share damped.
func guarded(limit float64) []*contender {
	return []*contender{
		{name: "optimal, floor", w: &balancing.Optimal{Limit: limit}},
		{name: "optimal, floor, damped", w: balancing.NewDamped(&balancing.Optimal{Limit: limit}, 0)},
	}
}

// step lets the contender divide the demand and adds up what the servers draw then.
func (c *contender) step(ctx context.Context, w *world, demand, least float64) error {
	if c.load == nil {
		c.load = make([]float64, len(w.nodes))
	}
	s := balancing.Service{Name: "simulated/web:http", Rate: demand / requestCPU, CPU: requestCPU}
	for i, n := range w.nodes {
		serving := min(c.load[i], n.Capacity.Cores-w.own[i]) // the background may have grown since
		n.State.Utilization = min((w.own[i]+serving)/n.Capacity.Cores, 1)
		s.Endpoints = append(s.Endpoints, balancing.Endpoint{ID: n.Name, Node: n, Load: serving})
	}
	shares, err := c.w.Weigh(ctx, []balancing.Service{s})
	if err != nil {
		return err
	}
	for i, share := range shares[0] {
		c.load[i] = demand * share.Value
	}
	spill(w, c.load)
	for i, n := range w.nodes {
		c.watts += float64(n.Predictor.(*power.Piecewise).At((w.own[i] + c.load[i]) / n.Capacity.Cores))
	}
	c.least += least
	c.steps++
	return nil
}

// spill moves what a full server cannot do to the others, in proportion to what they do, so that every division
// does the same work: Uniform and Inverse know no capacity.
func spill(w *world, load []float64) {
	for range len(load) {
		over, taking := 0.0, 0.0
		for i, n := range w.nodes {
			room := n.Capacity.Cores - w.own[i]
			if load[i] >= room {
				over += load[i] - room
				load[i] = room
			} else {
				taking += load[i] + 1e-9
			}
		}
		if over <= 1e-9 {
			return
		}
		for i, n := range w.nodes {
			if load[i] < n.Capacity.Cores-w.own[i] {
				load[i] += over * (load[i] + 1e-9) / taking
			}
		}
	}
}

// A verdict is a weigher's mean watts and how far they are above the exact optimum.
type verdict struct {
	Name        string  `json:"name"`
	Watts       float64 `json:"watts"`
	OverOptimum float64 `json:"overOptimum"`
}

func (c *contender) verdict() verdict {
	return verdict{c.name, c.watts / float64(c.steps), c.watts / c.least}
}

// replay sends the pattern's requests, scaled so that the busiest interval fills peak of all capacity with the
// background, to every contender.
func replay(ctx context.Context, seed uint64, pattern []float64, peak float64, all []*contender) error {
	w := newWorld(seed)
	top := slices.Max(pattern)
	for _, p := range pattern {
		total, free := w.capacity()
		d := w.demand(p / top * max(peak*total-(total-free), grain))
		least, err := w.least(d)
		if err != nil {
			return err
		}
		for _, c := range all {
			if err := c.step(ctx, w, d, least); err != nil {
				return err
			}
		}
		w.step(0.3)
	}
	return nil
}

// loads are the rows of the table: requests as a part of the free capacity.
var loads = [...]float64{0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9}

// table writes how far each weigher is above the optimum at constant loads.
func table(ctx context.Context, out io.Writer, seed uint64, limit float64) error {
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(tw, "requests\tuniform\tinverse\toptimal\toptimal, floor\tfloor, damped\t")
	for _, load := range loads {
		all := slices.Concat(contenders(limit), guarded(limit))
		w := newWorld(seed)
		for range 40 {
			_, free := w.capacity()
			d := w.demand(load * free)
			least, err := w.least(d)
			if err != nil {
				return err
			}
			for _, c := range all {
				if err := c.step(ctx, w, d, least); err != nil {
					return err
				}
			}
			w.step(0.3)
		}
		fmt.Fprintf(tw, "%.0f %%\t", 100*load)
		for _, c := range all {
			fmt.Fprintf(tw, "%.4f\t", c.verdict().OverOptimum)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// simulate compares the weighers and writes the outcome.
func simulate(ctx context.Context, out io.Writer, seed uint64, pattern []float64, limit float64, asJSON bool) error {
	all, more := contenders(limit), guarded(limit)
	const peak = 0.8
	if err := replay(ctx, seed, pattern, peak, slices.Concat(all, more)); err != nil {
		return err
	}
	if asJSON {
		var o struct {
			Weighers []verdict `json:"weighers"`
		}
		for _, c := range all {
			o.Weighers = append(o.Weighers, c.verdict())
		}
		return json.NewEncoder(out).Encode(o)
	}
	w := newWorld(seed)
	fmt.Fprintf(out, "%d servers (seed %d), %d intervals of requests, at most %.0f %% of all capacity with the background:\n", len(w.nodes), seed, len(pattern), 100*peak)
	tw := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "weigher\tmean watts\tover the exact optimum")
	for _, c := range slices.Concat(all, more) {
		v := c.verdict()
		fmt.Fprintf(tw, "%s\t%.1f\t%.4f\n", v.Name, v.Watts, v.OverOptimum)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nWatts over the exact optimum at constant loads, requests as a part of the free capacity:")
	return table(ctx, out, seed, limit)
}
