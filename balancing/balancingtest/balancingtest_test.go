package balancingtest_test

import (
	"context"
	"testing"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/balancingtest"
)

func TestWeighers(t *testing.T) {
	for name, make := range map[string]func() balancing.Weigher{
		"uniform":           func() balancing.Weigher { return balancing.Uniform{} },
		"inverse":           func() balancing.Weigher { return balancing.Inverse{} },
		"optimal":           func() balancing.Weigher { return &balancing.Optimal{} },
		"optimal, no floor": func() balancing.Weigher { return &balancing.Optimal{Floor: -1, Limit: 1} },
		"damped":            func() balancing.Weigher { return balancing.NewDamped(&balancing.Optimal{}, 0.02) },
	} {
		t.Run(name, func(t *testing.T) { balancingtest.TestWeigher(t, make) })
	}
}

// generous gives an unknown endpoint as much as the best, as a failed node weighs 100 in WAO's balancer.
type generous struct{ balancing.Optimal }

func (g *generous) Weigh(ctx context.Context, services []balancing.Service) ([][]balancing.Share, error) {
	out, err := g.Optimal.Weigh(ctx, services)
	for _, row := range out {
		for i := range row {
			if row[i].Err != nil {
				row[i].Value = 1
			}
		}
		sum := 0.0
		for i := range row {
			sum += row[i].Value
		}
		for i := range row {
			row[i].Value /= sum
		}
	}
	return out, err
}

// leaky forgets to divide and shares one answer between callers.
type leaky struct {
	balancing.Uniform
	out [][]balancing.Share
}

func (l *leaky) Weigh(ctx context.Context, services []balancing.Service) ([][]balancing.Share, error) {
	if l.out == nil {
		l.out, _ = l.Uniform.Weigh(ctx, services)
	}
	for _, row := range l.out {
		for i := range row {
			row[i].Value = 1
		}
	}
	return l.out, nil
}

func TestSuiteRefusesBrokenWeighers(t *testing.T) {
	if err := balancingtest.Check(t.Context(), func() balancing.Weigher { return &generous{} }); err == nil {
		t.Error("a weigher that lets unknown endpoints win passes the suite")
	}
	// One law at a time, from one goroutine: leaky is not safe for concurrent use either.
	out, _ := (&leaky{}).Weigh(t.Context(), balancingtest.Services())
	if balancingtest.Valid(balancingtest.Services(), out) == nil {
		t.Error("shares that do not sum to 1 are valid")
	}
}
