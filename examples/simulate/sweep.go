package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"path/filepath"
	"strconv"
	"strings"
	"text/tabwriter"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// parseLoads reads the loads of -loads.
func parseLoads(text string) ([]float64, error) {
	var loads []float64
	for f := range strings.SplitSeq(text, ",") {
		l, err := strconv.ParseFloat(f, 64)
		if err != nil || !(l > 0 && l < 10) {
			return nil, fmt.Errorf("-loads %s: %q is not a load", text, f)
		}
		loads = append(loads, l)
	}
	return loads, nil
}

// parseWeights reads ON/OFF/IDLE triples of leastwatt's weights; none stands for the default.
func parseWeights(text string) ([]*batch.Weights, error) {
	if text == "" {
		return []*batch.Weights{nil}, nil
	}
	var all []*batch.Weights
	for f := range strings.SplitSeq(text, ",") {
		p := strings.Split(f, "/")
		if len(p) != 3 {
			return nil, fmt.Errorf("-weights %s: %q is not ON/OFF/IDLE, as 0.5/0.7/4", text, f)
		}
		w := new(batch.Weights)
		for i, to := range []*float64{&w.On, &w.Off, &w.Idle} {
			v, err := strconv.ParseFloat(p[i], 64)
			if err != nil {
				return nil, fmt.Errorf("-weights %s: %q is not a number", text, p[i])
			}
			*to = v
		}
		if err := w.Validate(); err != nil {
			return nil, fmt.Errorf("-weights %s: %w", text, err)
		}
		all = append(all, w)
	}
	return all, nil
}

type sweepRow struct {
	Name            string  `json:"name"`
	Weights         string  `json:"weights,omitzero"` // ON/OFF/IDLE, where given
	Load            float64 `json:"load"`
	Seeds           int     `json:"seeds"`
	OverBound       float64 `json:"overBound"`
	OverBound95     float64 `json:"overBoundHalf95"`
	EnergyKWh       float64 `json:"energyKWh"`
	EnergyKWh95     float64 `json:"energyKWhHalf95"`
	MeanWaitSeconds float64 `json:"meanWaitSeconds"`
	MeanWait95      float64 `json:"meanWaitSecondsHalf95"`
}

func weightsText(w *batch.Weights) string {
	if w == nil {
		return ""
	}
	return fmt.Sprintf("%v/%v/%v", w.On, w.Off, w.Idle)
}

func sweepSheet(rows []sweepRow) sheet {
	s := sheet{name: "sweep", header: []string{"scheduler", "weights", "load", "seeds", "over_bound", "over_bound_half95", "energy_kwh", "energy_kwh_half95", "avg_wait_s", "avg_wait_s_half95"}}
	for _, r := range rows {
		s.rows = append(s.rows, []any{r.Name, r.Weights, r.Load, r.Seeds, r.OverBound, r.OverBound95, r.EnergyKWh, r.EnergyKWh95, r.MeanWaitSeconds, r.MeanWait95})
	}
	return s
}

// sweep runs seeds, loads and leastwatt's weights in parallel and reports means with 95 % intervals.
func sweep(ctx context.Context, o *options, names []string, jobs []simulate.Job, out, progress io.Writer) error {
	if o.seeds < 1 {
		return fmt.Errorf("-seeds %d: want 1 or more", o.seeds)
	}
	loads, err := parseLoads(o.loads)
	if err != nil {
		return err
	}
	weights, err := parseWeights(o.weights)
	if err != nil {
		return err
	}
	var tasks []task
	for _, n := range names {
		use := weights
		if n != "leastwatt" {
			use = []*batch.Weights{nil}
		}
		for _, w := range use {
			for _, l := range loads {
				for s := range o.seeds {
					tasks = append(tasks, task{name: n, load: l, seed: o.seed + uint64(s), weights: w})
				}
			}
		}
	}
	keep := *o
	keep.out = "" // a sweep keeps no records
	done, err := runAll(ctx, &keep, jobs, tasks, progress)
	if err != nil {
		return err
	}
	var rows []sweepRow
	for k := 0; k < len(done); k += o.seeds {
		group := done[k : k+o.seeds]
		r := sweepRow{Name: group[0].result.Strategy, Load: group[0].load, Seeds: o.seeds}
		r.Weights = weightsText(tasks[k].weights)
		r.OverBound, r.OverBound95 = mean95(group, (*simulate.Result).OverBound)
		r.EnergyKWh, r.EnergyKWh95 = mean95(group, func(r *simulate.Result) float64 { return r.Energy.KilowattHours() })
		r.MeanWaitSeconds, r.MeanWait95 = mean95(group, func(r *simulate.Result) float64 { return r.MeanWait.Seconds() })
		rows = append(rows, r)
	}
	if o.out != "" {
		if err := writeSheets(ctx, o.out, []sheet{summary(o, done), sweepSheet(rows)}); err != nil {
			return err
		}
		fmt.Fprintln(progress, "wrote", filepath.Join(o.out, "sweep.csv"))
	}
	if o.asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		return e.Encode(map[string]any{"sweep": rows})
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "strategy\tweights\tload\tover bound\t± 95 %\tenergy kWh\t± 95 %\tmean wait\t± 95 %\t")
	for _, r := range rows {
		fmt.Fprintf(w, "%s\t%s\t%.2f\t%.4f\t%.4f\t%.1f\t%.1f\t%.1fs\t%.1fs\t\n", r.Name, r.Weights, r.Load, r.OverBound, r.OverBound95, r.EnergyKWh, r.EnergyKWh95, r.MeanWaitSeconds, r.MeanWait95)
	}
	return w.Flush()
}
