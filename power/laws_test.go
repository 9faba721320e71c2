package power_test

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

// curves returns the published curves and random ones, many of them neither convex nor rising.
func curves(t testing.TB) []*power.Piecewise {
	t.Helper()
	var out []*power.Piecewise
	for _, s := range power.Servers() {
		out = append(out, s.Curve())
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		set := map[float64]bool{}
		for range 2 + r.IntN(20) {
			set[math.Round(r.Float64()*1000)/1000] = true
		}
		if len(set) < 2 {
			continue
		}
		var us []float64
		for u := range set {
			us = append(us, u)
		}
		slices.Sort(us)
		knots := make([]power.Knot, len(us))
		for i, u := range us {
			knots[i] = power.Knot{Utilization: u, Watts: power.Watts(r.Float64() * 500)}
		}
		c, err := power.NewPiecewise(knots)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, c)
	}
	return out
}

const slack = 1e-9

func TestPiecewiseTouchesItsKnotsAndStaysBetween(t *testing.T) {
	for _, c := range curves(t) {
		k := c.Knots()
		for i := range k {
			if d := math.Abs(float64(c.At(k[i].Utilization) - k[i].Watts)); d > slack*max(1, float64(k[i].Watts)) {
				t.Fatalf("at knot %v the curve is off by %v", k[i], d)
			}
			if i == 0 {
				continue
			}
			for x := 0.25; x < 1; x += 0.25 {
				u := k[i-1].Utilization + x*(k[i].Utilization-k[i-1].Utilization)
				want := k[i-1].Watts + power.Watts(x)*(k[i].Watts-k[i-1].Watts)
				if d := math.Abs(float64(c.At(u) - want)); d > 1e-7 {
					t.Fatalf("between knots %v and %v at %v: %v, want %v", k[i-1], k[i], u, c.At(u), want)
				}
			}
		}
		if c.At(-3) != c.At(k[0].Utilization) || c.At(3) != c.At(k[len(k)-1].Utilization) ||
			c.At(math.Inf(1)) != c.At(1) || c.At(math.Inf(-1)) != c.At(0) {
			t.Fatalf("curve %v does not clamp", k)
		}
		if !math.IsNaN(float64(c.At(math.NaN()))) {
			t.Fatalf("curve %v answers NaN with watts", k)
		}
	}
}

func TestEnvelopeIsTheGreatestConvexCurveBelow(t *testing.T) {
	for _, c := range curves(t) {
		e := c.Envelope()
		for i, k := 1, e.Knots(); i < len(k); i++ {
			if i > 1 && e.Slope(k[i-1].Utilization) < e.Slope(k[i-2].Utilization)-slack {
				t.Fatalf("envelope of %v is not convex at %v", c.Knots(), k[i-1])
			}
			// Greatest: each of its knots lies on the curve.
			if d := math.Abs(float64(c.At(k[i].Utilization) - k[i].Watts)); d > 1e-7 {
				t.Fatalf("envelope knot %v does not lie on the curve %v", k[i], c.Knots())
			}
		}
		for _, k := range c.Knots() {
			if e.At(k.Utilization) > k.Watts+1e-7 {
				t.Fatalf("envelope lies above %v", k)
			}
		}
		if e.Idle() != c.Idle() || e.Peak() != c.Peak() {
			t.Fatalf("envelope ends at %v and %v, the curve at %v and %v", e.Idle(), e.Peak(), c.Idle(), c.Peak())
		}
		if !slices.Equal(e.Envelope().Knots(), e.Knots()) {
			t.Fatalf("the envelope of an envelope differs")
		}
	}
}

