// Package spacetime plans at which site and when jobs run, so that their energy costs the least grams or money.
//
// Its main type is [Problem]; [Solve] answers it with a [Plan]. Time is cut into slots of one length. The method is Lagrangian
// relaxation: each site's capacity in each slot gets a price, jobs choose their cheapest start at these prices, and prices rise
// where more is asked than there is (Held, Wolfe and Crowder 1974); the choices are then made feasible job by job, and improved
// by moves while that helps. The prices also give a lower bound, so that a plan tells how far from the best it can be.
package spacetime

import (
	"errors"
	"fmt"
	"math"
	"slices"
)

// A Site is a place with servers.
type Site struct {
	Name string

	// Capacity is what may be used in each slot, in the unit of Job.Size (cores). Slots beyond its end have none.
	Capacity []float64

	// Cost is what one kilowatt-hour costs in each slot, in grams or money; it may be negative. It is as long as
	// Capacity. NaN is unknown: see [Problem].
	Cost []float64
}

// A Job is work that needs Size for Length slots.
type Job struct {
	Name   string
	Size   float64 // in the unit of Site.Capacity, above 0
	Length int     // slots, above 0

	// Last is the share of its last slot that the job takes, so that others may have the rest; 0 is all of it. One that may be suspended and needs
	// several slots takes all of each.
	Last float64

	// Earliest and Latest are the first and the last slot in which the job may start. A job that may be suspended ends at the
	// same time at the latest, Latest + Length.
	Earliest, Latest int

	// Energy is the kilowatt-hours of one slot of the job at each site, in the order of Problem.Sites; NaN or +Inf where it
	// cannot run.
	Energy []float64

	// Suspend says that the job may be suspended and resumed, at one site.
	Suspend bool
}

// last is the share of the last slot.
func (j *Job) last() float64 {
	if j.Last == 0 || j.Suspend && j.Length > 1 {
		return 1
	}
	return j.Last
}

// Slots is how many slots of its size a job takes, with the share of the last.
func (j *Job) Slots() float64 { return float64(j.Length-1) + j.last() }

// A Problem is jobs and the sites where they may run.
//
// A slot whose cost is unknown is neutral: it is taken at the mean of the known costs of its site, or of all sites where the site has
// none, so that nothing is held back for want of a forecast nor hurried for it. If nothing is known, jobs start as early as they can.
type Problem struct {
	Sites []Site
	Jobs  []Job

	// Expected is work that has not come yet. It takes part in the plan and its prices, so that Jobs leave it the room that is worth more to
	// it, and gets no placement of its own; where there is no room for all of it the rest is left out. Its jobs may be fractions of real ones.
	Expected []Job

	// Quick takes about a fifth of the time: it seeks prices for fewer rounds, and tries one order of the jobs while all find room in time. It
	// is for planning much the same jobs again and again, from the prices of the plan before; the bound is lower.
	Quick bool

	// Prices to begin with, by site and slot: those of an earlier plan. Nil is none; what is missing or no price is 0.
	Prices [][]float64
}

// A Placement is one job's part of a plan.
type Placement struct {
	Site  int   // index into Problem.Sites; -1 if the job could not be placed
	Start int   // first slot
	Slots []int // all slots, of a job that may be suspended; nil otherwise
	Cost  float64

	// Late says that the job was placed after its latest start, because there was no room before.
	Late bool
}

// A Plan answers a problem.
type Plan struct {
	Placements []Placement // one a job, in order
	Cost       float64     // of all that are placed
	Bound      float64     // no plan that places every job in time costs less; NaN where work is expected
	Unplaced   int         // there is no room for these within the horizon, or no site that can run them
	Late       int

	// Prices are what the room of each site is worth in each slot, in cost a unit of size. Nil where nothing was scarce.
	Prices [][]float64

	all float64 // cost with what is expected
}

// Limits of a problem, so that foreign numbers cannot ask for unbounded work.
const (
	maxSlots = 100_000
	maxCells = 50_000_000 // sites × slots
)

