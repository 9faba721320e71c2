package main

import (
	"errors"
	"math"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

// outlook is what strategies are told of the grids: [batch.Grid]. The hour that holds now is known; what follows is forecast by models that
// were fed with what was before, hour by hour, or is the truth where perfect. It is safe for concurrent use, so
// that all strategies hear the same.
type outlook struct {
	world   *world
	perfect bool
	money   bool
	carbon  float64 // money a gram

	mu    sync.Mutex
	sites map[string]*foreseen // guarded by mu
}

// foreseen are one site's forecasts so far.
type foreseen struct {
	place            place
	intensity, price *foreteller
}

// newOutlook returns what the flags ask for.
func (g *gridOptions) newOutlook(perfect bool) *outlook {
	o := &outlook{world: g.world, perfect: perfect, money: g.objective == "money", carbon: g.carbonPrice / 1e6, sites: map[string]*foreseen{}}
	for _, p := range g.world.sites {
		f := &foreseen{place: p}
		f.intensity = newForeteller(&f.place.intensity, g.world.start, false)
		f.price = newForeteller(&f.place.price, g.world.start, true)
		o.sites[p.id] = f
	}
	return o
}

func (*outlook) Slot() time.Duration { return time.Hour }

// Ahead implements [batch.Grid].
func (o *outlook) Ahead(dst []float64, site string, now time.Duration, n int) []float64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	f, ok := o.sites[site]
	if !ok {
		return dst
	}
	k := int(now / time.Hour)
	n = min(n, 1+forecast.Horizon)
	grams, price := f.intensity.ahead(k, n, o.perfect), f.price.ahead(k, n, o.perfect)
	for t := range max(len(grams), len(price)) {
		g, p := math.NaN(), math.NaN()
		if t < len(grams) {
			g = grams[t]
		}
		if t < len(price) {
			p = price[t]
		}
		v := g * f.place.factor
		if o.money {
			v = p
			if o.carbon > 0 {
				v += g * o.carbon
			}
		}
		dst = append(dst, v*f.place.pue)
	}
	return dst
}

// foreteller keeps the forecasts of one series, made at each hour with what was known then.
type foreteller struct {
	truth *hours
	start time.Time
	model *forecast.Model
	fed   int         // hours of truth observed
	made  [][]float64 // forecasts by hour since start, without the present one
}

func newForeteller(h *hours, start time.Time, additive bool) *foreteller {
	return &foreteller{truth: h, start: start, model: forecast.NewModel(forecast.Options{Additive: additive})}
}

// ahead returns hour k after the start and what follows.
func (f *foreteller) ahead(k, n int, perfect bool) []float64 {
	if len(f.truth.values) == 0 {
		return nil
	}
	out := make([]float64, 0, n)
	if perfect {
		for t := range n {
			out = append(out, f.truth.at(f.start.Add(time.Duration(k+t)*time.Hour)))
		}
		return out
	}
	for len(f.made) <= k {
		f.made = append(f.made, f.foretell(len(f.made)))
	}
	out = append(out, f.truth.at(f.start.Add(time.Duration(k)*time.Hour)))
	return append(out, f.made[k][:min(n-1, len(f.made[k]))]...)
}

// foretell feeds the model until hour k, which is known at its start, and asks it for what follows.
func (f *foreteller) foretell(k int) []float64 {
	until := f.start.Add(time.Duration(k) * time.Hour)
	for ; f.fed < len(f.truth.values); f.fed++ {
		at := f.truth.from.Add(time.Duration(f.fed) * time.Hour)
		if at.After(until) {
			break
		}
		if v := f.truth.values[f.fed]; v == v {
			if err := f.model.Observe(at, v); err != nil {
				return nil // a value that no model takes, such as a negative intensity: unknown
			}
		}
	}
	steps, err := f.model.Forecast(forecast.Horizon)
	if errors.Is(err, forecast.ErrTooShort) || err != nil {
		return nil
	}
	var out []float64
	for _, s := range steps {
		if gap := int(s.Start.Sub(until)/time.Hour) - 1; gap >= 0 { // after a gap in the truth the forecast begins earlier
			for len(out) < gap {
				out = append(out, math.NaN())
			}
			out = append(out, s.Mean)
		}
	}
	return out
}
