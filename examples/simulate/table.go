package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
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
	}
	if len(done) == 0 {
		return nil
	}
	r := done[0].result
	_, err := fmt.Fprintf(out, "\n%d servers, %d jobs, bound %.2f kWh: no placement of the same work draws less, even with jobs cut and moved freely.\n",
		len(r.Nodes), r.Arrived, r.Bound.KilowattHours())
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

// sweep runs seeds and loads in parallel and reports means with 95 % intervals.
func sweep(ctx context.Context, o *options, names []string, jobs []simulate.Job, out, progress io.Writer) error {
	if o.seeds < 1 {
		return fmt.Errorf("-seeds %d: want 1 or more", o.seeds)
	}
	var loads []float64
	for f := range strings.SplitSeq(o.loads, ",") {
		l, err := strconv.ParseFloat(f, 64)
		if err != nil || !(l > 0 && l < 10) {
			return fmt.Errorf("-loads %s: %q is not a load", o.loads, f)
		}
		loads = append(loads, l)
	}
	var tasks []task
	for _, n := range names {
		for _, l := range loads {
			for s := range o.seeds {
				tasks = append(tasks, task{name: n, load: l, seed: o.seed + uint64(s)})
			}
		}
	}
	keep := *o
	keep.out = "" // a sweep keeps no records
	done, err := runAll(ctx, &keep, jobs, tasks, progress)
	if err != nil {
		return err
	}
	type row struct {
		Name            string  `json:"name"`
		Load            float64 `json:"load"`
		Seeds           int     `json:"seeds"`
		OverBound       float64 `json:"overBound"`
		OverBound95     float64 `json:"overBoundHalf95"`
		EnergyKWh       float64 `json:"energyKWh"`
		EnergyKWh95     float64 `json:"energyKWhHalf95"`
		MeanWaitSeconds float64 `json:"meanWaitSeconds"`
	}
	var rows []row
	for k := 0; k < len(done); k += o.seeds {
		group := done[k : k+o.seeds]
		r := row{Name: group[0].result.Strategy, Load: group[0].load, Seeds: o.seeds}
		r.OverBound, r.OverBound95 = mean95(group, (*simulate.Result).OverBound)
		r.EnergyKWh, r.EnergyKWh95 = mean95(group, func(r *simulate.Result) float64 { return r.Energy.KilowattHours() })
		r.MeanWaitSeconds, _ = mean95(group, func(r *simulate.Result) float64 { return r.MeanWait.Seconds() })
		rows = append(rows, r)
	}
	if o.asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"sweep": rows})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "strategy\tload\tover bound\t± 95 %\tenergy kWh\t± 95 %\tmean wait\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%.2f\t%.4f\t%.4f\t%.1f\t%.1f\t%.1fs\t\n", r.Name, r.Load, r.OverBound, r.OverBound95, r.EnergyKWh, r.EnergyKWh95, r.MeanWaitSeconds)
	}
	return w.Flush()
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
