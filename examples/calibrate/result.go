package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"text/tabwriter"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
)

// A result is what -json prints. MAPE is in percent, RMSE in watts, coverage a share. A form that could not be
// fitted has the reason as its error instead of figures.
type result struct {
	Samples int         `json:"samples"`
	Forms   []formScore `json:"forms"`
	Chosen  string      `json:"chosen"`
	Test    *testScore  `json:"test,omitempty"`
}

type formScore struct {
	Form     string   `json:"form"`
	MAPE     *float64 `json:"mape,omitempty"`
	RMSE     *float64 `json:"rmse,omitempty"`
	Coverage *float64 `json:"coverage90,omitempty"`
	Error    string   `json:"error,omitempty"`
}

type testScore struct {
	MAPE float64 `json:"mape"`
	From string  `json:"from"` // a time, or "sample N" where samples have none
	To   string  `json:"to"`

	coverage float64
	samples  int
}

// judge measures a model on the samples from a to b.
func judge(ctx context.Context, p power.Predictor, src source, a, b int) (*testScore, error) {
	s := &testScore{samples: b - a}
	n := float64(b - a)
	i := a
	for v, err := range slice(src, a, b) {
		if err != nil {
			return nil, err
		}
		w, err := p.Predict(ctx, v.State)
		if err != nil {
			return nil, fmt.Errorf("test sample %d: %w", i+1, err)
		}
		s.MAPE += 100 * math.Abs(float64(w/v.Watts)-1) / n
		if in, err := power.PredictInterval(ctx, p, v.State, 0.9); err == nil && in.Low <= v.Watts && v.Watts <= in.High {
			s.coverage += 1 / n
		}
		if i == a {
			s.From = moment(v.At, i)
		}
		s.To = moment(v.At, i)
		i++
	}
	return s, nil
}

func moment(at time.Time, i int) string {
	if at.IsZero() {
		return fmt.Sprintf("sample %d", i+1)
	}
	return at.UTC().Format(time.RFC3339)
}

func (r *result) writeJSON(out io.Writer, report *calibrate.Report) error {
	r.Forms = []formScore{}
	for _, c := range report.Forms {
		f := formScore{Form: c.Form}
		if c.Err != nil {
			f.Error = c.Err.Error()
		} else {
			f.MAPE, f.RMSE, f.Coverage = new(100*c.MAPE), new(float64(c.RMSE)), new(c.Coverage90)
		}
		r.Forms = append(r.Forms, f)
	}
	return json.NewEncoder(out).Encode(r)
}

func (r *result) write(out io.Writer, report *calibrate.Report, name string, o options) error {
	fmt.Fprintf(out, "%d samples from %s", r.Samples, name)
	if report.Used < report.Samples {
		fmt.Fprintf(out, " (fitted to %d of them, evenly spread)", report.Used)
	}
	fmt.Fprintln(out)
	for _, n := range report.Notes {
		fmt.Fprintln(out, "note:", n)
	}
	fmt.Fprintln(out)
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "form\tMAPE %\tRMSE W\t90 % interval holds\t")
	for i, c := range report.Forms {
		if c.Err != nil {
			fmt.Fprintf(t, "%s\t-\t-\t-\t%s\n", c.Form, c.Why)
			continue
		}
		why := ""
		if i == report.Chosen {
			why = "chosen: "
		}
		fmt.Fprintf(t, "%s\t%.2f\t%.2f\t%.1f %%\t%s\n", c.Form, 100*c.MAPE, float64(c.RMSE), 100*c.Coverage90, why+c.Why)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nErrors are of blocks of time that the form was not fitted on.")
	if s := r.Test; s != nil {
		fmt.Fprintf(out, "Test on the last %d samples, %s to %s: MAPE %.2f %%, 90 %% intervals hold %.1f %%.\n", s.samples, s.From, s.To, s.MAPE, 100*s.coverage)
	}
	for _, f := range []struct{ what, name string }{{"Model", o.out}, {"Picture", o.plot}} {
		if f.name != "" {
			fmt.Fprintf(out, "%s: %s\n", f.what, f.name)
		}
	}
	return nil
}
