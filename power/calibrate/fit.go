package calibrate

import (
	"cmp"
	"context"
	"fmt"
	"iter"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

// Options tune [Fit]. The zero value works.
type Options struct {
	// Blocks is into how many stretches of time the samples are cut for cross-validation; 0 means 5.
	Blocks int

	// Keep is how many samples are kept; of more, every second is dropped, and again. 0 means 20,000.
	Keep int

	// Falling lets a model be chosen that draws less when an activity rises. Without it such a model is
	// fitted and shown, but not chosen: it has mistaken what happened together for a cause, and fails
	// when the mix of work changes.
	Falling bool

	// Steps lets trees be chosen. Without it they are fitted and shown, but not chosen: they rise in steps,
	// so that most small work seems to cost nothing, and stay level beyond the samples.
	Steps bool
}

// A Candidate is one form, fitted to all samples, and how well it did on samples that it had not seen.
type Candidate struct {
	Form       string
	MAPE       float64 // mean absolute error over the blocks, as a share of the watts
	RMSE       power.Watts
	Coverage90 float64 // share of held-out samples within 90 % intervals made from the other blocks
	Predictor  power.Predictor
	Why        string // why it was not chosen, or was
	Err        error  // why it could not be fitted

	bands []power.Band
}

// A Report is what [Fit] found.
type Report struct {
	Samples  int // given
	Used     int // kept
	From, To time.Time
	Inputs   []power.Input
	Forms    []Candidate
	Chosen   int
	Notes    []string // inputs that could not be told
	blocks   int
	domain   power.Domain
}

// A form is one way to fit a table. Simpler forms come first and win ties.
type form struct {
	name string
	free bool // may fall as an activity rises
	step bool // rises in steps
	fit  func(t *table, rows []int) (power.Predictor, error)
}

func forms(t *table) []form {
	var out []form
	if t.column(power.InputUtilization) != nil {
		for _, c := range []struct {
			name string
			fit  curveFit
		}{{"linear", fitLinear}, {"fan", fitFan}, {"exponential", fitExponential}, {"cubic", fitCubic}, {"piecewise", fitPiecewise}} {
			out = append(out, form{name: c.name, fit: func(t *table, rows []int) (power.Predictor, error) { return fitCurve(t, rows, c.fit) }})
		}
	} else {
		out = append(out, form{name: "line over " + string(t.inputs[0]), fit: func(t *table, rows []int) (power.Predictor, error) {
			return fitPolynomial(&table{inputs: t.inputs[:1], x: t.x[:1], y: t.y}, rows, powersLinear, true)
		}})
	}
	if counters(t.inputs) {
		for _, p := range []struct {
			name      string
			exponents []float64
			rising    bool
		}{
			{"rising linear", powersLinear, true}, {"rising with roots", powersRoots, true}, {"rising with roots, squares", powersSquare, true},
			{"rising with roots, squares, cubes", powersCube, true}, {"ridge with roots", powersRoots, false}, {"ridge with roots, squares", powersSquare, false},
		} {
			out = append(out, form{name: p.name, free: !p.rising, fit: func(t *table, rows []int) (power.Predictor, error) {
				return fitPolynomial(t, rows, p.exponents, p.rising)
			}})
		}
	}
	return append(out, form{name: "network", free: true, fit: fitNetwork}, form{name: "trees", step: true, fit: fitTrees})
}

// counters tells whether there are inputs beyond those that a curve takes.
func counters(inputs []power.Input) bool {
	return slices.ContainsFunc(inputs, func(in power.Input) bool {
		return in != power.InputUtilization && in != power.InputInletTemp && in != power.InputPressureDelta
	})
}

// Fit fits every form that the inputs allow, and chooses the one with the least error on blocks of time that it
// was not fitted on. Samples come in the order of time; those that end in an error end the fit with it.
// Samples that cannot tell a model are an error that wraps [ErrUnidentifiable] and says why. The inputs
// need not be utilization: any names of [power.State] will do, the first being the main one.
func Fit(samples iter.Seq2[Sample, error], inputs []power.Input, o Options) (*Report, error) {
	o.Blocks, o.Keep = cmp.Or(o.Blocks, 5), cmp.Or(o.Keep, 20_000)
	if len(inputs) == 0 || len(inputs) > 32 || o.Blocks < 2 || o.Keep < minSamples {
		return nil, fmt.Errorf("calibrate: %d inputs, %d blocks, keep %d: want 1 to 32 inputs, at least 2 blocks, keep at least %d", len(inputs), o.Blocks, o.Keep, minSamples)
	}
	for i, in := range inputs {
		if slices.Contains(inputs[:i], in) {
			return nil, fmt.Errorf("calibrate: input %q is given twice", in)
		}
	}
	t, err := collect(samples, inputs, o.Keep)
	if err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	if err := t.check(); err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	all := rowsBetween(0, len(t.y))
	r := &Report{Samples: t.seen, Used: len(t.y), From: t.from, To: t.to, Inputs: slices.Clone(inputs), Notes: t.notes(), Chosen: -1, blocks: o.Blocks, domain: t.domain(all)}
	for _, f := range forms(t) {
		r.Forms = append(r.Forms, validate(t, f, all, o))
	}
	if err := r.choose(); err != nil {
		return nil, fmt.Errorf("calibrate: %w", err)
	}
	return r, nil
}

func rowsBetween(a, b int) []int {
	rows := make([]int, 0, max(b-a, 0))
	for i := a; i < b; i++ {
		rows = append(rows, i)
	}
	return rows
}

// validate cross-validates one form over blocks of time and fits it to all samples.
func validate(t *table, f form, all []int, o Options) Candidate {
	c := Candidate{Form: f.name}
	residual := make([][]float64, o.Blocks) // of each block, as a share of the prediction
	squares, mape := 0.0, 0.0
	for b := range o.Blocks {
		lo, hi := len(all)*b/o.Blocks, len(all)*(b+1)/o.Blocks
		train := append(rowsBetween(0, lo), rowsBetween(hi, len(all))...)
		p, err := bounded(t, f, train)
		if err != nil {
			c.Err = err
			return c
		}
		guess, err := ask(p, t, all[lo:hi])
		if err != nil {
			c.Err = err
			return c
		}
		for i, g := range guess {
			y := t.y[lo+i]
			mape += math.Abs(g-y) / y / float64(len(all))
			squares += (g - y) * (g - y) / float64(len(all))
			residual[b] = append(residual[b], (y-g)/max(g, 1e-9))
		}
	}
	c.MAPE, c.RMSE = mape, power.Watts(math.Sqrt(squares))
	c.Coverage90 = crossCoverage(residual)
	for _, level := range []float64{0.5, 0.8, 0.9, 0.95} {
		q := conformal(slices.Concat(residual...), level)
		c.bands = append(c.bands, power.Band{Level: level, BelowShare: q, AboveShare: q})
	}
	c.Predictor, c.Err = bounded(t, f, all)
	if c.Err == nil && f.free && !o.Falling {
		if in, share := fallsMost(t, c.Predictor, all); share > 0.05 {
			c.Why = fmt.Sprintf("not eligible: at %.0f %% of the samples it draws less when %s rises", 100*share, in)
		}
	}
	if c.Err == nil && f.step && !o.Steps {
		c.Why = "not eligible: it rises in steps, so that small work seems to cost nothing"
	}
	return c
}

// bounded fits a form and keeps it to the inputs that it has seen.
func bounded(t *table, f form, rows []int) (power.Predictor, error) {
	p, err := f.fit(t, rows)
	if err != nil {
		return nil, err
	}
	d := t.domain(rows)
	used, _ := power.Inputs(p)
	for in := range d {
		if !slices.Contains(used, in) {
			delete(d, in)
		}
	}
	return power.NewBounded(p, d, power.Clamp)
}

// conformal returns the share of the prediction within which a new sample lies with a probability, from absolute
// residuals of samples held out (Vovk, Gammerman and Shafer, Algorithmic Learning in a Random World, 2005;
// cross-conformal).
func conformal(residual []float64, level float64) float64 {
	a := make([]float64, len(residual))
	for i, r := range residual {
		a[i] = math.Abs(r)
	}
	slices.Sort(a)
	k := int(math.Ceil(level * float64(len(a)+1)))
	return a[min(k, len(a))-1]
}

// crossCoverage measures the 90 % intervals of each block that the residuals of the others make.
func crossCoverage(residual [][]float64) float64 {
	in, n := 0, 0
	for b := range residual {
		others := slices.Concat(slices.Concat(residual[:b]...), slices.Concat(residual[b+1:]...))
		q := conformal(others, 0.9)
		for _, r := range residual[b] {
			if n++; math.Abs(r) <= q {
				in++
			}
		}
	}
	return float64(in) / float64(max(n, 1))
}

// fallsMost returns the activity with which p falls most often, and at what share of the rows.
func fallsMost(t *table, p power.Predictor, rows []int) (worst power.Input, share float64) {
	d := t.domain(rows)
	for _, in := range t.inputs {
		if in == power.InputPressureDelta {
			continue
		}
		step := 0.05 * (d[in].High - d[in].Low)
		n := 0
		for _, r := range rows {
			before, err1 := p.Predict(context.Background(), t.states[r])
			after, err2 := p.Predict(context.Background(), raise(t.states[r], in, step))
			if err1 == nil && err2 == nil && after < before*0.998 {
				n++
			}
		}
		if s := float64(n) / float64(len(rows)); s > share {
			worst, share = in, s
		}
	}
	return worst, share
}

// raise returns a state with one input raised.
func raise(s power.State, in power.Input, by float64) power.State {
	switch in {
	case power.InputUtilization:
		s.Utilization += by
	case power.InputInletTemp:
		s.InletTemp = new(*s.InletTemp + power.Celsius(by))
	default:
		m := make(map[string]float64, len(s.Inputs))
		maps.Copy(m, s.Inputs)
		m[string(in)] += by
		s.Inputs = m
	}
	return s
}

// choose takes the eligible form with the least error; of those within 2 % of it, the first, which is the simplest.
func (r *Report) choose() error {
	least := math.Inf(1)
	for i := range r.Forms {
		if c := &r.Forms[i]; c.Err == nil && c.Why == "" {
			least = min(least, c.MAPE)
		}
	}
	for i := range r.Forms {
		c := &r.Forms[i]
		switch {
		case c.Err != nil:
			c.Why = "could not be fitted: " + c.Err.Error()
		case c.Why != "":
		case r.Chosen < 0 && c.MAPE <= least*1.02:
			r.Chosen = i
			c.Why = fmt.Sprintf("least error on held-out blocks, %.2f %%", 100*c.MAPE)
			if c.MAPE > least {
				c.Why = fmt.Sprintf("within 2 %% of the least error, %.2f %%, and simpler", 100*least)
			}
		default:
			c.Why = fmt.Sprintf("%.2f %% where %.2f %% is reached", 100*c.MAPE, 100*least)
		}
	}
	if r.Chosen < 0 {
		return fmt.Errorf("no form could be fitted: %s", r.Forms[0].Why)
	}
	return nil
}

// Best returns the chosen form.
func (r *Report) Best() *Candidate { return &r.Forms[r.Chosen] }

// Model returns the chosen form with its domain, its intervals and its error, ready for a file. Units are those of
// the inputs that package power does not know.
func (r *Report) Model(name, source string, units map[power.Input]string) *model.Model {
	c := r.Best()
	form := c.Predictor
	domain := r.domain
	if b, ok := form.(*power.Bounded); ok {
		form, domain = b.Base(), b.Domain()
	}
	given := make(map[power.Input]string)
	used, _ := power.Inputs(form)
	for _, in := range used {
		if in != power.InputUtilization && in != power.InputInletTemp && in != power.InputPressureDelta {
			given[in] = cmp.Or(units[in], "1")
		}
	}
	return &model.Model{Name: name, Form: form, Units: given, Domain: domain, Outside: power.Clamp, Intervals: c.bands,
		Fitted: &model.Fitted{Source: source, Samples: r.Samples, From: r.From, To: r.To},
		Error:  &model.Error{Method: fmt.Sprintf("%d time blocks", r.blocks), MAPE: 100 * c.MAPE, RMSE: c.RMSE, Samples: r.Used}}
}
