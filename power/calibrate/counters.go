package calibrate

import (
	"math"

	"github.com/leastwatt/leastwatt/power"
)

// powers are the exponents of a polynomial in several inputs. A square root follows counters that saturate;
// squares and cubes follow voltage and frequency.
var (
	powersLinear = []float64{1}
	powersRoots  = []float64{0.5, 1}
	powersSquare = []float64{0.5, 1, 2}
	powersCube   = []float64{0.5, 1, 2, 3}
)

const ridge = 1e-4 // on features scaled to at most 1

// fitPolynomial fits a sum of powers of every input of t at some rows. A rising one has no negative
// coefficient but for the pressure, so that more work never draws less.
func fitPolynomial(t *table, rows []int, exponents []float64, rising bool) (power.Predictor, error) {
	var terms []power.Term
	var column []int
	terms = append(terms, power.Term{})
	column = append(column, -1)
	for i, in := range t.inputs {
		for _, e := range exponents {
			if e != 1 && (in == power.InputInletTemp || in == power.InputPressureDelta || negative(t.x[i])) {
				continue
			}
			terms = append(terms, power.Term{Factors: []power.Factor{{Input: in, Exponent: e}}})
			column = append(column, i)
		}
	}
	p := problem{y: make([]float64, len(rows)), rows: make([][]float64, len(rows)), lam: ridge}
	for k, r := range rows {
		f := make([]float64, len(terms))
		f[0] = 1
		for j := 1; j < len(terms); j++ {
			f[j] = math.Pow(t.x[column[j]][r], terms[j].Factors[0].Exponent)
		}
		p.rows[k], p.y[k] = f, t.y[r]
	}
	if rising {
		p.sign = func(k int) int {
			if k > 0 && t.inputs[column[k]] == power.InputPressureDelta {
				return 0
			}
			return 1
		}
	}
	b, err := p.solve()
	if err != nil {
		return nil, err
	}
	kept := terms[:0]
	for j := range terms {
		if terms[j].Coefficient = b[j]; b[j] != 0 || j == 0 {
			kept = append(kept, terms[j])
		}
	}
	return power.NewPolynomial(kept)
}

func negative(v []float64) bool {
	for _, x := range v {
		if x < 0 {
			return true
		}
	}
	return false
}

// domain returns the ranges of the inputs at some rows; the utilization's is 0 to 1.
func (t *table) domain(rows []int) power.Domain {
	d := make(power.Domain, len(t.inputs))
	for i, in := range t.inputs {
		r := power.Range{Low: math.Inf(1), High: math.Inf(-1)}
		for _, k := range rows {
			r.Low, r.High = min(r.Low, t.x[i][k]), max(r.High, t.x[i][k])
		}
		if in == power.InputUtilization {
			r = power.Range{Low: 0, High: 1}
		}
		d[in] = r
	}
	return d
}
