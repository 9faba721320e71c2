package balancing

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// The annotations of a Service that hold the CPU of one request, as a Kubernetes quantity of cores that one
// request a second uses: "100m" is 0.1 core-seconds. Ours wins over WAO's.
const (
	CPUAnnotation    = "leastwatt.github.io/cpu-per-request"
	WAOCPUAnnotation = "waok8s.github.io/cpu-per-request"
)

// MaxCPU is the most work that an annotation may claim for one request, in core-seconds.
const MaxCPU = 10_000

// ErrNoCPU says that no annotation holds the CPU of a request.
var ErrNoCPU = errors.New("no annotation " + CPUAnnotation)

// CPUFromAnnotations returns the CPU of one request in core-seconds. Without an annotation the error is
// ErrNoCPU; a value that cannot be used is an error that names the annotation and the value.
func CPUFromAnnotations(annotations map[string]string) (float64, error) {
	for _, name := range []string{CPUAnnotation, WAOCPUAnnotation} {
		if text, ok := annotations[name]; ok {
			cpu, err := ParseCPU(text)
			if err != nil {
				return 0, fmt.Errorf("annotation %s: %w", name, err)
			}
			return cpu, nil
		}
	}
	return 0, ErrNoCPU
}

// ParseCPU parses a quantity of cores: a decimal number, with an exponent or the suffix m, u or n.
func ParseCPU(text string) (float64, error) {
	digits, unit := strings.TrimSpace(text), 1.0
	for suffix, u := range map[string]float64{"m": 1e-3, "u": 1e-6, "n": 1e-9} {
		if d, ok := strings.CutSuffix(digits, suffix); ok {
			digits, unit = d, u
			break
		}
	}
	if len(digits) > 32 {
		return 0, fmt.Errorf("CPU of a request: a text of %d characters: want a quantity such as \"100m\"", len(text))
	}
	plain := strings.Trim(digits, "+-.0123456789eE") == "" // no hexadecimal, no infinities, no underscores
	v, err := strconv.ParseFloat(digits, 64)
	switch v *= unit; {
	case !plain || err != nil && !errors.Is(err, strconv.ErrRange):
		return 0, fmt.Errorf("CPU of a request %q is not a quantity: want one such as \"100m\" or \"0.1\"", text)
	case !(v > 0):
		return 0, fmt.Errorf("CPU of a request %q: want more than 0", text)
	case v > MaxCPU:
		return 0, fmt.Errorf("CPU of a request %q: want at most %d core-seconds", text, MaxCPU)
	}
	return v, nil
}

// A CPULearner learns the CPU of one request from how the CPU use of a Service's endpoints follows its request
// rate: the slope of a line through recent samples, older ones forgotten exponentially. What the endpoints use
// at rest is the line's intercept and does not count. The zero value is ready to use; it is not safe for
// concurrent use.
type CPULearner struct {
	// Memory is over how many samples the weight of one falls to 1/e; 0 means 100.
	Memory float64

	n, w2         float64 // sum of weights, of their squares
	mx, my        float64 // weighted means
	sxx, sxy, syy float64 // weighted sums of squares about the means
}

// Observe adds a sample: requests a second and the cores used over the same interval. A sample that is not
// finite or is negative is an error and changes nothing.
func (l *CPULearner) Observe(rate, cores float64) error {
	if !amount(rate) || !amount(cores) {
		return fmt.Errorf("learn CPU of a request: %v requests/s using %v cores: want finite numbers, 0 or more", rate, cores)
	}
	memory := l.Memory
	if !(memory > 0) {
		memory = 100
	}
	keep := math.Exp(-1 / memory)
	l.n, l.w2 = l.n*keep+1, l.w2*keep*keep+1
	l.sxx, l.sxy, l.syy = l.sxx*keep, l.sxy*keep, l.syy*keep
	dx, dy := rate-l.mx, cores-l.my
	l.mx += dx / l.n
	l.my += dy / l.n
	l.sxx += dx * (rate - l.mx)
	l.sxy += dx * (cores - l.my)
	l.syy += dy * (cores - l.my)
	return nil
}

// An Interval is an estimate and the bounds that hold it with 95 % confidence, in core-seconds.
type Interval struct{ Low, Estimate, High float64 }

// ErrNotLearned says that too little has been seen to know the CPU of a request.
var ErrNotLearned = errors.New("CPU of a request is not learned yet")

// CPU returns the CPU of a request, or an error that wraps ErrNotLearned: fewer than five samples, a rate that
// did not move, or an interval that reaches zero.
func (l *CPULearner) CPU() (Interval, error) {
	n := 0.0
	if l.w2 > 0 {
		n = l.n * l.n / l.w2 // effective number of samples
	}
	if n < 4.5 || !(l.sxx > 1e-12*l.mx*l.mx*l.n) {
		return Interval{}, fmt.Errorf("%w: %.0f samples, request rate about %.3g/s", ErrNotLearned, n, l.mx)
	}
	slope := l.sxy / l.sxx
	noise := max(l.syy-slope*l.sxy, 0) / l.n * n / (n - 2)
	half := student(n-2) * math.Sqrt(noise/(l.sxx/l.n*n))
	i := Interval{Low: slope - half, Estimate: slope, High: slope + half}
	if !(i.Low > 0) || i.High > MaxCPU {
		return i, fmt.Errorf("%w: between %.3g and %.3g core-seconds after %.0f samples", ErrNotLearned, i.Low, i.High, n)
	}
	return i, nil
}

// student approximates the 97.5 % quantile of Student's t distribution with v degrees of freedom by its
// expansion about the normal quantile (Abramowitz & Stegun 1964, 26.7.5).
func student(v float64) float64 {
	const z = 1.959963984540054
	const (
		z3 = z * z * z
		z5 = z3 * z * z
		z7 = z5 * z * z
	)
	return z + (z3+z)/4/v + (5*z5+16*z3+3*z)/96/(v*v) + (3*z7+19*z5+17*z3-15*z)/384/(v*v*v)
}
