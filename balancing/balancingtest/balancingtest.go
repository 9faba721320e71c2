// Package balancingtest checks that a Weigher keeps the promises of package balancing. Run it in a test of
// every weigher of your own.
package balancingtest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// TestWeigher runs the suite against the weighers that make returns, a new one for each law: one share an
// endpoint in order, not negative and summing to 1; unknown never wins and says why; nobody known is uniform;
// an invalid Service is refused by name; an ended context is an error; concurrent use is safe; the Services
// stay as they were and the shares belong to the caller.
func TestWeigher(t *testing.T, make func() balancing.Weigher) {
	t.Helper()
	for name, law := range laws {
		t.Run(name, func(t *testing.T) {
			if err := law(t.Context(), make()); err != nil {
				t.Error(err)
			}
		})
	}
}

// Check runs the laws of the suite without a test and returns what was broken, joined; nil if nothing was.
func Check(ctx context.Context, make func() balancing.Weigher) error {
	var errs []error
	for name, law := range laws {
		if err := law(ctx, make()); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

var laws = map[string]func(context.Context, balancing.Weigher) error{
	"shares sum to 1":              sums,
	"unknown never wins":           unknownLoses,
	"nobody known is uniform":      nobodyKnown,
	"invalid Services are refused": invalid,
	"ended context is an error":    ended,
	"concurrent use":               concurrent,
	"nothing is kept":              nothingKept,
	"an overload is still divided": overload,
}

func curve(watts ...power.Watts) *power.Piecewise {
	p, err := power.EvenPiecewise(watts...)
	if err != nil {
		panic(err) // constants of this file
	}
	return p
}

func node(name string, cores, utilization float64, p power.Predictor) *scoring.Node {
	return &scoring.Node{Name: name, Capacity: power.Capacity{Cores: cores}, State: power.State{Node: name, Utilization: utilization}, Predictor: p}
}

// Services returns a new copy of what the suite weighs: three Services on six servers, two of them unknown,
// several endpoints on one server, background load, and a Service without endpoints.
func Services() []balancing.Service {
	broken := node("broken", 16, 0.1, curve(1, 2))
	broken.Err = errors.New("sensor is gone")
	nodes := []*scoring.Node{
		node("dear", 16, 0.3, curve(100, 200, 400)),
		node("cheap", 32, 0.1, curve(80, 150, 180)),
		node("steep-first", 64, 0, curve(60, 140, 150, 160, 250)),
		broken,
		node("no-model", 8, 0, nil),
		node("behind-interface", 16, 0.2, hidden{curve(90, 190)}),
	}
	at := func(ids ...int) []balancing.Endpoint {
		out := make([]balancing.Endpoint, len(ids))
		for i, id := range ids {
			out[i] = balancing.Endpoint{ID: fmt.Sprintf("10.0.%d.%d:80", id, i), Node: nodes[id]}
		}
		return out
	}
	return []balancing.Service{
		{Name: "shop/web:http", Rate: 100, CPU: 0.05, Endpoints: at(0, 1, 1, 2, 3, 4, 5)},
		{Name: "shop/empty:http", Rate: 5},
		{Name: "shop/cart:http", Rate: 40, CPU: 0.2, Endpoints: at(0, 2, 5)},
		{Name: "shop/quiet:http", Endpoints: at(1, 2, 4)},
	}
}

type hidden struct{ p power.Predictor }

func (h hidden) Predict(ctx context.Context, s power.State) (power.Watts, error) {
	return h.p.Predict(ctx, s)
}

func sums(ctx context.Context, w balancing.Weigher) error {
	services := Services()
	out, err := w.Weigh(ctx, services)
	if err != nil {
		return err
	}
	return Valid(services, out)
}

// Valid returns an error that says where shares do not have the Services' shape, are not a division, or give
// an unknown endpoint more than a known one.
func Valid(services []balancing.Service, shares [][]balancing.Share) error {
	if len(shares) != len(services) {
		return fmt.Errorf("%d rows of shares for %d Services", len(shares), len(services))
	}
	for i, row := range shares {
		s := &services[i]
		if len(row) != len(s.Endpoints) {
			return fmt.Errorf("service %q: %d shares for %d endpoints", s.Name, len(row), len(s.Endpoints))
		}
		sum, least, most := 0.0, math.Inf(1), 0.0
		for j, r := range row {
			if !(r.Value >= 0 && r.Value <= 1+1e-9) {
				return fmt.Errorf("service %q: share of endpoint %q is %v", s.Name, s.Endpoints[j].ID, r.Value)
			}
			sum += r.Value
			if r.Err == nil {
				least = min(least, r.Value)
			} else {
				most = max(most, r.Value)
			}
		}
		if len(row) > 0 && math.Abs(sum-1) > 1e-9 {
			return fmt.Errorf("service %q: shares sum to %v", s.Name, sum)
		}
		if most > least+1e-12 {
			return fmt.Errorf("service %q: an unknown endpoint gets %v, a known one %v", s.Name, most, least)
		}
	}
	return nil
}

func unknownLoses(ctx context.Context, w balancing.Weigher) error {
	services := Services()
	out, err := w.Weigh(ctx, services)
	if err != nil {
		return err
	}
	if err := Valid(services, out); err != nil {
		return err
	}
	for i := range services {
		for j, e := range services[i].Endpoints {
			unknown := e.Node.Err != nil || e.Node.Predictor == nil
			if unknown != (out[i][j].Err != nil) {
				return fmt.Errorf("service %q: endpoint %q on node %q: Err is %v", services[i].Name, e.ID, e.Node.Name, out[i][j].Err)
			}
			if e.Node.Err != nil && !errors.Is(out[i][j].Err, e.Node.Err) {
				return fmt.Errorf("endpoint %q: the node's reason is lost: %v", e.ID, out[i][j].Err)
			}
		}
	}
	return nil
}

func nobodyKnown(ctx context.Context, w balancing.Weigher) error {
	services := Services()
	for i := range services {
		for j := range services[i].Endpoints {
			services[i].Endpoints[j].Node = nil
		}
	}
	out, err := w.Weigh(ctx, services)
	if err != nil {
		return err
	}
	for i, row := range out {
		for j, r := range row {
			if math.Abs(r.Value-1/float64(len(row))) > 1e-12 || r.Err == nil {
				return fmt.Errorf("service %q: endpoint %d of %d gets %v, Err %v", services[i].Name, j, len(row), r.Value, r.Err)
			}
		}
	}
	return nil
}

func invalid(ctx context.Context, w balancing.Weigher) error {
	for _, v := range []float64{math.NaN(), math.Inf(1), -1, 1e99} {
		for field, set := range map[string]func(*balancing.Service){
			"rate": func(s *balancing.Service) { s.Rate = v },
			"CPU":  func(s *balancing.Service) { s.CPU = v },
			"load": func(s *balancing.Service) { s.Endpoints[0].Load = v },
		} {
			services := Services()
			set(&services[2])
			if _, err := w.Weigh(ctx, services); err == nil || !strings.Contains(err.Error(), services[2].Name) {
				return fmt.Errorf("%s %v of %s: error is %v", field, v, services[2].Name, err)
			}
		}
	}
	return nil
}

func ended(ctx context.Context, w balancing.Weigher) error {
	ctx, cancel := context.WithCancel(ctx)
	cancel()
	if _, err := w.Weigh(ctx, Services()); !errors.Is(err, context.Canceled) {
		return fmt.Errorf("error is %v", err)
	}
	return nil
}

func concurrent(ctx context.Context, w balancing.Weigher) error {
	services := Services()
	errs := make([]error, 8)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() {
			for range 20 {
				out, err := w.Weigh(ctx, services)
				if err == nil {
					err = Valid(services, out)
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}

func nothingKept(ctx context.Context, w balancing.Weigher) error {
	services := Services()
	first, err := w.Weigh(ctx, services)
	if err != nil {
		return err
	}
	want := make([][]balancing.Share, len(first))
	for i := range first {
		want[i] = slices.Clone(first[i])
	}
	second, err := w.Weigh(ctx, Services())
	if err != nil {
		return err
	}
	for i := range second {
		for j := range second[i] {
			second[i][j].Value = math.NaN()
		}
	}
	for i := range first {
		for j := range first[i] {
			if first[i][j].Value != want[i][j].Value {
				return fmt.Errorf("service %q: share %d changed after the call: it belongs to the caller", services[i].Name, j)
			}
		}
	}
	for i, s := range Services() {
		for j, e := range s.Endpoints {
			if got := services[i].Endpoints[j]; got.ID != e.ID || got.Load != e.Load || got.Node.State.Utilization != e.Node.State.Utilization {
				return fmt.Errorf("service %q: endpoint %d was changed", s.Name, j)
			}
		}
	}
	return nil
}

func overload(ctx context.Context, w balancing.Weigher) error {
	services := Services()
	for i := range services {
		services[i].Rate = 1e6
	}
	out, err := w.Weigh(ctx, services)
	if err != nil {
		return err
	}
	return Valid(services, out)
}
