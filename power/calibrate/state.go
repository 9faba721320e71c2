package calibrate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/prior"
)

// OnlineFormat names the file format of [Online.MarshalJSON] and [ReadOnline].
const OnlineFormat = "leastwatt-online/1"

// maxOnline bounds the file of an [Online], which takes about 6 kB.
const maxOnline = 1 << 20

// onlineFile is everything an Online knows. Covariances are lower triangles, row by row.
type onlineFile struct {
	Format    string        `json:"format"`
	Options   OnlineOptions `json:"options"`
	Source    string        `json:"source"`
	Spread    float64       `json:"spread"`
	StartMean []float64     `json:"start_log_watts"`
	StartCov  []float64     `json:"start_covariance"`
	Mean      []float64     `json:"log_watts_and_inlet"`
	Cov       []float64     `json:"covariance"`
	Variance  float64       `json:"reading_variance"`
	Readings  int           `json:"readings"`
	Drifts    int           `json:"drifts"`
	Warm      int           `json:"readings_with_inlet"`
	Shift     shift         `json:"shift"`
	Plateau   plateau       `json:"plateau"`
	Duel      duel          `json:"duel"`
}

// MarshalJSON returns all that was learned, for [ReadOnline].
func (l *Online) MarshalJSON() ([]byte, error) {
	f := onlineFile{Format: OnlineFormat, Options: l.opts, Source: l.start.Source, Spread: l.start.Spread,
		StartMean: l.start.Log[:], Mean: l.mean[:], Variance: l.variance, Readings: l.readings, Drifts: l.drifts, Warm: l.warm,
		Shift: l.last, Plateau: l.stuck, Duel: l.score}
	for i := range l.start.Covariance {
		f.StartCov = append(f.StartCov, l.start.Covariance[i][:i+1]...)
	}
	for i := range l.cov {
		f.Cov = append(f.Cov, l.cov[i][:i+1]...)
	}
	return json.Marshal(f)
}

