package calibrate

import (
	"context"
	"fmt"
	"math"

	"github.com/leastwatt/leastwatt/power"
)

// fitCurve fits a curve of the utilization together with what the inlet temperature, the pressure and
// activities between 0 and 1 (GPUs) add, in turns until they agree.
func fitCurve(t *table, rows []int, base curveFit) (power.Predictor, error) {
	u, y := pick(t.column(power.InputUtilization), rows), pick(t.y, rows)
	extras := t.extras(rows)
	turns := 1
	if len(extras) > 0 {
		turns = 4
	}
	work := append([]float64(nil), y...)
	var p power.Predictor
	for turn := range turns {
		var err error
		if p, err = base(u, work); err != nil {
			return nil, err
		}
		alone, err := ask(p, t, rows)
		if err != nil {
			return nil, err
		}
		for _, e := range extras {
			e.refit(y, alone, extras)
		}
		if turn == turns-1 {
			break
		}
		for i := range work {
			work[i] = max(undo(y[i], i, extras), 0.01*y[i])
		}
	}
	for _, e := range extras {
		var err error
		if p, err = e.wrap(p); err != nil {
			return nil, err
		}
	}
	return p, nil
}

func pick(v []float64, rows []int) []float64 {
	out := make([]float64, len(rows))
	for i, r := range rows {
		out[i] = v[r]
	}
	return out
}

// ask returns the predictions of p at some rows.
func ask(p power.Predictor, t *table, rows []int) ([]float64, error) {
	out := make([]float64, len(rows))
	for i, r := range rows {
		w, err := p.Predict(context.Background(), t.states[r])
		if err != nil {
			return nil, err
		}
		out[i] = float64(w)
	}
	return out, nil
}

// An extra is a further input of a curve: a factor for the inlet temperature, a term for others.
type extra struct {
	in          power.Input
	x           []float64 // at the rows, less the reference
	reference   float64
	low, high   float64
	factor      bool
	coefficient float64
}

// extras returns the further inputs that vary enough to tell anything.
func (t *table) extras(rows []int) []*extra {
	var out []*extra
	for i, in := range t.inputs {
		if in == power.InputUtilization {
			continue
		}
		x := pick(t.x[i], rows)
		low, high := bulk(x)
		e := &extra{in: in, x: x, factor: in == power.InputInletTemp, low: math.Inf(1), high: math.Inf(-1)}
		for _, v := range x {
			e.low, e.high = min(e.low, v), max(e.high, v)
		}
		switch {
		case in == power.InputInletTemp && high-low < minDegrees, high == low:
			continue
		case in == power.InputInletTemp || in == power.InputPressureDelta:
			e.reference = quantileOf(x, 0.5)
		case e.low < 0 || e.high > 1:
			continue // not an activity: the polynomials take it
		}
		for k := range x {
			x[k] -= e.reference
		}
		out = append(out, e)
	}
	return out
}

// refit fits the extra to what the curve and the other extras leave.
func (e *extra) refit(y, alone []float64, all []*extra) {
	left := make([]float64, len(y))
	for i := range y {
		others := alone[i]
		for _, o := range all {
			if o != e && o.factor {
				others *= 1 + o.coefficient*o.x[i]
			}
		}
		for _, o := range all {
			if o != e && !o.factor {
				others += o.coefficient * o.x[i]
			}
		}
		if e.factor {
			left[i] = y[i]/others - 1
		} else {
			left[i] = y[i] - others
		}
	}
	e.coefficient = slope(e.x, left)
	if e.in != power.InputPressureDelta {
		e.coefficient = max(e.coefficient, 0)
	}
	if e.factor {
		e.coefficient = min(e.coefficient, 0.05)
	}
}

// undo returns the watts without the extras.
func undo(y float64, i int, extras []*extra) float64 {
	for _, e := range extras {
		if !e.factor {
			y -= e.coefficient * e.x[i]
		}
	}
	for _, e := range extras {
		if e.factor {
			y /= 1 + e.coefficient*e.x[i]
		}
	}
	return y
}

func (e *extra) wrap(p power.Predictor) (power.Predictor, error) {
	switch e.in {
	case power.InputInletTemp:
		r := power.InletResponse{Reference: power.Celsius(e.reference), PerDegree: e.coefficient, Low: power.Celsius(e.low), High: power.Celsius(e.high)}
		return power.NewInlet(p, r)
	case power.InputPressureDelta:
		return power.NewPressure(p, power.Pressure{PerPascal: power.Watts(e.coefficient), Reference: power.Pascals(e.reference),
			Low: power.Pascals(e.low), High: power.Pascals(e.high)})
	}
	return power.NewGPU(p, power.GPU{Input: e.in, Count: 1, Active: power.Watts(e.coefficient)})
}

// notes tells which inputs are given but cannot be told from the samples.
func (t *table) notes() []string {
	var out []string
	for i, in := range t.inputs {
		low, high := bulk(t.x[i])
		switch {
		case in == power.InputInletTemp && high-low < minDegrees:
			out = append(out, fmt.Sprintf("inlet: nine tenths of the temperatures lie within %.1f °C: its effect is left out; measure over at least %.0f °C", high-low, minDegrees))
		case high == low:
			out = append(out, fmt.Sprintf("%s: it does not vary: its effect is left out", in))
		}
	}
	return out
}
