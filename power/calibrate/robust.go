package calibrate

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mat"
)

// A problem is a linear regression with relative errors: rows of features, and the watts they should sum to.
// Feature 0 is the constant.
type problem struct {
	rows [][]float64
	y    []float64
	lam  float64         // ridge, on features scaled to at most 1
	sign func(k int) int // 1: the coefficient may not be negative; 0: free
}

// tolerance is the relative error up to which errors count by their square; beyond, by their size.
const tolerance = 0.01

// solve returns the coefficients by iteratively reweighted least squares (Holland and Welsch, Communications in
// Statistics A6, 1977) with Huber's weights on relative errors.
func (p *problem) solve() ([]float64, error) {
	if len(p.rows) == 0 {
		return nil, fmt.Errorf("no samples")
	}
	n := len(p.rows[0])
	scale := make([]float64, n)
	for _, r := range p.rows {
		for k, v := range r {
			scale[k] = max(scale[k], math.Abs(v))
		}
	}
	for k := range scale {
		if scale[k] == 0 {
			scale[k] = 1
		}
	}
	w := make([]float64, len(p.rows))
	for i, y := range p.y {
		w[i] = 1 / (y * y)
	}
	var b []float64
	for pass := range 12 {
		gram, right := p.normal(w, scale)
		var err error
		if p.sign == nil {
			b, err = cholesky(gram, right)
		} else {
			b, err = p.descend(gram, right, b)
		}
		if err != nil {
			return nil, err
		}
		if pass == 11 {
			break
		}
		for i, r := range p.rows {
			fit := 0.0
			for k, v := range r {
				fit += b[k] * v / scale[k]
			}
			w[i] = 1 / (p.y[i] * p.y[i]) / max(math.Abs(fit-p.y[i])/p.y[i]/tolerance, 1)
		}
	}
	for k := range b {
		b[k] /= scale[k]
	}
	return b, nil
}

func (p *problem) normal(w, scale []float64) (*mat.SymDense, []float64) {
	n := len(scale)
	gram, right := mat.NewSymDense(n, nil), make([]float64, n)
	x, total := make([]float64, n), 0.0
	raw := gram.RawSymmetric()
	for i, r := range p.rows {
		total += w[i]
		for k, v := range r {
			x[k] = v / scale[k]
		}
		for a := range x {
			row := raw.Data[a*raw.Stride:]
			wa := w[i] * x[a]
			for c := a; c < n; c++ {
				row[c] += wa * x[c]
			}
			right[a] += wa * p.y[i]
		}
	}
	for k := range n {
		ridge := 1e-9
		if k > 0 {
			ridge += p.lam
		}
		gram.SetSym(k, k, gram.At(k, k)+ridge*total)
	}
	return gram, right
}

func cholesky(gram *mat.SymDense, right []float64) ([]float64, error) {
	var c mat.Cholesky
	if !c.Factorize(gram) {
		return nil, fmt.Errorf("the inputs depend on each other")
	}
	var b mat.VecDense
	if err := c.SolveVecTo(&b, mat.NewVecDense(len(right), right)); err != nil {
		return nil, fmt.Errorf("the inputs depend on each other: %w", err)
	}
	return b.RawVector().Data, nil
}

// descend minimises by one coefficient after another, which keeps signs (Franc, Hlaváč and Navara, CAIP 2005).
func (p *problem) descend(gram *mat.SymDense, right, start []float64) ([]float64, error) {
	n := len(right)
	b := make([]float64, n)
	copy(b, start)
	for range 2000 {
		moved := 0.0
		for k := range n {
			g := right[k]
			for j := range n {
				if j != k {
					g -= gram.At(k, j) * b[j]
				}
			}
			v := g / gram.At(k, k)
			if p.sign(k) > 0 {
				v = max(v, 0)
			}
			moved = max(moved, math.Abs(v-b[k]))
			b[k] = v
		}
		if moved < 1e-5 {
			break
		}
	}
	return b, nil
}

// slope returns the robust regression of y on x through the origin: the weighted median of y/x, which a
// minority of wild values does not move.
func slope(x, y []float64) float64 {
	type ratio struct{ at, weight float64 }
	var r []ratio
	total := 0.0
	for i, v := range x {
		if v != 0 {
			r = append(r, ratio{y[i] / v, math.Abs(v)})
			total += math.Abs(v)
		}
	}
	if len(r) == 0 {
		return 0
	}
	sortBy(r, func(a ratio) float64 { return a.at })
	sum := 0.0
	for _, v := range r {
		if sum += v.weight; sum >= total/2 {
			return v.at
		}
	}
	return r[len(r)-1].at
}
