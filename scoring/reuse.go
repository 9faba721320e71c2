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
	until time.Time // the node is the same before then, while its readings and its spec are; zero is not known
}

// until returns before when a server that was found at now stays as it is, while its readings and its spec do: no
// reading becomes stale, and its model need not be asked.
func (f *Fleet) until(s *Spec, n *Node, a *asked, now time.Time) time.Time {
	if n.Err != nil || n.Readings == nil {
		return time.Time{}
	}
	if _, changes := s.Predictor.(Describer); changes {
		return time.Time{}
	}
	if _, lists := power.Inputs(s.Predictor); !lists {
		return time.Time{}
	}
	until := a.at.Add(again)
	for i := range n.Readings.Readings {
		at := n.Readings.Readings[i].At
		switch age := now.Sub(at); {
		case age > f.opts.MaxAge:
			continue // for ever
		case age < -f.opts.MaxAge:
			at = at.Add(-f.opts.MaxAge)
		default:
			at = at.Add(f.opts.MaxAge)
		}
		if at.Before(until) {
			until = at
		}
	}
	return until
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
