package inference

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// Steps says how finely inputs are told apart; an input without a step has DefaultSteps' or else is taken as
// it is. A step must be over 0.
type Steps map[power.Input]float64

// DefaultSteps are 1 % of utilization, half a degree and one pascal: below what sensors resolve, and what a
// server's power shows.
func DefaultSteps() Steps {
	return Steps{power.InputUtilization: 0.01, power.InputInletTemp: 0.5, power.InputPressureDelta: 1}
}

// A grid rounds states, so that near ones are one.
type grid struct {
	inputs []power.Input
	steps  []float64 // 0: as it is
	byNode bool
}

func newGrid(p power.Predictor, s Steps, byNode bool, leaveOut ...power.Input) (*grid, error) {
	inputs, ok := power.Inputs(p)
	if !ok {
		return nil, fmt.Errorf("%T does not tell its inputs: its answers cannot be remembered", p)
	}
	def := DefaultSteps()
	g := &grid{byNode: byNode}
	for _, in := range inputs {
		step, ok := s[in]
		if !ok {
			step = def[in]
		} else if !(step > 0 && step <= math.MaxFloat64) {
			return nil, fmt.Errorf("step of %q is %v: want over 0", in, step)
		}
		if slices.Contains(leaveOut, in) {
			continue
		}
		g.inputs, g.steps = append(g.inputs, in), append(g.steps, step)
	}
	return g, nil
}

// round returns a state at the nearest point of the grid, which shares nothing with s, and its key.
func (g *grid) round(s *power.State) (power.State, string, error) {
	out := power.State{Node: s.Node}
	key := make([]byte, 0, 64)
	for i, in := range g.inputs {
		v, err := s.Value(in)
		if err != nil {
			return out, "", err
		}
		if step := g.steps[i]; step > 0 {
			if r := math.Round(v/step) * step; !math.IsInf(r, 0) && !math.IsNaN(r) {
				v = r
			}
		}
		v += 0 // −0 is 0
		key = binary.LittleEndian.AppendUint64(key, math.Float64bits(v))
		switch in {
		case power.InputUtilization:
			out.Utilization = v
		case power.InputInletTemp:
			out.InletTemp = new(power.Celsius(v))
		case power.InputPressureDelta:
			out.PressureDelta = new(power.Pascals(v))
		default:
			if out.Inputs == nil {
				out.Inputs = make(map[string]float64)
			}
			out.Inputs[string(in)] = v
		}
	}
	if g.byNode {
		key = append(key, s.Node...)
	}
	return out, string(key), nil
}
