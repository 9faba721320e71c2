package main

import (
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// The strategies that the share of the oracle's saving is measured between: the first starts everything at once, where it draws the
// fewest watts; the second plans over sites and time.
const (
	atOnce   = "leastwatt"
	overTime = "spacetime"
)

// options are what a strategy is made with.
func (o *options) options(seed uint64, oracle bool) batch.Options {
	b := batch.Options{Seed: seed}
	if o.world != nil {
		b.Grid = o.world.outlook[oracle]
		b.Carbon.Threshold = o.threshold
	}
	return b
}

// until is when all that arrives has had the time to end.
func (o *options) until(arrivals time.Duration, jobs []simulate.Job) time.Duration {
	var longest, last time.Duration
	for i := range jobs {
		d := jobs[i].Duration
		if o.longest > 0 && o.load > 0 {
			d = min(d, o.longest)
		}
		longest = max(longest, d)
		last = max(last, jobs[i].Arrival)
	}
	if arrivals == 0 {
		arrivals = last
	}
	return arrivals + longest + longest/10 + o.slack
}

// kilograms is a run's carbon.
func (o *options) kilograms(r *simulate.Result) float64 {
	if o.world == nil {
		return r.Energy.KilowattHours() * o.intensity / 1000
	}
	var g float64
	for _, s := range r.Sites {
		g += s.Grams
	}
	return g / 1000
}

// money is a run's cost.
func (o *options) money(r *simulate.Result) float64 {
	if o.world == nil {
		return r.Energy.KilowattHours() * o.price
	}
	if o.prices == "" {
		return r.Energy.KilowattHours() * o.price
	}
	var m float64
	for _, s := range r.Sites {
		m += s.Money
	}
	return m
}

// aim is what the objective counts.
func (o *options) aim(r *simulate.Result) float64 {
	if o.objective == "money" {
		return o.money(r) + o.kilograms(r)/1000*o.carbonPrice
	}
	return o.kilograms(r)
}

// optimum is what the oracle reached, and how much of that by choosing the place alone.
type optimum struct {
	AtOnceKg   float64 `json:"atOnceCarbonKg"` // everything at once, where it draws the fewest watts
	PlaceKg    float64 `json:"placeCarbonKg"`  // everything at once, at the site that the oracle would choose
	CarbonKg   float64 `json:"carbonKg"`
	AtOnceCost float64 `json:"atOnceCost,omitempty"` // the same in money, where there are prices
	PlaceCost  float64 `json:"placeCost,omitempty"`
	Cost       float64 `json:"cost"`
	PlaceShare float64 `json:"placeShare"` // of the oracle's saving in what the objective counts; the rest comes from the time
}

// shares says of each run how much of the oracle's saving it reached. place is the oracle's run in which nothing could be held.
func (o *options) shares(done []outcome, base, oracle, place *simulate.Result) {
	possible := o.aim(base) - o.aim(oracle)
	o.optimum = optimum{AtOnceKg: o.kilograms(base), PlaceKg: o.kilograms(place), CarbonKg: o.kilograms(oracle), AtOnceCost: o.money(base), PlaceCost: o.money(place), Cost: o.money(oracle)}
	if possible > 0 {
		o.optimum.PlaceShare = (o.aim(base) - o.aim(place)) / possible
	}
	for i := range done {
		done[i].share = 0
		if possible > 0 {
			done[i].share = (o.aim(base) - o.aim(done[i].result)) / possible
		}
	}
}

// writeShares prints what the sites add to the table.
func (o *options) writeShares(out io.Writer, done []outcome) error {
	fmt.Fprintf(out, "\n%d sites from %s on, objective %s; the oracle is %s told what the grid will be, against %s, which starts everything at once.\n",
		len(o.world.sites), o.world.start.Format(time.RFC3339), o.objective, overTime, atOnce)
	x, unit := &o.optimum, "kg"
	reached, all, place := x.CarbonKg, x.AtOnceKg, x.PlaceKg
	money := o.objective == "money"
	if money {
		unit, reached, all, place = o.world.money, x.Cost, x.AtOnceCost, x.PlaceCost
	}
	fmt.Fprintf(out, "Of its saving (%.2f %s instead of %.2f) %.1f %% come from the place alone (%.2f %[2]s with everything at once), the rest from the time.\n",
		reached, unit, all, 100*x.PlaceShare, place)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "strategy\tshare of the oracle\tmissed\tsuspended\t")
	for _, s := range o.world.sites {
		fmt.Fprintf(w, "%s %s\t", s.id, unit)
	}
	fmt.Fprintln(w)
	for _, d := range done {
		share := "-"
		if !math.IsNaN(d.share) {
			share = fmt.Sprintf("%.1f %%", 100*d.share)
		}
		fmt.Fprintf(w, "%s\t%s\t%d\t%d\t", d.result.Strategy, share, d.result.Missed, d.result.Suspended)
		for _, s := range d.result.Sites {
			v := s.Grams / 1000
			if money {
				v = s.Money
			}
			fmt.Fprintf(w, "%.2f\t", v)
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}
