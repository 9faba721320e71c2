package main

import (
	"context"
	"fmt"
	"io"
	"math"
	"slices"
	"text/tabwriter"
	"time"

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

// compare works out what would have been emitted without holding anything back, and by an oracle.
func (s *summary) compare(done []*Job, o *options, truth *grid.Series) error {
	f, err := newFleet(context.Background(), o.machines, o.places)
	if err != nil {
		return err
	}
	const slot = planSlot
	const slots = 7 * 24 * 4
	p := spacetime.Problem{Sites: f.capacity(demoStart, slot, slots, nil)}
	real := make([][]float64, len(p.Sites))
	for k := range p.Sites {
		ps, err := truth.Forecast(context.Background(), f.sites[k].Zone, demoStart, demoStart.Add(slots*slot))
		if err != nil {
			return err
		}
		o := &Outlook{Points: [][]grid.Point{ps}}
		real[k] = make([]float64, slots)
		for t := range slots {
			from := demoStart.Add(time.Duration(t) * slot)
			real[k][t] = o.mean(0, from, from.Add(slot)) * f.sites[k].factor()
		}
	}
	for _, j := range done {
		length, last := arrivals.Length(j.Duration, slot)
		x := spacetime.Job{Name: j.ID, Size: j.CPU, Length: length, Last: last, Earliest: int(j.Submitted.Sub(demoStart) / slot), Latest: int(j.due(1.2, 0).Add(-times(j.Duration, 1.2)).Sub(demoStart) / slot), Suspend: j.Suspendable, Energy: make([]float64, len(p.Sites))}
		for k := range p.Sites {
			x.Energy[k] = f.leastWatts(k, j) / 1000 * j.Duration.Hours() / x.Slots()
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
			q.Sites[k].Cost = real[k]
			if atOnce { // knows nothing of the grid
				q.Sites[k].Cost = slices.Repeat([]float64{f.sites[k].factor()}, slots)
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
		sum := 0.0
		for i, x := range plan.Placements {
			x.Each(&q.Jobs[i], func(t int, share float64) { sum += share * q.Jobs[i].Energy[x.Site] * real[x.Site][t] })
		}
		return sum, nil
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
