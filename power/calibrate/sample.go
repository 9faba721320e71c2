package calibrate

import (
	"errors"
	"fmt"
	"iter"
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// A Sample is the watts that a server drew in a state.
type Sample struct {
	At    time.Time // may be zero for all samples; otherwise they come in this order
	State power.State
	Watts power.Watts
}

// ErrUnidentifiable says that samples cannot tell a model, however it is fitted. The message says why and what
// to measure instead.
var ErrUnidentifiable = errors.New("cannot be identified")

// What is asked of samples before anything is fitted.
const (
	minSamples  = 20
	minSpread   = 0.1 // of utilization, between its 5 % and 95 % quantiles
	minDegrees  = 2.0 // of the inlet temperature, likewise
	minDistinct = 4   // readings of power
)

// A table is samples as columns.
type table struct {
	inputs []power.Input
	x      [][]float64 // by input, then by row
	y      []float64
	states []power.State
	seen   int // samples before thinning
	from   time.Time
	to     time.Time
}

// collect reads samples, at most keep of them: when there are more, every second one is dropped, and again, so
// that memory does not grow and time stays covered.
func collect(samples iter.Seq2[Sample, error], inputs []power.Input, keep int) (*table, error) {
	t := &table{inputs: inputs, x: make([][]float64, len(inputs))}
	stride := 1
	var last time.Time
	for s, err := range samples {
		if err != nil {
			return nil, err
		}
		n := t.seen
		t.seen++
		if s.At.Before(last) {
			return nil, fmt.Errorf("sample %d: its time %s is before that of the one before, %s", n+1, s.At.Format(time.RFC3339), last.Format(time.RFC3339))
		}
		last = s.At
		if n == 0 {
			t.from = s.At
		}
		t.to = s.At
		if !(s.Watts > 0 && s.Watts < 1e9) {
			return nil, fmt.Errorf("sample %d: %v W: want above 0 and below 1e9", n+1, float64(s.Watts))
		}
		if n%stride != 0 {
			continue
		}
		for i, in := range inputs {
			v, err := s.State.Value(in)
			if err != nil {
				return nil, fmt.Errorf("sample %d: %w", n+1, err)
			}
			if in == power.InputUtilization && !(v >= 0 && v <= 1.05) {
				return nil, fmt.Errorf("sample %d: utilization is %v: want 0 to 1 (divide percent by 100)", n+1, v)
			}
			t.x[i] = append(t.x[i], v)
		}
		t.y, t.states = append(t.y, float64(s.Watts)), append(t.states, s.State)
		if len(t.y) == keep {
			t.thin()
			stride *= 2
		}
	}
	return t, nil
}

func (t *table) thin() {
	half := func(v []float64) []float64 {
		for i := range len(v) / 2 {
			v[i] = v[2*i]
		}
		return v[:len(v)/2]
	}
	for i := range t.x {
		t.x[i] = half(t.x[i])
	}
	t.y = half(t.y)
	for i := range len(t.states) / 2 {
		t.states[i] = t.states[2*i]
	}
	t.states = t.states[:len(t.states)/2]
}

// column returns the values of an input, or nil.
func (t *table) column(in power.Input) []float64 {
	if i := slices.Index(t.inputs, in); i >= 0 {
		return t.x[i]
	}
	return nil
}

// check returns why the samples cannot tell a model.
func (t *table) check() error {
	if len(t.y) < minSamples {
		return unidentifiable("%d samples are too few: want at least %d, at different loads", len(t.y), minSamples)
	}
	if n := distinct(t.y, minDistinct); n < minDistinct {
		return unidentifiable("the watts take %d values in %d samples: the sensor is stuck or too coarse", n, len(t.y))
	}
	if err := t.stuck(); err != nil {
		return err
	}
	if u := t.column(power.InputUtilization); u != nil {
		if low, high := bulk(u); high-low < minSpread {
			return unidentifiable("nine tenths of the utilizations lie between %.3f and %.3f: want a spread of at least %.1f; measure at other loads", low, high, minSpread)
		}
		return nil
	}
	for _, x := range t.x {
		if low, high := bulk(x); high > low {
			return nil
		}
	}
	return unidentifiable("no input varies: %v", t.inputs)
}

// stuck looks for one figure that lasts for a quarter of the samples while the first input moves.
func (t *table) stuck() error {
	low, high := bulk(t.x[0])
	for i := 0; i < len(t.y); {
		j, least, most := i, t.x[0][i], t.x[0][i]
		for j < len(t.y) && t.y[j] == t.y[i] {
			least, most = min(least, t.x[0][j]), max(most, t.x[0][j])
			j++
		}
		if j-i >= max(len(t.y)/4, stuckCount) && most-least > 0.5*(high-low) {
			return unidentifiable("samples %d to %d all say %v W while %s goes from %.4g to %.4g: the power sensor is stuck", i+1, j, t.y[i], t.inputs[0], least, most)
		}
		i = j
	}
	return nil
}

func unidentifiable(format string, args ...any) error {
	return fmt.Errorf("the model %w: %s", ErrUnidentifiable, fmt.Sprintf(format, args...))
}

// distinct counts different values, up to enough.
func distinct(v []float64, enough int) int {
	seen := make(map[float64]bool)
	for _, x := range v {
		if seen[x] = true; len(seen) == enough {
			break
		}
	}
	return len(seen)
}

// bulk returns the 5 % and 95 % quantiles.
func bulk(v []float64) (low, high float64) {
	s := slices.Sorted(slices.Values(v))
	return s[int(0.05*float64(len(s)-1))], s[int(math.Ceil(0.95*float64(len(s)-1)))]
}
