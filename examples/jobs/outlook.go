package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// horizon is how far ahead is planned.
const horizon = 96 * time.Hour

// An Outlook is what is known of each site's carbon intensity now and for the next days. It is immutable.
type Outlook struct {
	Points [][]grid.Point // by site, by start; none where nothing is known
	Errs   []error        // by site: why nothing new is known
	Told   []time.Time    // by site: when the source told something at last; zero: never
}

// mean returns the mean intensity of a site over a time in g/kWh, or NaN where less than half of it is known.
func (o *Outlook) mean(site int, from, until time.Time) float64 {
	if o == nil || site >= len(o.Points) {
		return math.NaN()
	}
	ps := o.Points[site]
	i, _ := slices.BinarySearchFunc(ps, from, func(p grid.Point, t time.Time) int {
		if p.End.After(t) {
			return 1
		}
		return -1
	})
	var sum, known float64
	for ; i < len(ps) && ps[i].Start.Before(until); i++ {
		s, e := ps[i].Start, ps[i].End
		if s.Before(from) {
			s = from
		}
		if e.After(until) {
			e = until
		}
		if d := e.Sub(s).Seconds(); d > 0 {
			sum += d * ps[i].Value
			known += d
		}
	}
	if known == 0 || known < until.Sub(from).Seconds()/2 {
		return math.NaN()
	}
	return sum / known
}

// look asks a source about every site. What it cannot tell stays as the last outlook had it, as far as that reaches.
func look(ctx context.Context, source grid.Source, sites []Site, now time.Time, last *Outlook) *Outlook {
	o := &Outlook{Points: make([][]grid.Point, len(sites)), Errs: make([]error, len(sites)), Told: make([]time.Time, len(sites))}
	var wg sync.WaitGroup
	for k := range sites {
		wg.Go(func() {
			ps, err := ask(ctx, source, sites[k].Zone, now)
			if len(ps) > 0 {
				o.Told[k] = now
			} else if last != nil && k < len(last.Points) {
				o.Told[k] = last.Told[k]
				ps = slices.DeleteFunc(slices.Clone(last.Points[k]), func(p grid.Point) bool { return !p.End.After(now) })
			}
			o.Points[k], o.Errs[k] = ps, err
		})
	}
	wg.Wait()
	return o
}

func ask(ctx context.Context, source grid.Source, zone string, now time.Time) ([]grid.Point, error) {
	if source == nil {
		return nil, fmt.Errorf("zone %q: no grid signal is configured: %w", zone, grid.ErrUnknown)
	}
	ps, err := grid.Forecast(ctx, source, zone, now, now.Add(horizon))
	current, currentErr := source.Current(ctx, zone)
	if currentErr == nil && current.Covers(now) && (len(ps) == 0 || ps[0].Start.After(now)) {
		if len(ps) > 0 && current.End.After(ps[0].Start) {
			current.End = ps[0].Start
		}
		ps = append([]grid.Point{current}, ps...)
	}
	for i, p := range ps {
		if e := p.Validate(); e != nil {
			return nil, e
		}
		if p.Zone != zone {
			return nil, fmt.Errorf("asked for zone %q, got %q: %w", zone, p.Zone, grid.ErrImplausible)
		}
		if i > 0 && p.Start.Before(ps[i-1].End) {
			return nil, fmt.Errorf("zone %q: the points at %v and %v overlap: %w", zone, ps[i-1].Start, p.Start, grid.ErrImplausible)
		}
	}
	return ps, errors.Join(err, currentErr)
}

// zones names the zones of the sites.
func (e *Engine) zones() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []string
	for _, s := range e.fleet.sites {
		if s.Zone != "" && !slices.Contains(out, s.Zone) {
			out = append(out, s.Zone)
		}
	}
	return out
}

// byZone is a source that has one of its own for each zone, such as KubeEnergyScheduler's profiles.
type byZone map[string]*grid.Profile

func (b byZone) Signal() grid.Signal { return grid.AverageLifeCycle }

func (b byZone) zone(zone string) (*grid.Profile, error) {
	if p := b[zone]; p != nil {
		return p, nil
	}
	return nil, fmt.Errorf("zone %q: %w", zone, grid.ErrUnknownZone)
}

func (b byZone) Current(ctx context.Context, zone string) (grid.Point, error) {
	p, err := b.zone(zone)
	if err != nil {
		return grid.Point{}, err
	}
	return p.Current(ctx, zone)
}

func (b byZone) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	p, err := b.zone(zone)
	if err != nil {
		return nil, err
	}
	return p.Forecast(ctx, zone, from, until)
}

func (b byZone) History(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	p, err := b.zone(zone)
	if err != nil {
		return nil, err
	}
	return p.History(ctx, zone, from, until)
}

// ahead is the outlook as the strategies of package batch ask for it. It is asked while the engine's lock is held.
type ahead struct{ e *Engine }

// Slot implements [batch.Grid].
func (a ahead) Slot() time.Duration { return 15 * time.Minute }

// Ahead implements [batch.Grid].
func (a ahead) Ahead(dst []float64, site string, now time.Duration, n int) []float64 {
	k := slices.IndexFunc(a.e.fleet.sites, func(s Site) bool { return s.Name == site })
	o := a.e.outlook.Load()
	if k < 0 || o == nil {
		return dst
	}
	from, factor := epoch.Add(now.Truncate(a.Slot())), a.e.fleet.sites[k].factor()
	for i := range n {
		at := from.Add(time.Duration(i) * a.Slot())
		dst = append(dst, o.mean(k, at, at.Add(a.Slot()))*factor)
	}
	return dst
}
