package power

import (
	"context"
	"math"
)

// FanExponent is the r of the [Fan] model that its authors found to fit their servers.
const FanExponent = 1.4

// Fan is the empirical model of Fan, Weber and Barroso, "Power Provisioning for a Warehouse-sized
// Computer" (ISCA 2007, section 3.2): P(u) = Idle + (Peak − Idle)·(2u − u^Exponent), with the utilization
// clamped to 0–1.
type Fan struct {
	Idle     Watts   // at utilization 0
	Peak     Watts   // at utilization 1
	Exponent float64 // r, fitted per server type; 0 means [FanExponent]
}

// Predict implements [Predictor].
func (f Fan) Predict(_ context.Context, s State) (Watts, error) {
	u, err := utilization(&s)
	if err != nil {
		return 0, err
	}
	r := f.Exponent
	if r == 0 {
		r = FanExponent
	}
	return check(&s, float64(f.Idle)+float64(f.Peak-f.Idle)*(2*u-math.Pow(u, r)))
}

// Inputs implements [InputLister].
func (Fan) Inputs() []Input { return []Input{InputUtilization} }

// Domain implements [Domained]: utilization 0 to 1.
func (Fan) Domain() Domain { return unit() }
