package balancing

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// Damped is a Weigher that moves towards the shares of another one by steps, so that one noisy reading moves
// no share by more than a set step. Only what the contract of Weigher and a change of the endpoints themselves
// demand comes at once: an endpoint that is gone has nothing, a new one starts at its share or the neutral
// one, whichever is less, an unknown one never has more than a known one, and when none is known any more all
// have the same. So does a Service start: at the first shares for which the servers of half its endpoints are known.
//
// It remembers the shares of the Services by name and endpoint ID, and counts on being asked by one refresh loop:
// calls are serialised.
type Damped struct {
	// Every is the time in which a share may move by a step, for whoever asks more often than sensors are read: at
	// every change of the endpoints, say. 0 means that it may at every call.
	Every time.Duration

	weigher Weigher
	step    float64

	mu   sync.Mutex
	last Past      // guarded by mu: where the steps of now begin
	at   time.Time // guarded by mu: when that was
}

// DefaultStep is by how much a share of a [Damped] weigher may move at a time.
const DefaultStep = 0.1

// NewDamped returns a weigher that moves no share of w by more than step at a time; 0 means DefaultStep.
func NewDamped(w Weigher, step float64) *Damped {
	if !(step > 0) {
		step = DefaultStep
	}
	return &Damped{weigher: w, step: step}
}

// Weigh implements [Weigher].
func (d *Damped) Weigh(ctx context.Context, services []Service) ([][]Share, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	out, err := d.weigher.Weigh(ctx, services)
	if err != nil {
		return nil, err
	}
	for i := range services {
		s := &services[i]
		if last := d.last.Row(s.Name); last.Len() > 0 && anyKnown(out[i]) && (last.known || !mostKnown(out[i])) {
			d.damp(s, out[i], last)
		}
	}
	if now := time.Now(); d.at.IsZero() || now.Sub(d.at) >= d.Every {
		d.last.Keep(services, out)
		d.at = now
	}
	return out, nil
}

func anyKnown(row []Share) bool {
	return slices.ContainsFunc(row, func(s Share) bool { return s.Err == nil })
}

func mostKnown(row []Share) bool {
	n := 0
	for i := range row {
		if row[i].Err == nil {
			n++
		}
	}
	return n > 0 && 2*n >= len(row)
}

// damp moves from the last shares towards row.
func (d *Damped) damp(s *Service, row []Share, last *PastRow) {
	from, stayed, joined := make([]float64, len(row)), 0.0, 0.0
	isNew := make([]bool, len(row))
	for j := range row {
		v, ok := last.Share(j, s.Endpoints[j].ID)
		if isNew[j] = !ok; ok {
			stayed += v
		} else {
			v = min(row[j].Value, 1/float64(len(row)))
			joined += v
		}
		from[j] = v
	}
	if !(stayed > 0) {
		return // nothing is left of what there was
	}
	far := 0.0
	for j := range from {
		if !isNew[j] {
			from[j] *= (1 - joined) / stayed
		}
		far = max(far, math.Abs(row[j].Value-from[j]))
	}
	if t := min(1, d.step/far); far > 0 {
		for j := range row {
			row[j].Value = from[j] + t*(row[j].Value-from[j])
		}
	}
	humble(row)
}

// humble takes from unknown endpoints what they have above the least of the known ones and gives it to those
// in proportion.
func humble(row []Share) {
	least, knowns, excess, n := math.Inf(1), 0.0, 0.0, 0
	for _, r := range row {
		if r.Err == nil {
			least, knowns = min(least, r.Value), knowns+r.Value
			n++
		}
	}
	if n == 0 || n == len(row) {
		return
	}
	for j := range row {
		if row[j].Err != nil && row[j].Value > least {
			excess += row[j].Value - least
			row[j].Value = least
		}
	}
	if excess == 0 {
		return
	}
	for j := range row {
		if row[j].Err == nil {
			if knowns > 0 {
				row[j].Value *= 1 + excess/knowns
			} else {
				row[j].Value = excess / float64(n)
			}
		}
	}
}
