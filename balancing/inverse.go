package balancing

import (
	"context"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// Inverse weighs an endpoint by min(w+1)/(w+1), w the watts that one request of the Service's CPU adds to its
// node as measured: the formula of WAO's load balancer without its rounding. A ratio spreads requests where
// the optimum is a corner, so it is here to be compared with; use [Optimal].
//
// An unknown endpoint weighs as little as the least of the known ones.
type Inverse struct{}

// Weigh implements [Weigher].
func (Inverse) Weigh(ctx context.Context, services []Service) ([][]Share, error) {
	if err := validate(services); err != nil {
		return nil, err
	}
	out := allocate(services)
	for i := range services {
		inverse(ctx, &services[i], out[i])
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return out, nil
}

func inverse(ctx context.Context, s *Service, out []Share) {
	cpu := s.CPU
	if cpu == 0 {
		cpu = DefaultCPU
	}
	least, some := 0.0, false
	for i := range out {
		e := &s.Endpoints[i]
		var w power.Watts
		if out[i].Err = known(e); out[i].Err == nil {
			w, out[i].Err = added(ctx, e.Node, cpu)
		}
		if out[i].Err != nil {
			continue
		}
		v := 1 / (float64(max(w, 0)) + 1)
		if out[i].Value = v; !some || v < least {
			least, some = v, true
		}
	}
	if !some {
		uniform(out)
		return
	}
	for i := range out {
		if out[i].Err != nil {
			out[i].Value = least
		}
	}
	normalize(out)
}

// added returns the watts that cpu cores of work add to a node that is known.
func added(ctx context.Context, n *scoring.Node, cpu float64) (power.Watts, error) {
	// A curve ends at full load: a busier server must not look cheap for that.
	after := min(n.State.Utilization+cpu/n.Capacity.Work(), 1)
	before := max(after-cpu/n.Capacity.Work(), 0)
	if p, ok := n.Predictor.(*power.Piecewise); ok {
		return p.Rise(before, after), nil
	}
	states := []power.State{n.State.With(before), n.State.With(after)}
	var est [2]power.Estimate
	power.PredictAll(ctx, n.Predictor, states, est[:])
	for _, e := range est {
		if e.Err != nil {
			return 0, e.Err
		}
	}
	return est[1].Watts - est[0].Watts, nil
}
