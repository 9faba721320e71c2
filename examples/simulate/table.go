package main

import (
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/leastwatt/leastwatt/scoring/simulate"
)

func writeTable(out io.Writer, o *options, done []outcome) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "strategy\tenergy kWh\tover bound\tkgCO2eq\tcost\tmean wait\tp95 wait\tturnaround\tmakespan\tunplaced\twaiting\tswitch-ons\tmoves\tms/job\t")
	for _, d := range done {
		r := d.result
		k := r.Energy.KilowattHours()
		fmt.Fprintf(w, "%s\t%.2f\t%.4f\t%.2f\t%.2f\t%s\t%s\t%s\t%s\t%d\t%d\t%d\t%d\t%.4f\t\n", r.Strategy, k, r.OverBound(), o.kilograms(r), o.money(r),
			brief(r.MeanWait), brief(r.P95Wait), brief(r.MeanTurnaround), brief(r.Makespan), r.Unplaced, r.Waiting, r.SwitchOns, r.Moves, solveMillis(r))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if o.world != nil {
		if err := o.writeShares(out, done); err != nil {
			return err
		}
	} else if slices.ContainsFunc(done, func(d outcome) bool { return d.result.Missed > 0 }) {
		fmt.Fprint(out, "\nDeadlines missed:")
		for _, d := range done {
			fmt.Fprintf(out, " %s %d", d.result.Strategy, d.result.Missed)
		}
		fmt.Fprintln(out)
	}
	if len(done) == 0 {
		return nil
	}
	r := done[0].result
	// Where jobs wait, strategies do not run the same work in the time that is measured, and each has a bound of its own.
	least, most := r.Bound, r.Bound
	for _, d := range done {
		least, most = min(least, d.result.Bound), max(most, d.result.Bound)
	}
	bound := fmt.Sprintf("%.2f", least.KilowattHours())
	if s := fmt.Sprintf("%.2f", most.KilowattHours()); s != bound {
		bound += " to " + s
	}
	_, err := fmt.Fprintf(out, "\n%d servers, %d jobs, bound %s kWh: no placement of the same work draws less, even with jobs cut and moved freely.\n"+
		"This is one draw of servers and jobs: -sweep -seeds 6 tells strategies apart by means and their 95 %% intervals.\n",
		len(r.Nodes), r.Arrived, bound)
	return err
}

func brief(d time.Duration) string {
	switch {
	case d >= time.Hour:
		return strconv.FormatFloat(d.Hours(), 'f', 1, 64) + "h"
	case d >= time.Minute:
		return strconv.FormatFloat(d.Minutes(), 'f', 1, 64) + "m"
	}
	return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + "s"
}

// student has the two-sided 95 % quantiles of Student's t for 1, 2 … degrees of freedom (any table of statistics).
var student = [...]float64{12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131,
	2.120, 2.110, 2.101, 2.093, 2.086, 2.080, 2.074, 2.069, 2.064, 2.060, 2.056, 2.052, 2.048, 2.045, 2.042}

// mean95 returns the mean over runs and half the width of its 95 % interval, 0 for one run.
func mean95(runs []outcome, f func(*simulate.Result) float64) (mean, half float64) {
	n := float64(len(runs))
	for _, r := range runs {
		mean += f(r.result) / n
	}
	if len(runs) < 2 {
		return mean, 0
	}
	var sum float64
	for _, r := range runs {
		d := f(r.result) - mean
		sum += d * d
	}
	t := 1.96
	if k := len(runs) - 2; k < len(student) {
		t = student[k]
	}
	return mean, t * math.Sqrt(sum/(n-1)/n)
}
