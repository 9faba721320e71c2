package scoring

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors"
)

// A Node is a server that may be given work, as it is now.
type Node struct {
	Name     string
	Capacity power.Capacity

	// State is what was measured, with what the measurements cannot show yet added.
	State power.State

	// Predictor is the model of this server. A [*power.Piecewise] is the fast form; see [Fleet].
	Predictor power.Predictor

	// Off says that the server is switched off or suspended and draws OffPower.
	Off bool

	// OffPower is what the server draws while switched off or suspended.
	OffPower power.Watts

	// Meter tells what electricity costs where the node is; nil where that is not known.
	Meter *Meter

	// Err says why the node's state or model is not known; no scorer then gives it a value.
	Err error

	// Model names the model and where it is from, for explanations.
	Model string

	// Prior says that the model is a published or statistical one, not fitted to this server.
	Prior bool

	// Unmeasured says that Err is about the utilization alone, of CPUs or of GPUs: the model is ready, and what knows the load
	// from elsewhere may use it, see [Node.Assume].
	Unmeasured bool

	// Assumed names where State.Utilization is from when it was not measured: "requests". "" is measured.
	Assumed string

	// GPU is the part of the model that GPUs decide; nil where it has none. GPUActivity is their mean activity
	// now, 0 to 1, with what the measurements cannot show yet.
	GPU         *power.GPU
	GPUActivity float64

	// Empty says that no work is on the server that could not be elsewhere; Wake is the energy that it takes to
	// start or resume it, 0 where that is not known or does not count. See [Waking].
	Empty bool
	Wake  power.Joules

	// Readings are the measurements behind State, for explanations; nil when there are none.
	Readings *sensors.NodeReadings
}

// Assume says what the utilization of a node that was not measured is taken to be, and by what. It leaves
// nodes alone whose utilization was measured or whose model is not ready.
func (n *Node) Assume(utilization float64, by string) {
	if n.Unmeasured {
		n.Unmeasured, n.Err, n.Assumed = false, nil, by
		n.State.Utilization = utilization
	}
}

// Power predicts what the whole server draws without and with a demand, or why that is not known. What does not
// fit is an error that wraps [ErrOverCapacity].
func (n *Node) Power(ctx context.Context, d *Demand) (before, after power.Watts, err error) {
	u, err := n.after(d)
	if err != nil {
		return 0, 0, err
	}
	if before, err = n.Predictor.Predict(ctx, n.State); err != nil {
		return 0, 0, err
	}
	if after, err = n.Predictor.Predict(ctx, n.add(d, u)); err != nil {
		return 0, 0, err
	}
	if n.Off {
		before = n.OffPower
	} else {
		before += n.unseenGPU()
	}
	if d.GPUs > 0 {
		if n.GPU == nil {
			return 0, 0, n.noGPU()
		}
		after += n.gpuRise(d)
	}
	return before, after + n.unseenGPU(), nil
}

// Draw predicts what the whole server draws with a demand added, which may be none or below none. More than the
// server can do counts as full load, and less than nothing as none.
func (n *Node) Draw(ctx context.Context, d *Demand) (power.Watts, error) {
	idle := d.CPU == 0 && d.GPUs == 0
	u, err := n.after(d)
	switch {
	case idle && n.Off && n.Err == nil:
		return n.OffPower, nil
	case errors.Is(err, ErrOverCapacity):
		u = 1
	case err != nil:
		return 0, err
	case d.GPUs != 0 && n.GPU == nil:
		return 0, n.noGPU()
	}
	w, err := n.Predictor.Predict(ctx, n.add(d, max(u, 0)))
	if err != nil {
		return 0, err
	}
	w += n.unseenGPU()
	if d.GPUs != 0 {
		w += n.gpuRise(d)
	}
	return w, nil
}

// after returns the node's utilization with a demand added, or why it cannot be told or does not fit.
func (n *Node) after(d *Demand) (float64, error) {
	if n.Err != nil {
		return 0, n.Err
	}
	if n.Predictor == nil {
		return 0, fmt.Errorf("node %q: %w", n.Name, power.ErrNoModel)
	}
	work := n.Capacity.Work()
	before := n.State.Utilization
	if !(work > 0) || !(before >= 0) {
		return 0, n.invalid()
	}
	u := before + d.CPU/work
	if u > 1+1e-9 {
		return u, &overCapacity{node: n.Name, utilization: u}
	}
	return u, nil
}

func (n *Node) invalid() error {
	if work := n.Capacity.Work(); !(work > 0) {
		return fmt.Errorf("node %q: capacity is %v cores: %w", n.Name, work, errCapacity)
	}
	return fmt.Errorf("node %q: utilization is %v: %w", n.Name, n.State.Utilization, power.ErrMissingInput)
}

var errCapacity = errors.New("capacity must be above 0")

// overCapacity is kept small and is formatted only when somebody reads it: a full cluster makes many.
type overCapacity struct {
	node        string
	utilization float64
}

func (e *overCapacity) Error() string {
	return fmt.Sprintf("node %q: %v: utilization would be %.3g", e.node, ErrOverCapacity, e.utilization)
}

func (e *overCapacity) Unwrap() error { return ErrOverCapacity }

// add returns the state with a demand added, at a utilization.
func (n *Node) add(d *Demand, utilization float64) power.State {
	s := n.State.With(utilization)
	if len(d.Inputs) > 0 {
		inputs := make(map[string]float64, len(s.Inputs)+len(d.Inputs))
		maps.Copy(inputs, s.Inputs)
		for k, v := range d.Inputs {
			inputs[k] += v
		}
		s.Inputs = inputs
	}
	return s
}
