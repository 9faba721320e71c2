package main

import (
	"cmp"
	"context"
	"fmt"
	"image/color"
	"slices"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
)

// most is how many samples a picture shows, evenly spread.
const most = 4000

var (
	dots = color.NRGBA{R: 70, G: 110, B: 170, A: 90}
	line = color.NRGBA{R: 190, G: 60, B: 30, A: 255}
	band = color.NRGBA{R: 230, G: 150, B: 110, A: 80}
)

// compose puts samples, fit and interval into a plot.
func compose(p *plot.Plot, samples plotter.XYs, fit plotter.XYs, low, high plotter.XYs) error {
	area := slices.Clone(low)
	for _, v := range slices.Backward(high) {
		area = append(area, v)
	}
	shape, err := plotter.NewPolygon(area)
	if err != nil {
		return err
	}
	shape.Color, shape.LineStyle.Width = band, 0
	points, err := plotter.NewScatter(samples)
	if err != nil {
		return err
	}
	points.GlyphStyle = draw.GlyphStyle{Color: dots, Radius: vg.Points(1.5), Shape: draw.CircleGlyph{}}
	curve, err := plotter.NewLine(fit)
	if err != nil {
		return err
	}
	curve.LineStyle = draw.LineStyle{Color: line, Width: vg.Points(2)}
	p.Add(plotter.NewGrid(), shape, points, curve)
	p.Legend.Add("samples", points)
	p.Legend.Add("fit", curve)
	p.Legend.Add("90 % interval", shape)
	p.Legend.Top, p.Legend.Left = true, true
	return nil
}

// picture shows the samples, the fit and its 90 % interval: over the utilization, everything else at its median; or,
// where the model looks at other inputs, the watts measured over those predicted.
func picture(ctx context.Context, name string, m power.Predictor, inputs []power.Input, src source) error {
	samples, err := gather(src)
	if err != nil {
		return err
	}
	p := plot.New()
	p.Title.Text = src.name
	p.Title.TextStyle.Font.Size = vg.Points(9)
	p.Y.Label.Text = "watts"
	var dots, fit, low, high plotter.XYs
	add := func(x float64, s power.State) error {
		w, err := m.Predict(ctx, s)
		if err != nil {
			return err
		}
		in, err := power.PredictInterval(ctx, m, s, 0.9)
		if err != nil {
			return err
		}
		if x < 0 {
			x = float64(w)
		}
		fit = append(fit, plotter.XY{X: x, Y: float64(w)})
		low = append(low, plotter.XY{X: x, Y: float64(in.Low)})
		high = append(high, plotter.XY{X: x, Y: float64(in.High)})
		return nil
	}
	if overUtilization(inputs) {
		p.X.Label.Text = "utilization"
		middle := median(samples)
		for _, s := range samples {
			dots = append(dots, plotter.XY{X: s.State.Utilization, Y: float64(s.Watts)})
		}
		for i := range 101 {
			u := float64(i) / 100
			if err := add(u, middle.With(u)); err != nil {
				return err
			}
		}
	} else {
		p.X.Label.Text = "watts predicted"
		for _, s := range samples {
			w, err := m.Predict(ctx, s.State)
			if err != nil {
				return err
			}
			dots = append(dots, plotter.XY{X: float64(w), Y: float64(s.Watts)})
			if err := add(-1, s.State); err != nil {
				return err
			}
		}
		for _, l := range []plotter.XYs{fit, low, high} {
			slices.SortFunc(l, func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		}
	}
	if err := compose(p, dots, fit, low, high); err != nil {
		return err
	}
	if err := p.Save(8*vg.Inch, 5*vg.Inch, name); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

// overUtilization tells whether the picture can be drawn over the utilization.
func overUtilization(inputs []power.Input) bool {
	for _, in := range inputs {
		if in != power.InputUtilization && in != power.InputInletTemp && in != power.InputPressureDelta {
			return false
		}
	}
	return slices.Contains(inputs, power.InputUtilization)
}

// gather returns evenly spread samples.
func gather(src source) ([]calibrate.Sample, error) {
	var out []calibrate.Sample
	stride, i := 1, 0
	for s, err := range src.samples() {
		if err != nil {
			return nil, err
		}
		if i%stride == 0 {
			if out = append(out, s); len(out) == 2*most {
				for k := range most {
					out[k] = out[2*k]
				}
				out, stride = out[:most], 2*stride
			}
		}
		i++
	}
	return out, nil
}

// median returns a state with the median inlet temperature and pressure.
func median(samples []calibrate.Sample) power.State {
	var s power.State
	var t []power.Celsius
	var dp []power.Pascals
	for _, v := range samples {
		if v.State.InletTemp != nil {
			t = append(t, *v.State.InletTemp)
		}
		if v.State.PressureDelta != nil {
			dp = append(dp, *v.State.PressureDelta)
		}
	}
	if slices.Sort(t); len(t) > 0 {
		s.InletTemp = &t[len(t)/2]
	}
	if slices.Sort(dp); len(dp) > 0 {
		s.PressureDelta = &dp[len(dp)/2]
	}
	return s
}
