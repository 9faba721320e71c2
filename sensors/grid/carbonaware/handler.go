package carbonaware

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// HandlerOptions bound a [Handler]. The zero value works.
type HandlerOptions struct {
	MaxLocations int           // in one question; 0 means 20
	MaxRange     time.Duration // between the times of one question; 0 means 31 days
	MaxPoints    int           // in one answer; 0 means 20,000
	Timeout      time.Duration // of one question to the source; 0 means 30 seconds

	// Zones tells the locations that there are, which /locations lists; nil asks the source, where it has a method Zones() []string. Where it names some, the source is
	// asked about no others. It is safe for concurrent use.
	Zones func() []string

	// Now tells the time; nil means [time.Now].
	Now func() time.Time
}

// A Handler answers the SDK's GET routes from a source: below /emissions bylocation, bylocations, bylocations/best,
// forecasts/current and average-carbon-intensity, and /locations. Locations are the source's zones. A question that is wrong is
// answered with 400 and a problem that names the parameter, and so is, as the SDK has it, a zone that the source lacks; a source without
// history or forecast with 501, nothing known with 204, and a source that fails with 500, without its reasons. Of several locations those are left out of which nothing is known.
type Handler struct {
	source grid.Source
	opts   HandlerOptions
	mux    *http.ServeMux
}

// NewHandler returns a handler that answers from s, whose signal must be an intensity.
func NewHandler(s grid.Source, o HandlerOptions) (*Handler, error) {
	if s.Signal() == grid.Price || !s.Signal().Valid() {
		return nil, fmt.Errorf("carbonaware: a source of %q: want an intensity", s.Signal())
	}
	if o.MaxLocations <= 0 {
		o.MaxLocations = 20
	}
	if o.MaxRange <= 0 {
		o.MaxRange = 31 * 24 * time.Hour
	}
	if o.MaxPoints <= 0 {
		o.MaxPoints = 20_000
	}
	if o.Timeout <= 0 {
		o.Timeout = 30 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if z, ok := s.(interface{ Zones() []string }); ok && o.Zones == nil {
		o.Zones = z.Zones
	}
	h := &Handler{source: s, opts: o, mux: http.NewServeMux()}
	h.mux.HandleFunc("GET /locations", func(w http.ResponseWriter, _ *http.Request) {
		answer, err := h.locations()
		reply(w, answer, err)
	})
	for path, f := range map[string]func(context.Context, *query) (any, error){
		"bylocation":               h.byLocations,
		"bylocations":              h.byLocations,
		"bylocations/best":         h.best,
		"forecasts/current":        h.forecasts,
		"average-carbon-intensity": h.average,
	} {
		h.mux.HandleFunc("GET /emissions/"+path, func(w http.ResponseWriter, r *http.Request) {
			ctx, cancel := context.WithTimeout(r.Context(), o.Timeout)
			defer cancel()
			q, err := parseQuery(r.URL.RawQuery, path, &h.opts)
			if err == nil {
				err = h.has(q.locations)
			}
			var answer any
			if err == nil {
				answer, err = f(ctx, q)
			}
			reply(w, answer, err)
		})
	}
	return h, nil
}

// ServeHTTP implements [http.Handler].
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.mux.ServeHTTP(w, r) }

// has refuses locations that are not among those that there are.
func (h *Handler) has(locations []string) error {
	if h.opts.Zones == nil {
		return nil
	}
	if zones := h.opts.Zones(); len(zones) > 0 {
		for _, l := range locations {
			if !slices.Contains(zones, l) {
				return fmt.Errorf("location %.40q: %w", l, grid.ErrUnknownZone)
			}
		}
	}
	return nil
}

// dark tells whether an error says that nothing is known of a location.
func dark(err error) bool { return errors.Is(err, grid.ErrUnknown) || errors.Is(err, grid.ErrStale) }

// locations are the zones that are known, each with a town of it.
func (h *Handler) locations() (any, error) {
	out := make(map[string]location)
	if h.opts.Zones != nil {
		for _, zone := range h.opts.Zones() {
			l := location{Name: zone}
			if lat, lon, ok := grid.TownOf(zone); ok {
				l.Latitude, l.Longitude = new(lat), new(lon)
			}
			out[zone] = l
		}
	}
	if len(out) == 0 {
		return nil, grid.ErrUnknown
	}
	return out, nil
}