func (p *Problem) validate() error {
	slots := 0
	for _, s := range p.Sites {
		if len(s.Cost) != len(s.Capacity) {
			return fmt.Errorf("site %q: %d costs for %d slots of capacity", s.Name, len(s.Cost), len(s.Capacity))
		}
		slots = max(slots, len(s.Capacity))
		for t := range s.Capacity {
			if !(s.Capacity[t] >= 0) || math.IsInf(s.Capacity[t], 0) {
				return fmt.Errorf("site %q, slot %d: capacity is %v: want a finite number, 0 or more", s.Name, t, s.Capacity[t])
			}
			if math.IsInf(s.Cost[t], 0) {
				return fmt.Errorf("site %q, slot %d: cost is %v: want a finite number, or NaN for unknown", s.Name, t, s.Cost[t])
			}
		}
	}
	if slots > maxSlots || slots*len(p.Sites) > maxCells {
		return fmt.Errorf("%d sites × %d slots: at most %d slots and %d of both", len(p.Sites), slots, maxSlots, maxCells)
	}
	for _, jobs := range [][]Job{p.Jobs, p.Expected} {
		for i := range jobs {
			if err := jobs[i].validate(p.Sites); err != nil {
				return err
			}
		}
	}
	return nil
}

func (j *Job) validate(sites []Site) error {
	switch {
	case !(j.Size > 0) || math.IsInf(j.Size, 0):
		return fmt.Errorf("job %q: size is %v: want a finite number above 0", j.Name, j.Size)
	case j.Length < 1 || j.Length > maxSlots:
		return fmt.Errorf("job %q: length is %d slots: want 1 to %d", j.Name, j.Length, maxSlots)
	case j.Earliest < 0 || j.Latest > maxSlots:
		return fmt.Errorf("job %q: may start from slot %d until %d: want 0 to %d", j.Name, j.Earliest, j.Latest, maxSlots)
	case !(j.Last >= 0 && j.Last <= 1):
		return fmt.Errorf("job %q: takes %v of its last slot: want 0 to 1", j.Name, j.Last)
	case len(j.Energy) != len(sites):
		return fmt.Errorf("job %q: energy at %d sites, want %d", j.Name, len(j.Energy), len(sites))
	}
	for s, e := range j.Energy {
		if e < 0 {
			return fmt.Errorf("job %q: energy at site %q is %v kWh: want 0 or more", j.Name, sites[s].Name, e)
		}
	}
	return nil
}

// ErrNoSites says that there is nowhere to run anything.
var ErrNoSites = errors.New("no sites")

// Solve plans a problem. It is deterministic. A job whose latest start lies in the past of its earliest is started as early as there
// is room, and so is one that finds no room in time: late, but never lost.
func Solve(p Problem) (*Plan, error) {
	if len(p.Sites) == 0 {
		return nil, ErrNoSites
	}
	if err := p.validate(); err != nil {
		return nil, err
	}
	s := newSolver(&p)
	plan := s.plan(nil, nil)
	free := s.unconstrained()
	if plan.Late+plan.Unplaced == 0 && plan.all <= free+1e-12*math.Abs(free) {
		plan.Bound = min(free, plan.all) // every job has its cheapest place: capacity costs nothing
		return s.done(plan), nil
	}
	s.begin(p.Prices)
	bound := s.price(plan.all)
	prices := clone(s.lambda)
	plan = s.plan(s.lambda, plan)
	plan.Prices = prices
	plan.Bound = min(bound, plan.all)
	if plan.Unplaced+plan.Late > 0 {
		plan.Bound = math.NaN()
	}
	return s.done(plan), nil
}

// done leaves out what is expected.
func (s *solver) done(plan *Plan) *Plan {
	if s.real < len(s.jobs) {
		plan.Placements, plan.Bound = plan.Placements[:s.real], math.NaN()
	}
	return plan
}

// fill replaces unknown costs as [Problem] says.
func fill(sites []Site) [][]float64 {
	mean := func(known []float64) float64 {
		sum := 0.0
		for _, v := range known {
			sum += v / float64(len(known))
		}
		return sum
	}
	known := func(cost []float64) []float64 {
		return slices.DeleteFunc(slices.Clone(cost), math.IsNaN)
	}
	var all []float64
	for _, s := range sites {
		all = append(all, known(s.Cost)...)
	}
	out := make([][]float64, len(sites))
	for i, s := range sites {
		own := known(s.Cost)
		if len(own) == 0 {
			own = all
		}
		neutral := mean(own)
		out[i] = slices.Clone(s.Cost)
		for t, v := range out[i] {
			if math.IsNaN(v) {
				out[i][t] = neutral
			}
		}
	}
	return out
}
