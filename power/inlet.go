package power

import (
	"context"
	"fmt"
	"math"
)

// An InletResponse says how a server's watts change with the temperature T of the air it breathes, against
// the watts W that it draws at a reference temperature:
//
//	W·(1 + PerDegree·(T−Reference)) + Fan·(r(T)³ − r(Reference)³)
//	r(T) = 1 + FanGain·(T−FanKnee) above FanKnee, else 1; at most FanLimit
//
// The first part is leakage, which grows with the silicon's temperature and with the load. The second is
// the fans: their power goes with the cube of their speed (the fan affinity laws), and firmware raises the
// speed above a knee. T is kept within Low and High as Outside says.
type InletResponse struct {
	Reference Celsius // the inlet temperature at which the base model was fitted
	PerDegree float64 // share of the base's watts that one °C more costs
	Fan       Watts   // power of all fans below the knee; 0 leaves the fans to PerDegree
	FanKnee   Celsius // above it the fans speed up
	FanGain   float64 // rise of fan speed per °C above the knee, as a share of the speed below it
	FanLimit  float64 // greatest fan speed over that below the knee; 0 means no limit
	Low, High Celsius // where the response is valid
	Outside   Outside // what to do elsewhere
}

// PublishedInletResponse is the response for a server of which nothing is known: the middle of the 0.35 to
// 0.5 % more power per °C that two data centres of a colocation provider showed between 23 and 30 °C, fans
// included. Source: Coroamă, "Temperature Optimisation in Data Centres", arXiv:2509.26163 (2025).
func PublishedInletResponse() InletResponse {
	return InletResponse{Reference: 23, PerDegree: 0.00425, Low: 23, High: 30}
}

// R410InletResponse is the response of one lightly loaded Dell PowerEdge R410 of 2009, fitted within 0.42 W
// to seven readings from 137.7 W at 27 °C to 154 W at 37 °C: leakage at the upper end of the published
// 0.35–0.5 % per °C, and fans under the cube law. Source of the readings: McManis, "Temperature Set Point vs
// Server Fan Power", Green Revolution Cooling, 17 June 2016. It is an old server with small fast fans: an
// upper bound for a large modern one.
func R410InletResponse() InletResponse {
	return InletResponse{Reference: 27, PerDegree: 0.005, Fan: 1.5, FanKnee: 30, FanGain: 0.132, Low: 27, High: 37}
}

// Validate returns an error that names the field that makes no sense.
func (r InletResponse) Validate() error {
	for _, f := range []struct {
		name      string
		value     float64
		low, high float64
	}{
		{"Reference", float64(r.Reference), -100, 200},
		{"PerDegree", r.PerDegree, -1, 1},
		{"Fan", float64(r.Fan), 0, 1e6},
		{"FanKnee", float64(r.FanKnee), -100, 200},
		{"FanGain", r.FanGain, 0, 100},
		{"FanLimit", r.FanLimit, 0, 100},
		{"Low", float64(r.Low), -100, 200},
		{"High", float64(r.High), float64(r.Low), 200},
	} {
		if !(f.value >= f.low && f.value <= f.high) {
			return fmt.Errorf("inlet response: %s is %v: want %v to %v", f.name, f.value, f.low, f.high)
		}
	}
	if r.FanLimit > 0 && r.FanLimit < 1 {
		return fmt.Errorf("inlet response: FanLimit is %v: want 0 for none or at least 1", r.FanLimit)
	}
	if r.Outside != Clamp && r.Outside != Reject {
		return fmt.Errorf("inlet response: Outside is %d: want Clamp or Reject", r.Outside)
	}
	return nil
}

// fans returns the watts of the fans at a temperature.
func (r *InletResponse) fans(t Celsius) float64 {
	speed := 1 + r.FanGain*max(0, float64(t-r.FanKnee))
	if r.FanLimit > 0 {
		speed = min(speed, r.FanLimit)
	}
	return float64(r.Fan) * speed * speed * speed
}

// Inlet is a model whose watts follow the inlet temperature.
type Inlet struct {
	base     Predictor
	response InletResponse
	atRef    float64 // watts of the fans at the reference
}

// NewInlet returns base, which was fitted at the reference temperature of r, with the response r.
func NewInlet(base Predictor, r InletResponse) (*Inlet, error) {
	if base == nil {
		return nil, fmt.Errorf("inlet response: %w", ErrNoModel)
	}
	if err := r.Validate(); err != nil {
		return nil, err
	}
	return &Inlet{base: base, response: r, atRef: r.fans(r.Reference)}, nil
}

// factors returns the line by which base's watts are to be mapped at the state's temperature.
func (m *Inlet) factors(s *State) (scale, offset float64, err error) {
	v, err := s.Value(InputInletTemp)
	if err != nil {
		return 0, 0, err
	}
	r, t := &m.response, Celsius(v)
	if t < r.Low || t > r.High {
		if r.Outside == Reject {
			return 0, 0, fmt.Errorf("node %q: inlet %v, outside %v to %v: %w", s.Node, t, r.Low, r.High, ErrDomain)
		}
		t = min(max(t, r.Low), r.High)
	}
	return 1 + r.PerDegree*float64(t-r.Reference), r.fans(t) - m.atRef, nil
}

// Predict implements [Predictor]. It needs State.InletTemp beside what the base needs.
func (m *Inlet) Predict(ctx context.Context, s State) (Watts, error) {
	scale, offset, err := m.factors(&s)
	if err != nil {
		return 0, err
	}
	w, err := m.base.Predict(ctx, s)
	if err != nil {
		return 0, err
	}
	return check(&s, float64(w)*scale+offset)
}

// PredictBatch implements [BatchPredictor].
func (m *Inlet) PredictBatch(ctx context.Context, states []State, out []Estimate) {
	PredictAll(ctx, m.base, states, out)
	for i := range states {
		scale, offset, err := m.factors(&states[i])
		if err == nil && out[i].Err == nil {
			out[i].Watts, err = check(&states[i], float64(out[i].Watts)*scale+offset)
		}
		if err != nil {
			out[i] = Estimate{Err: err}
		}
	}
}

// PredictInterval implements [IntervalPredictor] where the base does.
func (m *Inlet) PredictInterval(ctx context.Context, s State, level float64) (Interval, error) {
	scale, offset, err := m.factors(&s)
	if err != nil {
		return Interval{}, err
	}
	in, err := PredictInterval(ctx, m.base, s, level)
	if err != nil {
		return Interval{}, err
	}
	return mapped(in, func(w float64) float64 { return w*scale + offset }), nil
}

// mapped applies a rising function to both ends of an interval and keeps it valid.
func mapped(in Interval, f func(float64) float64) Interval {
	low := min(max(f(float64(in.Low)), 0), math.MaxFloat64)
	high := min(max(f(float64(in.High)), low), math.MaxFloat64)
	return Interval{Low: Watts(low), High: Watts(high)}
}

// Base returns the model at the reference temperature.
func (m *Inlet) Base() Predictor { return m.base }

// Response returns how the watts follow the temperature.
func (m *Inlet) Response() InletResponse { return m.response }

// Inputs implements [InputLister]: the inlet temperature and what the base needs.
func (m *Inlet) Inputs() []Input { return with(m.base, InputInletTemp) }

// Domain implements [Domained].
func (m *Inlet) Domain() Domain {
	return within(m.base, InputInletTemp, Range{float64(m.response.Low), float64(m.response.High)})
}
