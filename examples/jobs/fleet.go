package main

import (
	"context"
	"fmt"
	"math"
	"os"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate/trace"
)

// A Machine is a server that jobs may be given.
type Machine struct {
	Name   string
	Site   string
	Cores  float64
	Memory float64 // bytes
	Curve  *power.Piecewise
	Down   bool // cordoned or not ready

	// Left is since when the machine is none any more; zero: it is one.
	Left time.Time
}

// A Site is a place with machines: its zone of the grid, and what multiplies a server's kilowatt-hours there.
type Site struct {
	Name string
	Zone string
	PUE  float64 // 0 means 1
	K    float64 // KubeEnergyScheduler's factor of a job's carbon; 0 means 1
}

func (s *Site) factor() float64 {
	f := 1.0
	if s.PUE > 0 {
		f *= s.PUE
	}
	if s.K > 0 {
		f *= s.K
	}
	return f
}

// A placed job holds a part of a machine.
type placed struct {
	machine int
	job     batch.Job
	until   time.Time // when it is expected to end
}

// A Fleet is the machines and what is reserved on them. All of them together and those of each site are clusters of package
// batch, kept alike. It is not safe for concurrent use.
type Fleet struct {
	machines []Machine
	sites    []Site
	siteOf   []int // of each machine, index into sites

	all   *batch.Cluster
	parts []*batch.Cluster // by site
	at    []index          // of each machine
	held  map[string]placed
}

// An index is where a machine stands in the cluster of all and in that of its site.
type index struct{ all, part int }

// newFleet returns a fleet, which may be empty for now. A site that no row describes has the machine's site as its zone and no factor.
func newFleet(ctx context.Context, machines []Machine, sites []Site) (*Fleet, error) {
	f := &Fleet{machines: machines, sites: slices.Clone(sites), held: make(map[string]placed)}
	for i := range machines {
		m := &machines[i]
		k := slices.IndexFunc(f.sites, func(s Site) bool { return s.Name == m.Site })
		if k < 0 {
			k = len(f.sites)
			f.sites = append(f.sites, Site{Name: m.Site, Zone: m.Site})
		}
		f.siteOf = append(f.siteOf, k)
	}
	return f, f.build(ctx)
}

// build makes the clusters anew; what was held is reserved again.
func (f *Fleet) build(ctx context.Context) error {
	nodes := make([]batch.Node, len(f.machines))
	for i := range f.machines {
		m := &f.machines[i]
		nodes[i] = batch.Node{Site: m.Site, Down: m.Down, Allocatable: batch.Resources{CPU: m.Cores, Memory: m.Memory},
			Node: scoring.Node{Name: m.Name, Capacity: power.Capacity{Cores: m.Cores}, State: power.State{Node: m.Name}}}
		if m.Curve != nil {
			nodes[i].Predictor = m.Curve
		} else {
			nodes[i].Err = fmt.Errorf("node %q: %w", m.Name, power.ErrNoModel)
		}
	}
	var err error
	if f.all, err = batch.NewCluster(ctx, nodes, batch.ClusterOptions{}); err != nil {
		return err
	}
	f.parts, f.at = make([]*batch.Cluster, len(f.sites)), make([]index, len(f.machines))
	for k := range f.sites {
		var here []batch.Node
		for i := range nodes {
			if f.siteOf[i] == k {
				here = append(here, nodes[i])
			}
		}
		if f.parts[k], err = batch.NewCluster(ctx, here, batch.ClusterOptions{}); err != nil {
			return err
		}
	}
	for i := range f.machines {
		f.at[i] = index{f.all.Find(f.machines[i].Name), f.parts[f.siteOf[i]].Find(f.machines[i].Name)}
	}
	for id, p := range f.held {
		if p.machine >= 0 {
			f.reserve(id, p.machine, p.job, p.until)
		}
	}
	return nil
}

func (f *Fleet) find(name string) int {
	return slices.IndexFunc(f.machines, func(m Machine) bool { return m.Name == name })
}

// site returns the index of a site, or -1.
func (f *Fleet) site(name string) int {
	return slices.IndexFunc(f.sites, func(s Site) bool { return s.Name == name })
}

// up tells whether any machine of a site is.
func (f *Fleet) up(site int) bool {
	for i := range f.machines {
		if f.siteOf[i] == site && !f.machines[i].Down {
			return true
		}
	}
	return false
}

// left returns since when a job's machine is none any more; zero: it is one. Of a machine that nobody has heard of it is a time long ago.
func (f *Fleet) left(machine string) time.Time {
	if i := f.find(machine); i >= 0 {
		return f.machines[i].Left
	}
	return epoch
}