func (h *Handler) byLocations(ctx context.Context, q *query) (any, error) {
	var out []emission
	for _, l := range q.locations {
		var ps []grid.Point
		var err error
		if q.from.IsZero() {
			var p grid.Point
			p, err = h.source.Current(ctx, l)
			ps = []grid.Point{p}
		} else {
			ps, err = grid.History(ctx, h.source, l, q.from, q.until)
		}
		if dark(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := h.check(l, ps, len(out)); err != nil {
			return nil, err
		}
		for _, p := range ps {
			out = append(out, emission{Location: l, Time: p.Start, Rating: new(p.Value), Duration: span(p.End.Sub(p.Start))})
		}
	}
	if len(out) == 0 {
		return nil, grid.ErrUnknown
	}
	return out, nil
}

// best gives the values that are the lowest.
func (h *Handler) best(ctx context.Context, q *query) (any, error) {
	all, err := h.byLocations(ctx, q)
	if err != nil {
		return nil, err
	}
	es := all.([]emission)
	low := *slices.MinFunc(es, func(a, b emission) int { return compare(*a.Rating, *b.Rating) }).Rating
	return slices.DeleteFunc(es, func(e emission) bool { return *e.Rating > low }), nil
}

func (h *Handler) forecasts(ctx context.Context, q *query) (any, error) {
	now := h.opts.Now().UTC()
	from, until := q.from, q.until
	if from.IsZero() {
		from = now
	}
	if until.IsZero() {
		until = from.Add(h.opts.MaxRange)
	}
	var out []forecast
	total := 0
	for _, l := range q.locations {
		ps, err := grid.Forecast(ctx, h.source, l, from, until)
		if dark(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if err := h.check(l, ps, total); err != nil {
			return nil, err
		}
		total += len(ps)
		f := forecast{GeneratedAt: now, RequestedAt: now, Location: l, DataStartAt: from, DataEndAt: until, Data: []datum{}, Optimal: []datum{}}
		if len(ps) > 0 {
			if q.from.IsZero() {
				f.DataStartAt = ps[0].Start
			}
			if q.until.IsZero() {
				f.DataEndAt = ps[len(ps)-1].End
			}
			window := q.window
			if window == 0 {
				window = ps[0].End.Sub(ps[0].Start)
			}
			f.WindowSize = int(window / time.Minute)
			f.Data = windows(l, ps, q.window)
			f.Optimal = lowest(f.Data)
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil, grid.ErrUnknown
	}
	return out, nil
}

func (h *Handler) average(ctx context.Context, q *query) (any, error) {
	ps, err := grid.History(ctx, h.source, q.locations[0], q.from, q.until)
	if err != nil {
		return nil, err
	}
	if err := h.check(q.locations[0], ps, 0); err != nil {
		return nil, err
	}
	m, covered := grid.Mean(ps, q.from, q.until)
	if covered == 0 {
		return nil, grid.ErrUnknown
	}
	return mean{Location: q.locations[0], StartTime: q.from, EndTime: q.until, Intensity: m}, nil
}

// check refuses what no client should be told.
func (h *Handler) check(zone string, ps []grid.Point, before int) error {
	if before+len(ps) > h.opts.MaxPoints {
		return &problem{"toTime", fmt.Sprintf("the answer has more than %d values: ask for less time or fewer locations", h.opts.MaxPoints)}
	}
	for _, p := range ps {
		if err := p.Validate(); err != nil {
			return err
		}
		if p.Zone != zone || p.Signal != h.source.Signal() {
			return fmt.Errorf("asked for zone %q, got %q of %q: %w", zone, p.Signal, p.Zone, grid.ErrImplausible)
		}
	}
	return nil
}

// reply writes an answer or the status of an error.
func reply(w http.ResponseWriter, answer any, err error) {
	status, text, field := http.StatusOK, "", ""
	p, bad := errors.AsType[*problem](err)
	switch {
	case err == nil:
	case bad:
		status, text, field = http.StatusBadRequest, p.text, p.field
	case errors.Is(err, grid.ErrUnknownZone):
		status, text, field = http.StatusBadRequest, "no such location", "location"
	case errors.Is(err, grid.ErrUnsupported):
		status, text = http.StatusNotImplemented, "the data source has no such data"
	case dark(err):
		w.WriteHeader(http.StatusNoContent)
		return
	default:
		status, text = http.StatusInternalServerError, "the data source failed" // its reasons may be private
	}
	kind := "application/json; charset=utf-8"
	if err != nil {
		kind = "application/problem+json; charset=utf-8"
		b := map[string]any{"title": http.StatusText(status), "status": status, "detail": text}
		if field != "" {
			b["errors"] = map[string][]string{field: {text}}
		}
		answer = b
	}
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = w.Write(body) // a client that left is no error of ours
}
