package grid

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// A Profile is a made-up intensity or price over time, for simulations: always known, and known in advance. It
// answers for any zone.
type Profile struct {
	signal   Signal
	text     string
	step     time.Duration
	at       func(step int64) float64
	now      func() time.Time
	currency string
}

// ParseProfile understands KubeEnergyScheduler's notation: "static:V", "sine:mean:amplitude:periodSec" and
// "randwalk:min:max:stepSec". A sine starts at its mean at the Unix epoch and is told in steps of a twelfth of its
// period, at most an hour; a random walk is a function of time and seed alone, so that two runs see the same. now nil means
// [time.Now].
func ParseProfile(text string, signal Signal, seed uint64, now func() time.Time) (*Profile, error) {
	if now == nil {
		now = time.Now
	}
	p := &Profile{signal: signal, text: text, now: now, step: time.Hour}
	kind, rest, _ := strings.Cut(text, ":")
	fields := strings.Split(rest, ":")
	args := make([]float64, len(fields))
	for i, f := range fields {
		v, err := strconv.ParseFloat(f, 64)
		if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
			return nil, fmt.Errorf("profile %q: field %d: %q is not a number", text, i+2, f)
		}
		args[i] = v
	}
	want := map[string]int{"static": 1, "sine": 3, "randwalk": 3}[kind]
	switch {
	case want == 0:
		return nil, fmt.Errorf("profile %q: want static:V, sine:mean:amplitude:periodSec or randwalk:min:max:stepSec", text)
	case len(args) != want:
		return nil, fmt.Errorf("profile %q: %d numbers after %q, want %d", text, len(args), kind, want)
	}
	switch kind {
	case "static":
		p.at = func(int64) float64 { return args[0] }
	case "sine":
		period := args[2]
		if period < 12 || period > 1e9 {
			return nil, fmt.Errorf("profile %q: period is %v s: want 12 to 1e9", text, period)
		}
		p.step = min(time.Hour, time.Duration(period/12*float64(time.Second)).Truncate(time.Second))
		seconds := p.step.Seconds()
		p.at = func(k int64) float64 {
			return args[0] + args[1]*math.Sin(2*math.Pi*math.Mod((float64(k)+0.5)*seconds, period)/period)
		}
	case "randwalk":
		if args[0] > args[1] || args[2] < 1 || args[2] > 1e9 {
			return nil, fmt.Errorf("profile %q: want min ≤ max and a step of 1 s to 1e9 s", text)
		}
		p.step = time.Duration(args[2]) * time.Second
		p.at = func(k int64) float64 { return walk(seed, k, args[0], args[1]) }
	}
	for _, v := range extremes(kind, args) {
		pt := p.point("any", 0)
		if pt.Value = v; pt.Validate() != nil {
			return nil, fmt.Errorf("profile %q reaches %v: %w", text, v, pt.Validate())
		}
	}
	return p, nil
}

// extremes returns the least and the greatest value that a profile can take.
func extremes(kind string, args []float64) []float64 {
	switch kind {
	case "sine":
		return []float64{args[0] - math.Abs(args[1]), args[0] + math.Abs(args[1])}
	case "randwalk":
		return args[:2]
	}
	return args[:1]
}

// walk is a bounded random walk that can be entered anywhere: a sum of independent noise at doubling time
// scales, interpolated, and squeezed between low and high.
func walk(seed uint64, k int64, low, high float64) float64 {
	noise := func(scale, i int64) float64 {
		return rand.New(rand.NewPCG(seed^uint64(scale)*0x9e3779b97f4a7c15, uint64(i))).NormFloat64()
	}
	sum, total := 0.0, 0.0
	for scale := int64(1); scale <= 256; scale *= 2 {
		i := floorDiv(k, scale)
		f := float64(k-i*scale) / float64(scale)
		w := math.Sqrt(float64(scale))
		sum += w * ((1-f)*noise(scale, i) + f*noise(scale, i+1))
		total += w * w
	}
	share := 0.5 * (1 + math.Erf(sum/math.Sqrt(total)/math.Sqrt2))
	return low + (high-low)*share
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

func (p *Profile) point(zone string, k int64) Point {
	start := time.Unix(0, 0).UTC().Add(time.Duration(k) * p.step)
	return Point{Zone: zone, Signal: p.signal, Start: start, End: start.Add(p.step), Value: p.at(k), Currency: p.currency, Source: "profile:" + p.text}
}

// Signal implements [Source].
func (p *Profile) Signal() Signal { return p.signal }

// Current implements [Source].
func (p *Profile) Current(_ context.Context, zone string) (Point, error) {
	return p.point(zone, p.index(p.now())), nil
}

// History implements [HistorySource].
func (p *Profile) History(_ context.Context, zone string, from, until time.Time) ([]Point, error) {
	if now := p.now(); until.After(now) {
		until = now
	}
	return p.between(zone, from, until)
}

// Forecast implements [ForecastSource] with what will be.
func (p *Profile) Forecast(_ context.Context, zone string, from, until time.Time) ([]Point, error) {
	ps, err := p.between(zone, from, until)
	for i := range ps {
		ps[i].Forecast = true
	}
	return ps, err
}

const maxPoints = 1_000_000

func (p *Profile) index(t time.Time) int64 {
	return floorDiv(int64(t.Sub(time.Unix(0, 0))), int64(p.step))
}

func (p *Profile) between(zone string, from, until time.Time) ([]Point, error) {
	if !until.After(from) {
		return nil, nil
	}
	if n := until.Sub(from) / p.step; n > maxPoints {
		return nil, fmt.Errorf("profile %q: %d points from %v until %v: at most %d at once", p.text, n, from, until, maxPoints)
	}
	var ps []Point
	for k := p.index(from); ; k++ {
		pt := p.point(zone, k)
		if !pt.Start.Before(until) {
			return ps, nil
		}
		ps = append(ps, pt)
	}
}