// reserve takes a job's part of a machine on both clusters.
func (f *Fleet) reserve(id string, machine int, j batch.Job, until time.Time) {
	f.all.Reserve(f.at[machine].all, &j, 0)
	f.parts[f.siteOf[machine]].Reserve(f.at[machine].part, &j, 0)
	f.held[id] = placed{machine, j, until}
}

// release gives it back.
func (f *Fleet) release(id string) {
	p, ok := f.held[id]
	if !ok {
		return
	}
	delete(f.held, id)
	if p.machine < 0 {
		return
	}
	f.all.Release(f.at[p.machine].all, &p.job)
	f.parts[f.siteOf[p.machine]].Release(f.at[p.machine].part, &p.job)
}

// update takes over what a new list of machines says of those there are, and new machines. One that is gone is down.
func (f *Fleet) update(ctx context.Context, machines []Machine, now time.Time) error {
	next := slices.Clone(f.machines)
	for i := range next {
		if next[i].Down = true; next[i].Left.IsZero() {
			next[i].Left = now
		}
	}
	for _, m := range machines {
		if i := slices.IndexFunc(next, func(x Machine) bool { return x.Name == m.Name }); i >= 0 {
			next[i] = m
		} else {
			next = append(next, m)
		}
	}
	held := f.held
	g, err := newFleet(ctx, next, f.sites)
	if err != nil {
		return err
	}
	*f = *g
	for id, p := range held { // indices of the old machines are kept
		if p.machine >= 0 {
			f.reserve(id, p.machine, p.job, p.until)
		} else {
			f.held[id] = p
		}
	}
	return nil
}

// asBatch is what a strategy sees of a job.
func asBatch(j *Job, now time.Time) batch.Job {
	b := batch.Job{Name: j.ID, Requests: batch.Resources{CPU: j.CPU, Memory: j.Memory}, Demand: scoring.Demand{CPU: j.CPU, Lifetime: j.left(now)}, Priority: j.Priority,
		Submitted: j.Submitted.Sub(epoch)}
	if !j.Deadline.IsZero() {
		b.Deadline = j.Deadline.Sub(epoch)
	}
	return b
}

// epoch is what batch counts from.
var epoch = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)

// watts is what a machine draws more with a job of that many cores: its share of the idle power, and the rise of the curve
// from the use before. NaN where the machine has no model.
func (m *Machine) watts(cores, before float64) float64 {
	if m.Curve == nil || !(m.Cores > 0) {
		return math.NaN()
	}
	share := cores / m.Cores
	u := before / m.Cores
	return float64(m.Curve.Idle())*share + float64(m.Curve.Rise(min(u, 1), min(u+share, 1)))
}

// use returns the cores reserved on a machine.
func (f *Fleet) use(machine int) float64 { return f.all.Use(f.at[machine].all) }

// loadMachines reads KubeEnergyScheduler's node and site files. A node's intensity profile becomes that of its site's zone, the
// first of a site: the third result, in the notation of [grid.ParseProfile].
func loadMachines(nodeFile, siteFile string) ([]Machine, []Site, map[string]string, error) {
	f, err := os.Open(nodeFile)
	if err != nil {
		return nil, nil, nil, err
	}
	defer f.Close()
	rows, err := trace.KubeEnergyNodes(nodeFile, f)
	if err != nil {
		return nil, nil, nil, err
	}
	var sites []Site
	if siteFile != "" {
		g, err := os.Open(siteFile)
		if err != nil {
			return nil, nil, nil, err
		}
		defer g.Close()
		list, err := trace.KubeEnergySites(siteFile, g)
		if err != nil {
			return nil, nil, nil, err
		}
		for _, s := range list {
			sites = append(sites, Site{Name: s.ID, Zone: s.Region, PUE: s.PUE, K: s.K})
		}
	}
	var machines []Machine
	zones := make(map[string]string)
	for _, r := range rows {
		m := Machine{Name: r.Name, Site: r.Site, Cores: r.Cores, Memory: r.Memory}
		if r.PeakWatts > 0 {
			if m.Curve, err = r.Model(); err != nil {
				return nil, nil, nil, fmt.Errorf("%s: node %q: %w", nodeFile, r.Name, err)
			}
		}
		machines = append(machines, m)
		zone := r.Site
		if k := slices.IndexFunc(sites, func(s Site) bool { return s.Name == r.Site }); k >= 0 {
			zone = sites[k].Zone
		}
		if _, ok := zones[zone]; !ok && !r.Intensity.IsZero() {
			zones[zone] = r.Intensity.String()
		}
	}
	return machines, sites, zones, nil
}
