package power

import "context"

// Linear is the straight line from idle to peak: P(u) = Idle + (Peak − Idle)·u, with the utilization
// clamped to 0–1. It is the crudest model that still tells an efficient server from another.
type Linear struct {
	Idle Watts // at utilization 0
	Peak Watts // at utilization 1
}

// Predict implements [Predictor].
func (l Linear) Predict(_ context.Context, s State) (Watts, error) {
	u, err := utilization(&s)
	if err != nil {
		return 0, err
	}
	return check(&s, float64(l.Idle)+float64(l.Peak-l.Idle)*u)
}

// Inputs implements [InputLister].
func (Linear) Inputs() []Input { return []Input{InputUtilization} }

// Domain implements [Domained]: utilization 0 to 1.
func (Linear) Domain() Domain { return unit() }
