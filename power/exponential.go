package power

import (
	"context"
	"math"
)

// Exponential is the model of the PEAKS scheduler plugin (kubernetes-sigs/scheduler-plugins), with its
// coefficients in its units: P = K0 + K1·e^(K2·x), where x is CPU use in percent, clamped to 0–100. A
// K1 and a K2 that are both negative make a curve that is steep at low load and flat at high.
type Exponential struct {
	K0 float64 // watts
	K1 float64 // watts
	K2 float64 // per percent of CPU
}

// Predict implements [Predictor].
func (e Exponential) Predict(_ context.Context, s State) (Watts, error) {
	u, err := utilization(&s)
	if err != nil {
		return 0, err
	}
	return check(&s, e.K0+e.K1*math.Exp(e.K2*100*u))
}

// Inputs implements [InputLister].
func (Exponential) Inputs() []Input { return []Input{InputUtilization} }

// Domain implements [Domained]: utilization 0 to 1.
func (Exponential) Domain() Domain { return unit() }
