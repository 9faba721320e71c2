package model

import (
	"fmt"

	"github.com/leastwatt/leastwatt/power"
)

// encodeForm returns what encoding/json is to write for a form.
func encodeForm(p power.Predictor, depth int) (any, error) {
	if depth > MaxDepth {
		return nil, fmt.Errorf("more than %d models wrapped in one another", MaxDepth)
	}
	var base any
	if w, ok := p.(interface{ Base() power.Predictor }); ok {
		var err error
		if base, err = encodeForm(w.Base(), depth+1); err != nil {
			return nil, err
		}
	}
	switch p := p.(type) {
	case power.Linear:
		return struct {
			Kind string      `json:"kind"`
			Idle power.Watts `json:"idle"`
			Peak power.Watts `json:"peak"`
		}{"linear", p.Idle, p.Peak}, nil
	case power.Fan:
		r := p.Exponent
		if r == 0 {
			r = power.FanExponent
		}
		return struct {
			Kind     string      `json:"kind"`
			Idle     power.Watts `json:"idle"`
			Peak     power.Watts `json:"peak"`
			Exponent float64     `json:"exponent"`
		}{"fan", p.Idle, p.Peak, r}, nil
	case power.Exponential:
		return struct {
			Kind string  `json:"kind"`
			K0   float64 `json:"k0"`
			K1   float64 `json:"k1"`
			K2   float64 `json:"k2"`
		}{"exponential", p.K0, p.K1, p.K2}, nil
	case *power.Polynomial:
		return encodePolynomial(p), nil
	case *power.Piecewise:
		f := struct {
			Kind        string        `json:"kind"`
			Utilization []float64     `json:"utilization"`
			Watts       []power.Watts `json:"watts"`
		}{Kind: "piecewise"}
		for _, k := range p.Knots() {
			f.Utilization, f.Watts = append(f.Utilization, k.Utilization), append(f.Watts, k.Watts)
		}
		return f, nil
	case *power.MLP:
		return encodeMLP(p), nil
	case *power.Trees:
		return encodeTrees(p), nil
	case *power.Inlet:
		r := p.Response()
		return struct {
			Kind      string        `json:"kind"`
			Base      any           `json:"base"`
			Reference power.Celsius `json:"reference"`
			PerDegree float64       `json:"perDegree"`
			Fan       power.Watts   `json:"fan"`
			FanKnee   power.Celsius `json:"fanKnee"`
			FanGain   float64       `json:"fanGain"`
			FanLimit  float64       `json:"fanLimit"`
			Low       power.Celsius `json:"low"`
			High      power.Celsius `json:"high"`
			Outside   string        `json:"outside,omitzero"`
		}{"inlet", base, r.Reference, r.PerDegree, r.Fan, r.FanKnee, r.FanGain, r.FanLimit, r.Low, r.High, encodeOutside(r.Outside)}, nil
	case *power.Additive:
		return encodeAdditive(p, base)
	case *power.Bounded:
		return struct {
			Kind    string      `json:"kind"`
			Base    any         `json:"base"`
			Domain  []fileRange `json:"domain"`
			Outside string      `json:"outside,omitzero"`
		}{"bounded", base, encodeDomain(p.Domain()), encodeOutside(p.Outside())}, nil
	}
	return nil, fmt.Errorf("%T is not a form that a model file can hold", p)
}

func encodePolynomial(p *power.Polynomial) any {
	type factor struct {
		Input    power.Input `json:"input"`
		Exponent float64     `json:"exponent"`
	}
	type term struct {
		Coefficient float64  `json:"coefficient"`
		Factors     []factor `json:"factors,omitzero"`
	}
	f := struct {
		Kind  string `json:"kind"`
		Terms []term `json:"terms"`
	}{Kind: "polynomial"}
	for _, t := range p.Terms() {
		var fs []factor
		for _, x := range t.Factors {
			fs = append(fs, factor(x))
		}
		f.Terms = append(f.Terms, term{t.Coefficient, fs})
	}
	return f
}

func encodeAdditive(p *power.Additive, base any) (any, error) {
	switch t := p.Term().(type) {
	case power.GPU:
		return struct {
			Kind    string      `json:"kind"`
			Base    any         `json:"base"`
			Input   power.Input `json:"input"`
			Count   int         `json:"count"`
			Idle    power.Watts `json:"idle"`
			Active  power.Watts `json:"active"`
			Limit   power.Watts `json:"limit"`
			Outside string      `json:"outside,omitzero"`
		}{"gpu", base, t.Input, t.Count, t.Idle, t.Active, t.Limit, encodeOutside(t.Out)}, nil
	case power.Pressure:
		return struct {
			Kind      string        `json:"kind"`
			Base      any           `json:"base"`
			PerPascal power.Watts   `json:"perPascal"`
			Reference power.Pascals `json:"reference"`
			Low       power.Pascals `json:"low"`
			High      power.Pascals `json:"high"`
			Outside   string        `json:"outside,omitzero"`
		}{"pressure", base, t.PerPascal, t.Reference, t.Low, t.High, encodeOutside(t.Out)}, nil
	}
	return nil, fmt.Errorf("%T is not a term that a model file can hold", p.Term())
}
