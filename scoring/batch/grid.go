package batch

import (
	"fmt"
	"math"
	"slices"
	"time"
)

// A Grid tells strategies what a kilowatt-hour costs at each site, in grams or money, with PUE and factors. Time is
// cut into slots that begin at multiples of Slot from the origin that the now of Plan counts from.
type Grid interface {
	// Slot is how long one value holds; it is above 0 and does not change.
	Slot() time.Duration

	// Ahead appends what is expected at a site in the next n slots, from the one that holds now on. NaN is unknown; fewer than n
	// values say that the forecast ends there. A site that is not known gives none.
	Ahead(dst []float64, site string, now time.Duration, n int) []float64
}

// CarbonOptions tune the strategies of [CarbonNames]. The zero value is the default of each.
type CarbonOptions struct {
	// CostWeight, WaitWeight and UseWeight are the weights of ciaware; if all are 0 they are 1, 0.2 and 0.05, the middle of what
	// KubeEnergyScheduler sweeps.
	CostWeight, WaitWeight, UseWeight float64

	// Lambda weighs cost against utilization in carbonscaler and ecovisor; 0 means 1.
	Lambda float64

	// Threshold is the cost above which threshold delays work; 0 means the mean of what the grid tells of the next day.
	Threshold float64

	// MaxDelay bounds the delay of jobs without a deadline by threshold; 0 means 24 hours, as Compute Gardener.
	MaxDelay time.Duration

	// Margin is by how much a job may run longer than expected and still meet its deadline: its latest start is the deadline less
	// Margin times what is left of it. 0 means 1.1.
	Margin float64

	// Horizon is how many slots ahead spacetime plans; 0 means 96.
	Horizon int

	// Joint is how many of the jobs that it holds spacetime plans anew together whenever a slot begins: those that must start first. 0 means
	// 1000; -1 plans each alone beside what is booked, when its time has come.
	Joint int
}

// CarbonNames returns the names of the strategies that go by what a kilowatt-hour costs where and when: KubeEnergyScheduler's
// ciaware, policies like CarbonScaler's and Ecovisor's in the form that KubeEnergyScheduler gives them, GreenAlgorithms' score, the
// delay by threshold of Compute Gardener, and spacetime, which plans site, node and time together.
func CarbonNames() []string {
	return []string{"ciaware", "carbonscaler", "ecovisor", "greenalgorithms", "threshold", "spacetime"}
}

func newCarbon(name string, o Options) (Strategy, error) {
	if o.Grid == nil {
		return nil, fmt.Errorf("the strategy %q goes by the grid: it needs Options.Grid", name)
	}
	c := o.Carbon
	if c.CostWeight == 0 && c.WaitWeight == 0 && c.UseWeight == 0 {
		c.CostWeight, c.WaitWeight, c.UseWeight = 1, 0.2, 0.05
	}
	if c.Lambda == 0 {
		c.Lambda = 1
	}
	if c.Margin == 0 {
		c.Margin = 1.1
	}
	if c.MaxDelay == 0 {
		c.MaxDelay = 24 * time.Hour
	}
	if c.Horizon == 0 {
		c.Horizon = 96
	}
	if c.Joint == 0 {
		c.Joint = 1000
	}
	for what, v := range map[string]float64{"CostWeight": c.CostWeight, "WaitWeight": c.WaitWeight, "UseWeight": c.UseWeight, "Lambda": c.Lambda} {
		if !(v >= 0) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("%s: %s is %v: want a finite number, 0 or more", name, what, v)
		}
	}
	switch {
	case !(c.Margin >= 1) || math.IsInf(c.Margin, 0):
		return nil, fmt.Errorf("%s: Margin is %v: want 1 or more", name, c.Margin)
	case math.IsNaN(c.Threshold) || c.MaxDelay < 0:
		return nil, fmt.Errorf("%s: Threshold %v, MaxDelay %v", name, c.Threshold, c.MaxDelay)
	case c.Horizon < 1 || c.Horizon > 10_000:
		return nil, fmt.Errorf("%s: Horizon is %d slots: want 1 to 10000", name, c.Horizon)
	case c.Joint < -1 || c.Joint > 100_000:
		return nil, fmt.Errorf("%s: Joint is %d jobs: want -1 to 100000", name, c.Joint)
	case o.Grid.Slot() <= 0:
		return nil, fmt.Errorf("%s: the grid's slot is %v", name, o.Grid.Slot())
	}
	b := clean{opts: c, grid: o.Grid}
	switch name {
	case "threshold":
		return &threshold{clean: b}, nil
	case "spacetime":
		return &overTime{clean: b}, nil
	}
	score := map[string]score{"ciaware": ciAware, "carbonscaler": carbonScaler, "ecovisor": ecovisor, "greenalgorithms": greenAlgorithms}[name]
	return &scoredClean{clean: b, name: name, score: score}, nil
}

// clean is what all strategies that go by the grid share.
type clean struct {
	opts    CarbonOptions
	grid    Grid
	sites   []string // of the cluster last seen, in order of name
	of      []int    // site of each node
	cluster *Cluster
	ahead   [][]float64 // costs by site, from the slot that holds now on
	at      int64       // the slot that ahead begins with, or -1
	asked   int         // slots of ahead
}

// look brings what is known of the grid up to date, for n slots.
func (b *clean) look(c *Cluster, now time.Duration, n int) {
	if b.cluster != c {
		b.cluster, b.at, b.sites = c, -1, nil
		for i := range c.nodes {
			b.sites = append(b.sites, c.nodes[i].Site)
		}
		slices.Sort(b.sites)
		b.sites = slices.Compact(b.sites)
		b.of = make([]int, len(c.nodes))
		for i := range c.nodes {
			b.of[i], _ = slices.BinarySearch(b.sites, c.nodes[i].Site)
		}
		b.ahead = make([][]float64, len(b.sites))
	}
	slot := int64(now / b.grid.Slot())
	if slot == b.at && n <= b.asked {
		return
	}
	b.at, b.asked = slot, n
	for s, name := range b.sites {
		b.ahead[s] = b.grid.Ahead(b.ahead[s][:0], name, now, n)
		for k, v := range b.ahead[s] {
			if math.IsInf(v, 0) {
				b.ahead[s][k] = math.NaN()
			}
		}
	}
}

// now returns what a kilowatt-hour costs now at a site; NaN is unknown.
func (b *clean) now(site int) float64 {
	if a := b.ahead[site]; len(a) > 0 {
		return a[0]
	}
	return math.NaN()
}

// latest is the latest start of a job, or a negative number where it has no deadline. Without a known lifetime nothing can be promised, so
// that the latest start is now.
func (b *clean) latest(j *Job, now time.Duration) time.Duration {
	switch {
	case j.Deadline <= 0:
		return -1
	case j.Demand.Lifetime <= 0:
		return now
	}
	return max(0, j.Deadline-time.Duration(b.opts.Margin*float64(j.Demand.Lifetime)))
}

// nextSlot is when the slot after the one that holds now begins.
func (b *clean) nextSlot(now time.Duration) time.Duration {
	return (now/b.grid.Slot() + 1) * b.grid.Slot()
}
