package shift

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A decision is what becomes of an item in this round.
type decision struct {
	start  time.Time // not after now: release it
	reason string
	cause  string  // for metrics: clean, latest, unknown, dry-run, unreadable, budget
	grams  float64 // expected of its run from start on; NaN if unknown
	atOnce float64 // expected if it started now; NaN if unknown
	would  float64 // that waiting would have saved, in a dry run; NaN if unknown
}

// most is how many items are planned together: those that must start first. The others wait for these, or for their latest start.
const most = 2000

// plan decides on items, in their order, beside what runs or starts in any case. What is expected to come in zones whose cores are limited takes part; nil expects nothing.
func plan(now time.Time, items, running []*item, outlook map[string][]grid.Point, cores map[string]float64, expects arriving) ([]decision, error) {
	out := make([]decision, len(items))
	var open []int
	for k, i := range items {
		d := &out[k]
		d.grams, d.atOnce = math.NaN(), i.grams(outlook, now)
		switch {
		case i.bad != nil:
			*d = decision{now, i.bad.Error(), "unreadable", d.atOnce, d.atOnce, 0}
		case !i.latest.After(now):
			*d = decision{now, "its latest start has come", "latest", d.atOnce, d.atOnce, 0}
		case len(outlook[i.zone]) == 0:
			*d = decision{now, fmt.Sprintf("nothing is forecast for zone %q: not held", i.zone), "unknown", d.atOnce, d.atOnce, 0}
		default:
			open = append(open, k)
		}
	}
	slices.SortStableFunc(open, func(a, b int) int {
		x, y := items[a], items[b]
		return cmp.Or(x.latest.Compare(y.latest), cmp.Compare(x.kind, y.kind), cmp.Compare(x.object.GetNamespace(), y.object.GetNamespace()), cmp.Compare(x.object.GetName(), y.object.GetName()))
	})
	for _, k := range open[min(most, len(open)):] {
		out[k].start, out[k].reason = items[k].latest, "many others must start before it: planned when they have"
	}
	return out, planOpen(now, items, open[:min(most, len(open))], running, outlook, cores, expects, out)
}

// planOpen plans the items whose time is free.
func planOpen(now time.Time, items []*item, open []int, running []*item, outlook map[string][]grid.Point, cores map[string]float64, expects arriving, out []decision) error {
	if len(open) == 0 {
		return nil
	}
	var zones []string
	end := time.Duration(0)
	for _, k := range open {
		i := items[k]
		if !slices.Contains(zones, i.zone) {
			zones = append(zones, i.zone)
		}
		end = max(end, min(i.latest.Sub(now), horizon)+min(i.duration, horizon))
	}
	slices.Sort(zones)
	slots := int(end/slot) + 2
	p := spacetime.Problem{}
	for _, zone := range zones {
		s := spacetime.Site{Name: zone, Capacity: make([]float64, slots), Cost: make([]float64, slots)}
		limit, limited := cores[zone]
		for t := range slots {
			s.Capacity[t] = 1e12 // not limited
			if limited {
				s.Capacity[t] = limit
			}
			s.Cost[t] = mean(outlook[zone], now.Add(time.Duration(t)*slot), slot)
		}
		for _, r := range running {
			if r.zone != zone || !limited {
				continue
			}
			began := r.began
			if began.IsZero() || began.After(now) {
				began = now
			}
			left := began.Add(r.duration).Sub(now)
			if left <= 0 { // overdue: for this slot
				left = slot
			}
			length, last := arrivals.Length(min(left, 2*horizon), slot)
			for t := range min(slots, length) {
				share := 1.0
				if t == length-1 {
					share = last
				}
				s.Capacity[t] = max(0, s.Capacity[t]-share*r.cores)
			}
		}
		p.Sites = append(p.Sites, s)
	}
	for _, k := range open {
		i := items[k]
		length, last := arrivals.Length(min(i.duration, horizon), slot)
		j := spacetime.Job{Name: i.String(), Size: max(i.cores, leastCores), Length: length, Last: last, Latest: min(int(i.latest.Sub(now)/slot), slots-length), Energy: make([]float64, len(zones))}
		if cores[i.zone] > 0 && j.Latest > 0 { // it may get its room within its first slot
			j.Latest--
		}
		for z, zone := range zones {
			j.Energy[z] = math.Inf(1)
			if zone == i.zone {
				j.Energy[z] = max(i.kWh(), 1e-6) / j.Slots()
			}
		}
		p.Jobs = append(p.Jobs, j)
	}
	p.Expected = expects.in(now, zones, cores, &p, slots)
	solved, err := spacetime.Solve(p)
	if err != nil {
		return err
	}
	for n, k := range open {
		i, d, x := items[k], &out[k], solved.Placements[n]
		switch {
		case x.Site < 0 || x.Late: // no room in time: it starts at its latest start, whatever else runs
			d.start, d.cause, d.reason = i.latest, "clean", "no room before its latest start"
		case x.Start == 0:
			d.start, d.cause, d.grams = now, "clean", d.atOnce
			d.reason = fmt.Sprintf("now is its cleanest time until %s: %.0f g/kWh", i.latest.UTC().Format(time.RFC3339), mean(outlook[i.zone], now, i.duration))
		default:
			d.start, d.cause = now.Add(time.Duration(x.Start)*slot), "clean"
			d.grams = i.grams(outlook, d.start)
			d.reason = fmt.Sprintf("%.0f g/kWh expected then, %.0f now", mean(outlook[i.zone], d.start, i.duration), mean(outlook[i.zone], now, i.duration))
		}
		if d.start.After(i.latest) {
			d.start = i.latest
		}
	}
	return nil
}

// grams is what the item is expected to emit if it starts then; NaN if unknown.
func (i *item) grams(outlook map[string][]grid.Point, start time.Time) float64 {
	return i.kWh() * mean(outlook[i.zone], start, i.duration)
}
