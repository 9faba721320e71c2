package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A summary is what the demonstration prints.
type summary struct {
	Strategy     string  `json:"strategy"`
	Jobs         int     `json:"jobs"`
	Done         int     `json:"done"`                       // fewer if the time was over before
	Late         int     `json:"late"`                       // ended after their deadline
	Grams        float64 `json:"carbonGrams"`                // by the intensities that came
	AtOnceGrams  float64 `json:"atOnceGrams"`                // everything at once, where it draws the least
	OracleGrams  float64 `json:"oracleGrams"`                // the same planner, all jobs and all intensities known beforehand
	OracleShare  float64 `json:"oracleShare"`                // of the saving; NaN is never printed
	WholeGrams   float64 `json:"oracleWholeGrams,omitempty"` // of an oracle that suspends nothing, where jobs may be suspended
	Suspensions  int     `json:"suspensions"`
	Status       Status  `json:"status"`
	MeanHeldSecs float64 `json:"meanHeldSeconds"`
}

// compare works out what would have been emitted without holding anything back, and by an oracle: the same planner over all jobs and the intensities that
// came. What they plan is carried out on the machines and counted as the jobs that ran are.
func (s *summary) compare(done []*Job, o *options, truth *grid.Series) error {
	f, err := newFleet(context.Background(), o.machines, o.places)
	if err != nil {
		return err
	}
	const slot = planSlot
	const slots = 7 * 24 * 4
	tiers := f.tiers()
	p := spacetime.Problem{Sites: f.capacity(tiers, demoStart, slot, slots, nil)}
	real := &Outlook{Points: make([][]grid.Point, len(f.sites))}
	for k := range f.sites {
		if real.Points[k], err = truth.Forecast(context.Background(), f.sites[k].Zone, demoStart, demoStart.Add(slots*slot)); err != nil {
			return err
		}
	}
	for _, j := range done {
		length, last := arrivals.Length(j.Duration, slot)
		x := spacetime.Job{Name: j.ID, Size: j.CPU, Length: length, Last: last, Earliest: int(j.Submitted.Sub(demoStart) / slot), Latest: int(j.due(1.2, 0).Add(-times(j.Duration, 1.2)).Sub(demoStart) / slot), Suspend: j.Suspendable, Energy: make([]float64, len(tiers))}
		for k := range tiers {
			x.Energy[k] = f.tierWatts(&tiers[k], j) / 1000 * j.Duration.Hours() / x.Slots()
		}
		p.Jobs = append(p.Jobs, x)
		if !math.IsNaN(j.Grams) {
			s.Grams += j.Grams
		}
		s.MeanHeldSecs += j.Started.Sub(j.Submitted).Seconds() / float64(len(done))
		if j.Ended.After(j.Deadline) {
			s.Late++
		}
		s.Suspensions += len(j.Ran)
	}
	solve := func(atOnce, whole bool) (float64, error) {
		q := spacetime.Problem{Sites: slices.Clone(p.Sites), Jobs: slices.Clone(p.Jobs)}
		for k := range q.Sites {
			q.Sites[k].Cost = make([]float64, slots)
			for t := range slots {
				from := demoStart.Add(time.Duration(t) * slot)
				q.Sites[k].Cost[t] = f.sites[tiers[k].site].factor()
				if !atOnce { // else it knows nothing of the grid
					q.Sites[k].Cost[t] *= real.mean(tiers[k].site, from, from.Add(slot))
				}
			}
		}
		for i := range q.Jobs {
			if atOnce {
				q.Jobs[i].Latest = q.Jobs[i].Earliest
			}
			q.Jobs[i].Suspend = q.Jobs[i].Suspend && !whole
		}
		plan, err := spacetime.Solve(q)
		if err != nil {
			return 0, err
		}
		var pieces []piece
		for i, x := range plan.Placements {
			if x.Site < 0 {
				continue
			}
			j, site := done[i], &tiers[x.Site]
			if x.Slots == nil {
				pieces = append(pieces, piece{j, site, notBefore(j.Submitted, demoStart.Add(time.Duration(x.Start)*slot)), j.Duration})
				continue
			}
			left := j.Duration
			for _, r := range spans(x.Slots, demoStart, slot) {
				d := min(left, r.until.Sub(r.from))
				pieces = append(pieces, piece{j, site, notBefore(j.Submitted, r.from), d})
				left -= d
			}
		}
		return carryOut(o, pieces, real)
	}
	if len(done) == 0 {
		return nil
	}
	if s.AtOnceGrams, err = solve(true, true); err != nil {
		return err
	}
	if s.OracleGrams, err = solve(false, false); err != nil {
		return err
	}
	if o.suspendable {
		if s.WholeGrams, err = solve(false, true); err != nil {
			return err
		}
	}
	if d := s.AtOnceGrams - s.OracleGrams; d > 0 {
		s.OracleShare = (s.AtOnceGrams - s.Grams) / d
	}
	return nil
}

