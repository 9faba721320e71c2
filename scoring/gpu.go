package scoring

import (
	"errors"
	"fmt"
	"maps"

	"github.com/leastwatt/leastwatt/power"
)

// ErrNoGPU says that a demand wants GPUs and the model of the node does not tell what they draw.
var ErrNoGPU = errors.New("the model says nothing of GPUs")

func (n *Node) noGPU() error { return fmt.Errorf("node %q: model %q: %w", n.Name, n.Model, ErrNoGPU) }

// lookAtGPUs takes what the GPUs do from the inputs. Where that was not read they rest, and who knows it from elsewhere may use the
// model. Those of a server that is off do rest.
func (n *Node) lookAtGPUs() {
	input := string(n.GPU.Input)
	activity, ok := n.State.Inputs[input]
	if ok && !n.Off {
		n.GPUActivity = activity
		return
	}
	if !n.Off && n.Err == nil {
		n.Err, n.Unmeasured = fmt.Errorf("node %q: model %q: %w: %s", n.Name, n.Model, power.ErrMissingInput, input), true
	}
	n.State.Inputs = maps.Clone(n.State.Inputs)
	if n.State.Inputs == nil {
		n.State.Inputs = make(map[string]float64)
	}
	n.State.Inputs[input] = 0
}

// gpuRise returns the watts that the GPUs of a demand add. The node has a GPU term.
func (n *Node) gpuRise(d *Demand) power.Watts {
	return n.GPU.Watts(n.GPUActivity+d.GPUs/float64(n.GPU.Count)) - n.GPU.Watts(n.GPUActivity)
}

// unseenGPU returns what GPUs draw more than the model says at the activity that was measured, for work that
// the measurement does not show yet.
func (n *Node) unseenGPU() power.Watts {
	if n.GPU == nil {
		return 0
	}
	seen, ok := n.State.Inputs[string(n.GPU.Input)]
	if !ok || seen == n.GPUActivity {
		return 0
	}
	return n.GPU.Watts(n.GPUActivity) - n.GPU.Watts(seen)
}

// addGPUs adds what the GPUs of a demand draw to costs in watts.
func addGPUs(costs []Cost, d *Demand, nodes []Node) {
	if d.GPUs <= 0 {
		return
	}
	for i := range nodes {
		switch c := &costs[i]; {
		case c.Err != nil:
		case nodes[i].GPU == nil:
			c.Err = nodes[i].noGPU()
		default:
			c.Value += float64(nodes[i].gpuRise(d))
		}
	}
}

// gpuTerm returns the GPU term of a model, or nil.
func gpuTerm(p power.Predictor) *power.GPU {
	for {
		if a, ok := p.(*power.Additive); ok {
			if g, ok := a.Term().(power.GPU); ok {
				return &g
			}
		}
		wrapper, ok := p.(interface{ Base() power.Predictor })
		if !ok {
			return nil
		}
		p = wrapper.Base()
	}
}
