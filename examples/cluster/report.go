package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"

	"github.com/leastwatt/leastwatt/power"
)

// A report is what came out. Its JSON form is the output of -json.
type report struct {
	Nodes      int       `json:"nodes"`
	Pods       int       `json:"pods"`
	Load       float64   `json:"load"`
	BoundWatts float64   `json:"boundWatts"` // for all pods
	Profiles   []profile `json:"profiles"`

	fleet []server
}

// A profile is how one scheduler placed the pods.
type profile struct {
	Name                 string  `json:"name"`
	Watts                float64 `json:"watts"`     // that all servers truly draw
	OverBound            float64 `json:"overBound"` // watts over the bound for the pods it placed; at least 1
	Placed               int     `json:"placed"`    // pods that run
	ScheduleMillisPerPod float64 `json:"scheduleMillisPerPod"`

	accounts []account // in the fleet's order
}

func (p *profile) cores() float64 {
	sum := 0.0
	for _, a := range p.accounts {
		sum += a.Cores
	}
	return sum
}

// settle computes what follows from the accounts.
func (p *profile) settle(fleet []server) error {
	var watts power.Watts
	for _, a := range p.accounts {
		watts += a.Watts
		p.Placed += a.Pods
	}
	bound, err := lowerBound(fleet, p.cores())
	if err != nil {
		return err
	}
	p.Watts, p.OverBound = round(float64(watts), 1), round(float64(watts/bound), 4)
	return nil
}

// round keeps so many digits after the point.
func round(x float64, digits int) float64 {
	f := math.Pow10(digits)
	return math.Round(x*f) / f
}

func (r *report) writeJSON(w io.Writer) error {
	return json.NewEncoder(w).Encode(r)
}

// writeTable prints the report for people.
func (r *report) writeTable(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(w, "\t\t\t")
	for _, p := range r.Profiles {
		fmt.Fprintf(w, "%s\t\t\t", p.Name)
	}
	fmt.Fprint(w, "\nnode\tserver\tcores\t", strings.Repeat("pods\tCPU\twatts\t", len(r.Profiles)), "\n")
	for i := range r.fleet {
		s := &r.fleet[i]
		fmt.Fprintf(w, "%s\t%s\t%.0f\t", s.name, s.hardware.Name(), s.cores())
		for _, p := range r.Profiles {
			a := p.accounts[i]
			fmt.Fprintf(w, "%d\t%.0f %%\t%.1f\t", a.Pods, 100*a.Cores/s.cores(), a.Watts)
		}
		fmt.Fprintln(w)
	}
	fmt.Fprintf(w, "total\t%d servers\t%.0f\t", len(r.fleet), capacity(r.fleet))
	for _, p := range r.Profiles {
		fmt.Fprintf(w, "%d\t%.0f %%\t%.1f\t", p.Placed, 100*p.cores()/capacity(r.fleet), p.Watts)
	}
	fmt.Fprintln(w)
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintf(out, "\nLower bound for these pods, cut as small as you like: %.1f W\n", r.BoundWatts)
	for _, p := range r.Profiles {
		fmt.Fprintf(out, "%-18s %8.1f W, %.1f %% over the bound; %.2f ms of scheduling a pod\n",
			p.Name, p.Watts, 100*(p.OverBound-1), p.ScheduleMillisPerPod)
		if p.Placed < r.Pods {
			fmt.Fprintf(out, "%-18s placed only %d of %d pods: its watts are compared with the bound for those\n", "", p.Placed, r.Pods)
		}
	}
	if a, b := r.Profiles[0], r.Profiles[len(r.Profiles)-1]; a.Placed == b.Placed {
		fmt.Fprintf(out, "Saving: %.1f W, %.1f %%, of the %.1f W that lie between %s and the bound\n",
			a.Watts-b.Watts, 100*(a.Watts-b.Watts)/a.Watts, a.Watts-r.BoundWatts, a.Name)
	}
	return nil
}