// ReadOnline returns the learner that was written by [Online.MarshalJSON]; it goes on as if it had not stopped.
// A file that was changed by hand must still make sense: the field that does not is named.
func ReadOnline(r io.Reader) (*Online, error) {
	data, err := io.ReadAll(io.LimitReader(r, maxOnline+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxOnline {
		return nil, fmt.Errorf("learned model: more than %d bytes", maxOnline)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var f onlineFile
	if err := d.Decode(&f); err != nil {
		return nil, fmt.Errorf("learned model: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("learned model: something follows the object")
	}
	l, err := f.online()
	if err != nil {
		return nil, fmt.Errorf("learned model: %w", err)
	}
	return l, nil
}

func (f *onlineFile) online() (*Online, error) {
	if f.Format != OnlineFormat {
		return nil, fmt.Errorf("format is %q: want %q", f.Format, OnlineFormat)
	}
	start := prior.Belief{Spread: f.Spread, Source: f.Source}
	var startCov [states][states]float64
	if err := read("start", start.Log[:], f.StartMean, &startCov, f.StartCov); err != nil {
		return nil, err
	}
	for i := range start.Covariance {
		copy(start.Covariance[i][:], startCov[i][:points])
	}
	for _, c := range []struct {
		name      string
		v         float64
		low, high float64
	}{
		{"spread", f.Spread, 0, 100}, {"reading_variance", f.Variance, 1e-9, 1},
		{"readings", float64(f.Readings), 0, math.MaxInt32}, {"drifts", float64(f.Drifts), 0, math.MaxInt32},
		{"readings_with_inlet", float64(f.Warm), 0, math.MaxInt32},
		{"options: Noise", f.Options.Noise, 1e-6, 1}, {"options: Forgetting", f.Options.Forgetting, 0, 1}, {"options: DriftShift", f.Options.DriftShift, 0, 10},
		{"shift: Up", f.Shift.Up, 0, alarm}, {"shift: Down", f.Shift.Down, 0, alarm},
		{"shift: UpN", float64(f.Shift.UpN), 0, math.MaxInt32}, {"shift: DownN", float64(f.Shift.DownN), 0, math.MaxInt32},
		{"duel: Count", float64(f.Duel.Count), 0, math.MaxInt32}, {"duel: Learned", f.Duel.Learned, 0, 100}, {"duel: Prior", f.Duel.Prior, 0, 100},
		{"plateau: Count", float64(f.Plateau.Count), 0, math.MaxInt32},
	} {
		if !(c.v >= c.low && c.v <= c.high) {
			return nil, fmt.Errorf("%s is %v: want %v to %v", c.name, c.v, c.low, c.high)
		}
	}
	l := NewOnline(start, f.Options)
	if err := read("learned", l.mean[:], f.Mean, &l.cov, f.Cov); err != nil {
		return nil, err
	}
	if per := l.mean[inlet]; !(math.Abs(per) <= 0.1) {
		return nil, fmt.Errorf("learned: %v per °C: want -0.1 to 0.1", per)
	}
	l.variance, l.readings, l.drifts, l.warm = f.Variance, f.Readings, f.Drifts, f.Warm
	l.last, l.stuck, l.score = f.Shift, f.Plateau, f.Duel
	l.exp()
	return l, nil
}

// read fills in a mean and the covariance that belongs to it.
func read(what string, mean, from []float64, cov *[states][states]float64, triangle []float64) error {
	n := len(mean)
	if len(from) != n || len(triangle) != n*(n+1)/2 {
		return fmt.Errorf("%s: %d means and %d covariances: want %d and %d", what, len(from), len(triangle), n, n*(n+1)/2)
	}
	k := 0
	for i := range n {
		if mean[i] = from[i]; !(math.Abs(mean[i]) <= 20) {
			return fmt.Errorf("%s: mean %d is %v: want a logarithm of watts", what, i, mean[i])
		}
		for j := range i + 1 {
			cov[i][j], cov[j][i] = triangle[k], triangle[k]
			k++
		}
	}
	for i := range n {
		if v := cov[i][i]; !(v > 0 && v <= 100) {
			return fmt.Errorf("%s: variance %d is %v: want above 0 and at most 100", what, i, v)
		}
		for j := range i {
			if c := cov[i][j]; !(c*c <= cov[i][i]*cov[j][j]*(1+1e-9)) {
				return fmt.Errorf("%s: covariance %d,%d is %v, more than the variances allow", what, i, j, c)
			}
		}
	}
	return definite(what, cov, n)
}

// definite returns an error unless the covariance is positive, up to rounding, by a Cholesky decomposition: a
// filter that starts from another one ends in numbers that are none.
func definite(what string, cov *[states][states]float64, n int) error {
	l := *cov
	for i := range n {
		for j := range i + 1 {
			s := l[i][j]
			for k := range j {
				s -= l[i][k] * l[j][k]
			}
			switch {
			case i != j && l[j][j] > 0:
				l[i][j] = s / l[j][j]
			case i != j:
				l[i][j] = 0
			case s < -1e-9*cov[i][i]:
				return fmt.Errorf("%s: the covariance is not positive in row %d", what, i)
			default:
				l[i][i] = math.Sqrt(max(s, 0))
			}
		}
	}
	return nil
}

// Start returns the belief from which the learner started.
func (l *Online) Start() prior.Belief { return l.start }

// Belief returns what is thought of the curve now, for [prior.Belief.Given] and the like.
func (l *Online) Belief() prior.Belief {
	b := prior.Belief{Source: l.start.Source}
	copy(b.Log[:], l.mean[:points])
	for i := range b.Covariance {
		copy(b.Covariance[i][:], l.cov[i][:points])
	}
	return b
}

// Shift returns the relative change of level that the last drift was found by; 0 before any.
func (l *Online) Shift() float64 { return l.last.Size }

// A learned model can be asked all that the package power knows to ask.
var (
	_ power.BatchPredictor    = (*Learned)(nil)
	_ power.IntervalPredictor = (*Learned)(nil)
)
