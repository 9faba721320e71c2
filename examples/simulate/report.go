package main

import (
	_ "embed" // the report's template
	"fmt"
	"html/template"
	"math"
	"os"
	"strings"

	"github.com/leastwatt/leastwatt/scoring/simulate"
)

//go:embed report.html.tmpl
var reportText string

// page is what the report shows. Plots are drawn here as SVG, so that the page needs no script to be read or printed.
type page struct {
	Title      string
	Facts      string
	Rows       []pageRow
	PowerWidth int
	Lines      []line
	BoundLine  string
	Carbon     []line
	CarbonTick []tick
	Ticks      []tick
	Hours      []tick
	Heat       []heatRow
	Best       string
}

type pageRow struct {
	Name                         string
	Energy, Over, Wait           string
	EnergyBar, BoundBar, WaitBar float64 // percent of the widest
	Carbon, Cost, Share          string  // with sites
	Unplaced                     int
	Best                         bool
}

type line struct {
	Name, Points, Color string
	Shown               bool
	Dots                bool // another strategy has this colour too
}

type tick struct {
	At    float64
	Label string
}

type heatRow struct {
	Name  string
	Cells []heatCell
}

// A heatCell's colour is computed here and holds no foreign text.
type heatCell struct {
	Fill  template.CSS
	Title string
}

// The plot of power over time is this large, in its own units.
const (
	plotW, plotH = 900.0, 300.0
)

// Colours that can be told apart with any kind of colour vision (Okabe and Ito), repeated with dots where there are more strategies.
var colors = []string{"#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#8C6D00"}

func writeReport(name string, o *options, done []outcome) (err error) {
	t, err := template.New("report").Parse(reportText)
	if err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	return t.Execute(f, newPage(o, done))
}

func newPage(o *options, done []outcome) *page {
	p := &page{Title: "Strategies compared"}
	mode := "Servers are always on."
	if o.off {
		mode = "Servers without jobs are switched off."
	}
	if len(done) > 0 {
		r := done[0].result
		p.Facts = fmt.Sprintf("%d servers, %d jobs, load %.2g, seed %d. %s", len(r.Nodes), r.Arrived, o.load, o.seed, mode)
	}
	var most, slowest float64
	best := -1
	for i, d := range done {
		most = max(most, float64(d.result.Energy))
		slowest = max(slowest, d.result.MeanWait.Seconds())
		if best < 0 || d.result.Energy < done[best].result.Energy {
			best = i
		}
	}
	for i, d := range done {
		r := d.result
		row := pageRow{Name: r.Strategy, Energy: fmt.Sprintf("%.2f", r.Energy.KilowattHours()), Over: fmt.Sprintf("%.4f", r.OverBound()),
			Wait: brief(r.MeanWait), Unplaced: r.Unplaced, Best: i == best}
		if o.world != nil {
			row.Carbon, row.Cost = fmt.Sprintf("%.2f", o.kilograms(r)), fmt.Sprintf("%.2f", o.money(r))
			row.Share = fmt.Sprintf("%.0f %%", 100*d.share)
		}
		if most > 0 {
			row.EnergyBar, row.BoundBar = 100*float64(r.Energy)/most, 100*float64(r.Bound)/most
		}
		if slowest > 0 {
			row.WaitBar = 100 * r.MeanWait.Seconds() / slowest
		}
		p.Rows = append(p.Rows, row)
	}
	if best >= 0 {
		p.Best = done[best].result.Strategy
	}
	p.plot(done, best)
	if o.world != nil {
		p.carbon(done)
		p.Facts += fmt.Sprintf(" %d sites from %s on; the objective is %s.", len(o.world.sites), o.world.start.Format("2006-01-02"), o.objective)
	}
	p.heat(done)
	return p
}

// plot draws power over time for each strategy, and the bound of the best.
func (p *page) plot(done []outcome, best int) {
	var top, end float64
	for _, d := range done {
		for _, s := range d.result.Series {
			top, end = max(top, float64(s.Watts)), max(end, s.At.Hours())
		}
	}
	if top == 0 || end == 0 {
		return
	}
	step := math.Pow(10, math.Floor(math.Log10(top)))
	if top/step < 2.5 {
		step /= 2
	}
	top = step * math.Ceil(top/step)
	for w := 0.0; w <= top; w += step {
		p.Ticks = append(p.Ticks, tick{plotH * (1 - w/top), fmt.Sprintf("%.3g kW", w/1000)})
	}
	for k := range 7 {
		h := end * float64(k) / 6
		p.Hours = append(p.Hours, tick{plotW * float64(k) / 6, fmt.Sprintf("%.3g h", h)})
	}
	points := func(series []simulate.Sample, watts func(simulate.Sample) float64) string {
		var b strings.Builder
		for _, s := range series {
			fmt.Fprintf(&b, "%.1f,%.1f ", plotW*s.At.Hours()/end, plotH*(1-watts(s)/top))
		}
		return b.String()
	}
	for i, d := range done {
		n := d.result.Strategy
		p.Lines = append(p.Lines, line{Name: n, Color: colors[i%len(colors)], Dots: i < len(done)-len(colors), Shown: i == best || n == "kubernetes" || n == "leastwatt" || len(done) < 5,
			Points: points(d.result.Series, func(s simulate.Sample) float64 { return float64(s.Watts) })})
	}
	p.BoundLine = points(done[best].result.Series, func(s simulate.Sample) float64 { return float64(s.Bound) })
}

// carbon draws grams an hour over time, on the time axis of the power plot.
func (p *page) carbon(done []outcome) {
	var top, end float64
	for _, d := range done {
		for _, s := range d.result.Series {
			top, end = max(top, s.Grams), max(end, s.At.Hours())
		}
	}
	if !(top > 0) || end == 0 {
		return
	}
	for k := range 5 {
		p.CarbonTick = append(p.CarbonTick, tick{plotH * float64(k) / 4, fmt.Sprintf("%.3g kg/h", top/1000*(1-float64(k)/4))})
	}
	for i, d := range done {
		var b strings.Builder
		for _, s := range d.result.Series {
			fmt.Fprintf(&b, "%.1f,%.1f ", plotW*s.At.Hours()/end, plotH*(1-s.Grams/top))
		}
		n := d.result.Strategy
		p.Carbon = append(p.Carbon, line{Name: n, Color: colors[i%len(colors)], Dots: i < len(done)-len(colors), Shown: n == atOnce || n == overTime || n == "threshold" || len(done) < 5, Points: b.String()})
	}
}

// heat colours each node by its mean utilization.
func (p *page) heat(done []outcome) {
	for _, d := range done {
		row := heatRow{Name: d.result.Strategy}
		for _, n := range d.result.Nodes {
			u := min(max(n.Use, 0), 1)
			// From pale yellow to dark red: lightness carries the value, so it also prints.
			row.Cells = append(row.Cells, heatCell{template.CSS(fmt.Sprintf("hsl(%.0f 75%% %.0f%%)", 50-45*u, 95-60*u)),
				fmt.Sprintf("%s: %.0f %% busy, on %.0f %% of the time, %.2f kWh", n.Name, 100*n.Use, 100*n.On, n.Energy.KilowattHours())})
		}
		p.Heat = append(p.Heat, row)
	}
}
