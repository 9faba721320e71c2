package scoring

import (
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// again is after how long a model is asked anew although nothing that it looks at has changed: another
// program may have changed the model itself.
const again = time.Minute

// asked is a model that was tabulated, beside the node that has its curve.
type asked struct {
	model power.Predictor
	at    time.Time
}

// reuse returns the curve that the last view has of a server, where asking its model again would give the same:
// the model says which inputs it needs, is the one that was asked, and none of them has changed. Otherwise
// it returns nil.
func (v *View) reuse(s *Spec, now *power.State, at time.Time) (*power.Piecewise, time.Time) {
	i, ok := v.index[s.Name]
	if !ok || v.nodes[i].Err != nil && !v.nodes[i].Unmeasured || at.Sub(v.asked[i].at) >= again || !same(v.asked[i].model, s.Predictor) {
		return nil, time.Time{}
	}
	if _, changes := s.Predictor.(Describer); changes {
		return nil, time.Time{}
	}
	curve, ok := v.nodes[i].Predictor.(*power.Piecewise)
	inputs, lists := power.Inputs(s.Predictor)
	if !ok || !lists || !sameInputs(inputs, &v.nodes[i].State, now) {
		return nil, time.Time{}
	}
	return curve, v.asked[i].at
}

// sameInputs tells whether two states differ in nothing that a model of these inputs looks at, other than
// utilization. Inlet temperature and pressure count always: some models use them where they are there.
func sameInputs(inputs []power.Input, a, b *power.State) bool {
	if !equal(a.InletTemp, b.InletTemp) || !equal(a.PressureDelta, b.PressureDelta) {
		return false
	}
	for _, in := range inputs {
		switch in {
		case power.InputUtilization, power.InputInletTemp, power.InputPressureDelta:
			continue
		}
		x, ok := a.Inputs[string(in)]
		y, still := b.Inputs[string(in)]
		if ok != still || x != y {
			return false
		}
	}
	return true
}

func equal[T comparable](a, b *T) bool {
	if a == nil || b == nil {
		return a == b
	}
	return *a == *b
}