// notBefore returns a time, or the earliest one allowed.
func notBefore(earliest, t time.Time) time.Time {
	if t.Before(earliest) {
		return earliest
	}
	return t
}

// A piece is a job, or a part of one, that is to run on machines of a tier from a time on.
type piece struct {
	job  *Job
	tier *tier
	from time.Time
	d    time.Duration
}

// carryOut runs pieces on empty machines, each on the one of its tier where it adds the least, when there is room on one, or else on one of its site that the
// service would choose, and returns the grams.
func carryOut(o *options, pieces []piece, real *Outlook) (grams float64, err error) {
	ctx := context.Background()
	f, err := newFleet(ctx, o.machines, o.places)
	if err != nil {
		return 0, err
	}
	s, err := batch.New(placerOf(SpaceTime), batch.Options{Seed: 1})
	if err != nil {
		return 0, err
	}
	slices.SortStableFunc(pieces, func(a, b piece) int { return a.from.Compare(b.from) })
	var now time.Time
	for len(pieces) > 0 {
		next := pieces[len(pieces)-1].from // what comes or ends first
		for id, h := range f.held {
			if !h.until.After(now) {
				f.release(id)
			}
		}
		var waiting []piece
		for _, p := range pieces {
			if p.from.After(now) {
				waiting = append(waiting, p)
				if p.from.Before(next) {
					next = p.from
				}
				continue
			}
			site, b := p.tier.site, asBatch(p.job, now)
			b.Demand.Lifetime = p.d
			m, least := -1, math.Inf(1)
			for _, i := range p.tier.machines {
				if w := f.machines[i].watts(p.job.CPU, f.use(i)); f.all.Fits(f.at[i].all, &b) && (m < 0 || w < least) {
					m, least = i, w
				}
			}
			if m < 0 {
				c := f.parts[site]
				plan, err := s.Plan(ctx, now.Sub(epoch), []batch.Job{b}, c)
				if err != nil {
					return 0, err
				}
				if len(plan.Assigned) == 0 {
					waiting = append(waiting, p)
					continue
				}
				m = f.find(c.Node(plan.Assigned[0].Node).Name)
				c.Release(plan.Assigned[0].Node, &b) // the fleet keeps both clusters alike
			}
			if w := f.machines[m].watts(p.job.CPU, f.use(m)); !math.IsNaN(w) {
				grams += w / 1000 * p.d.Hours() * real.mean(site, now, now.Add(p.d)) * f.sites[site].factor()
			}
			f.reserve(p.job.ID+p.from.String(), m, b, now.Add(p.d))
		}
		if pieces = waiting; len(pieces) > 0 && len(f.held) == 0 && !pieces[len(pieces)-1].from.After(now) {
			return 0, fmt.Errorf("job %s fits on no machine of site %q", pieces[0].job.ID, f.sites[pieces[0].tier.site].Name)
		}
		for _, h := range f.held {
			if !next.After(now) || h.until.Before(next) {
				next = h.until
			}
		}
		now = next
	}
	return grams, nil
}

func (s *summary) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "node\tjobs\tenergy kWh\tmeasured kWh\tcarbon kg\tmean g/kWh\tturnaround\t")
	measured := make(map[string]float64)
	for _, n := range s.Status.Nodes {
		measured[n.Name] = n.KWh
	}
	for _, k := range s.Status.ByNode {
		intensity := "?"
		if k.Intensity != nil {
			intensity = fmt.Sprintf("%.0f", *k.Intensity)
		}
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%s\t%v\t\n", k.Node, k.Jobs, k.KWh, measured[k.Node], k.Grams/1000, intensity, time.Duration(k.Turnaround*float64(time.Second)).Round(time.Minute))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if s.WholeGrams > 0 {
		if _, err := fmt.Fprintf(out, "%d suspensions; a perfect forecast without any: %.2f kg\n", s.Suspensions, s.WholeGrams/1000); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(out, "%d of %d jobs done, %d after their deadline, held %v in the mean\ncarbon %.2f kg; everything at once %.2f kg; perfect forecast %.2f kg: %.0f %% of the possible saving reached\n",
		s.Done, s.Jobs, s.Late, time.Duration(s.MeanHeldSecs*float64(time.Second)).Round(time.Minute), s.Grams/1000, s.AtOnceGrams/1000, s.OracleGrams/1000, 100*s.OracleShare)
	return err
}
