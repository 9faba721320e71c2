package balancing

import (
	"context"
	"math"
)

// A Weigher divides the requests of Services between their endpoints, all in one call, because Services share
// servers.
//
// Weigh returns one slice a Service and one Share an endpoint, in order. The shares of a Service are finite,
// not negative and sum to 1; a Service without endpoints has none. An endpoint whose server is unknown gets
// at most as much as each endpoint of that Service whose server is known, and its Share says why; if none is
// known, all get the same. The error concerns the call: an invalid Service, an ended ctx; there are no shares
// then, and the caller keeps those it has. Weigh does no input or output, does not change or keep the
// Services, and is safe for concurrent use; the shares belong to the caller.
type Weigher interface {
	Weigh(ctx context.Context, services []Service) ([][]Share, error)
}

// A Share is the part of a Service's requests that one endpoint gets.
type Share struct {
	// Value is the part, 0 to 1.
	Value float64

	// Err says why the endpoint's server is unknown; nil when it is known.
	Err error
}

// allocate returns a Share for every endpoint, in one block of memory.
func allocate(services []Service) [][]Share {
	n := 0
	for i := range services {
		n += len(services[i].Endpoints)
	}
	all, out := make([]Share, n), make([][]Share, len(services))
	for i := range services {
		k := len(services[i].Endpoints)
		out[i], all = all[:k:k], all[k:]
	}
	return out
}

// normalize scales shares to the sum 1. Where there is nothing to scale, all get the same.
func normalize(shares []Share) {
	sum := 0.0
	for i := range shares {
		sum += shares[i].Value
	}
	if !(sum > 0) || math.IsInf(sum, 0) {
		uniform(shares)
		return
	}
	for i := range shares {
		shares[i].Value /= sum
	}
}

func uniform(shares []Share) {
	for i := range shares {
		shares[i].Value = 1 / float64(len(shares))
	}
}

// Uniform gives every endpoint the same share, as kube-proxy does.
type Uniform struct{}

// Weigh implements [Weigher].
func (Uniform) Weigh(ctx context.Context, services []Service) ([][]Share, error) {
	if err := validate(services); err != nil {
		return nil, err
	}
	out := allocate(services)
	for i := range services {
		uniform(out[i])
		for j := range out[i] {
			out[i][j].Err = known(&services[i].Endpoints[j])
		}
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return out, nil
}
