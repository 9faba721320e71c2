package profiles

import (
	"context"
	"fmt"

	"github.com/leastwatt/leastwatt/sensors"
)

// reader is the sensors of all profiles as one source, which also tells what BMCs say of the hardware: priors go by it.
type reader struct{ p *Provider }

// String names the source.
func (reader) String() string { return "profile" }

// Read implements [sensors.SensorSource].
func (r reader) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	p := r.p
	n := p.profile(node)
	if n == nil || len(n.source.probes) == 0 {
		return nil, &sensors.Error{Source: "profile", Node: node, Err: sensors.ErrUnknownNode}
	}
	if len(n.source.pending) > 0 { // a new Secret: its first answer is moments away
		source := n.source
		source.waiting.Add(1)
		for _, s := range source.pending {
			p.secrets.wait(ctx, s)
		}
		if now := p.profile(node); now != nil {
			n = now
		}
		source.waiting.Add(-1)
	}
	if n.source.all == nil {
		return nil, &sensors.Error{Source: "profile", Node: node, Err: sensors.ErrUnknownNode}
	}
	readings, err := n.source.all.Read(ctx, node)
	if now := p.profile(node); now != n { // while it was read
		p.forgetPods(node, n, now)
	} else if p.pods != nil && n.rests() { // what it told while it was needed would be waited for
		p.pods.Forget(node)
	}
	return readings, err
}

// Identify implements [sensors.Identifier]. A node without a profile may get one: that is to be asked again soon, unlike
// one whose sensors tell nothing of the hardware.
func (r reader) Identify(ctx context.Context, node string) (sensors.Hardware, error) {
	n := r.p.profile(node)
	switch {
	case n == nil || len(n.source.pending) > 0:
		return sensors.Hardware{}, &sensors.Error{Source: r.String(), Node: node, Err: fmt.Errorf("no profile tells yet how to read it: %w", sensors.ErrUnreachable)}
	case n.source.all == nil || !sensors.Identifies(n.source.all):
		return sensors.Hardware{}, &sensors.Error{Source: r.String(), Node: node, Err: fmt.Errorf("its sensors tell nothing of the hardware: %w", sensors.ErrNoReading)}
	}
	return sensors.Identify(ctx, n.source.all, node)
}