func TestEnvelopeFromOff(t *testing.T) {
	for _, c := range curves(t) {
		for _, off := range []power.Watts{0, 5, c.Idle(), c.Idle() + 50} {
			e := c.EnvelopeFromOff(off)
			k := e.Knots()
			if k[0].Utilization != 0 || k[0].Watts > max(off, 0) && k[0].Watts > c.Idle() {
				t.Fatalf("off %v: it starts at %v", off, k[0])
			}
			for i := 2; i < len(k); i++ {
				if e.Slope(k[i-1].Utilization) < e.Slope(k[i-2].Utilization)-slack {
					t.Fatalf("off %v: not convex at %v", off, k[i-1])
				}
			}
			for u := 0.0; u <= 1; u += 1.0 / 64 {
				if u >= c.Knots()[0].Utilization && e.At(u) > c.At(u)+1e-7 {
					t.Fatalf("off %v: above the curve at %v", off, u)
				}
			}
			if e.Peak() != c.Peak() {
				t.Fatalf("off %v: it ends at %v, the curve at %v", off, e.Peak(), c.Peak())
			}
			if again := c.EnvelopeFromOff(off); again != e {
				t.Fatalf("off %v: not remembered", off)
			}
		}
		// A lower off power can only lower the least mean watts.
		low, high := c.EnvelopeFromOff(0).Knots(), c.EnvelopeFromOff(c.Idle()/2)
		for _, k := range low {
			if k.Watts > high.At(k.Utilization)+1e-7 {
				t.Fatalf("off 0 costs %v at %v, off %v only %v", k.Watts, k.Utilization, c.Idle()/2, high.At(k.Utilization))
			}
		}
	}
}

func TestEnvelopeOfALineIsTheLine(t *testing.T) {
	c, err := power.EvenPiecewise(10, 20, 30, 40)
	if err != nil {
		t.Fatal(err)
	}
	if k := c.Envelope().Knots(); len(k) != 2 {
		t.Errorf("%d knots on a straight line: %v", len(k), k)
	}
}

func TestNewPiecewiseRefuses(t *testing.T) {
	for name, k := range map[string][]power.Knot{
		"no knots":      nil,
		"one knot":      {{Utilization: 0, Watts: 1}},
		"backwards":     {{Utilization: 0.5, Watts: 1}, {Utilization: 0.1, Watts: 2}},
		"twice":         {{Utilization: 0.5, Watts: 1}, {Utilization: 0.5, Watts: 2}},
		"over 1":        {{Utilization: 0, Watts: 1}, {Utilization: 1.5, Watts: 2}},
		"NaN load":      {{Utilization: math.NaN(), Watts: 1}, {Utilization: 1, Watts: 2}},
		"NaN watts":     {{Utilization: 0, Watts: 1}, {Utilization: 1, Watts: power.Watts(math.NaN())}},
		"negative":      {{Utilization: 0, Watts: -1}, {Utilization: 1, Watts: 2}},
		"infinite":      {{Utilization: 0, Watts: 1}, {Utilization: 1, Watts: power.Watts(math.Inf(1))}},
		"far too many ": make([]power.Knot, power.MaxKnots+1),
	} {
		if c, err := power.NewPiecewise(k); err == nil {
			t.Errorf("%s: accepted as %v", name, c.Knots())
		}
	}
}

// FuzzNewPiecewise reads knots from bytes: what is accepted keeps the laws.
func FuzzNewPiecewise(f *testing.F) {
	seed := func(v ...float64) []byte {
		var b []byte
		for _, x := range v {
			b = binary.LittleEndian.AppendUint64(b, math.Float64bits(x))
		}
		return b
	}
	f.Add(seed(0, 50, 0.5, 80, 1, 100), 0.3)
	f.Add(seed(0, 50, math.SmallestNonzeroFloat64, 80, 1, math.MaxFloat64), 1.0)
	f.Add(seed(0.1, 50, 0.2, math.NaN()), math.NaN())
	f.Fuzz(func(t *testing.T, b []byte, u float64) {
		var knots []power.Knot
		for len(b) >= 16 && len(knots) < 64 {
			knots = append(knots, power.Knot{
				Utilization: math.Float64frombits(binary.LittleEndian.Uint64(b)),
				Watts:       power.Watts(math.Float64frombits(binary.LittleEndian.Uint64(b[8:]))),
			})
			b = b[16:]
		}
		c, err := power.NewPiecewise(knots)
		if err != nil {
			return
		}
		w, err := c.Predict(t.Context(), power.State{Utilization: u})
		if err == nil && !(w >= 0 && w <= math.MaxFloat64) {
			t.Fatalf("knots %v at %v: %v and no error", knots, u, w)
		}
		c.Envelope().At(u)
		c.EnvelopeFromOff(0).At(u)
	})
}
