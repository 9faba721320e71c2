package redfish

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/fault"
)

// bmc is one BMC. Whoever holds its slot owns all that can change.
type bmc struct {
	node      string
	endpoint  Endpoint
	opts      Options
	client    *boundedhttp.Client
	overrides []step
	slot      chan struct{} // has room for the one who asks

	session session
	plan    []step // what to read; nil: not known yet

	// What discovery has learnt, also where it did not come to its end.
	static     map[string]*links
	scanned    map[string]*scan
	discovered time.Time
	tries      int                    // discoveries since a read last had all that is wanted
	lacks      bool                   // the last read lacked something that is wanted
	why        map[sensors.Kind]error // what discovery met instead of a kind
	noReports  time.Time              // until then, reports are left alone: they were old, or lacked something
}

// A step of a plan reads one resource.
type step struct {
	view    string
	uri     string
	chassis int            // in order of precedence
	pointer string         // of an override, into the resource
	kinds   []sensors.Kind // of an override
	report  map[string]found

	etag string  // of the answer that gave
	last []found // this
}

// found is a measurement in a view.
type found struct {
	kind  sensors.Kind
	value float64
	at    time.Time // when it was measured, as far as the view tells
	view  string
	rank  int    // lower wins
	uri   string // of the sensor, as metric reports name it
}

func (b *bmc) read(ctx context.Context) ([]sensors.Reading, error) {
	select {
	case b.slot <- struct{}{}:
		defer func() { <-b.slot }()
	case <-ctx.Done():
		return nil, b.errorf("", fault.HTTP(ctx.Err()))
	}
	if err := ctx.Err(); err != nil {
		return nil, b.errorf("", fault.HTTP(err))
	}
	if b.plan == nil || b.lacks && time.Since(b.discovered) >= b.rest() {
		if err := b.discover(ctx); err != nil {
			return nil, b.errorf("", err)
		}
	}
	all, errs := b.follow(ctx)
	if b.plan == nil && ctx.Err() == nil { // what was found once is no longer there
		if err := b.discover(ctx); err != nil {
			return nil, b.errorf("", err)
		}
		all, errs = b.follow(ctx)
	}
	best, errs := choose(all, errs, b)
	b.lacks = false
	for _, kind := range b.opts.Kinds {
		if _, ok := best[kind]; ok {
			continue
		}
		b.lacks = true
		if !slices.ContainsFunc(errs, func(err error) bool { return concerns(err, kind) }) {
			errs = append(errs, b.missing(kind))
		}
	}
	if !b.lacks {
		b.tries = 0
	}
	now := time.Now()
	readings := make([]sensors.Reading, 0, len(best))
	for _, f := range best {
		at := f.at
		if at.IsZero() {
			at = now
		}
		readings = append(readings, sensors.Reading{Kind: f.kind, Value: f.value, At: at, Source: name + ":" + f.view})
	}
	slices.SortFunc(readings, func(a, b sensors.Reading) int { return strings.Compare(string(a.Kind), string(b.Kind)) })
	return readings, errors.Join(errs...)
}

// rest returns for how long a BMC that lacks something is not discovered again: not at all the first time,
// since it may just have started, then longer and longer.
func (b *bmc) rest() time.Duration {
	if b.tries <= 1 {
		return 0
	}
	return min(10*time.Second<<min(b.tries-2, 16), b.opts.Rediscover)
}

// missing returns why a kind is not there.
func (b *bmc) missing(kind sensors.Kind) error {
	if why := b.why[kind]; why != nil {
		return b.errorf(kind, fmt.Errorf("no view of the BMC has it: %w", why))
	}
	return b.errorf(kind, fmt.Errorf("%w: no view of the BMC has it", sensors.ErrNoReading))
}

// follow reads the steps of the plan. One that fails leaves the others be, unless the BMC does not answer.
func (b *bmc) follow(ctx context.Context) ([]found, []error) {
	var all []found
	var errs []error
	for i := range b.plan {
		s := &b.plan[i]
		fs, err := b.take(ctx, s)
		all = append(all, fs...)
		switch {
		case err == nil:
			continue
		case errors.Is(err, sensors.ErrNoReading) && s.view != viewOverride: // 404: the BMC has changed
			b.forget()
			return all, append(errs, b.errorf("", fmt.Errorf("%s: %w", s.view, err)))
		case s.view == viewReport && !errors.Is(err, sensors.ErrUnreachable):
			b.plan, b.noReports = nil, time.Now().Add(noReports)
			return nil, nil
		}
		if len(s.kinds) > 0 {
			errs = append(errs, b.errorf(s.kinds[0], err))
		} else {
			errs = append(errs, b.errorf("", fmt.Errorf("%s: %w", s.view, err)))
		}
		if fatal(err) {
			break
		}
	}
	return all, errs
}

const noReports = time.Hour

// forget makes the next read discover the BMC anew.
func (b *bmc) forget() {
	b.plan = nil
	clear(b.static)
	clear(b.scanned)
}

// take reads one step.
func (b *bmc) take(ctx context.Context, s *step) ([]found, error) {
	if s.view == viewSupplies {
		return b.supplies(ctx, s)
	}
	r, err := b.get(ctx, s.uri, s.etag)
	if err != nil {
		return nil, err
	}
	if r.Status == http.StatusNotModified {
		return s.last, nil
	}
	fs, err := extract(s, r, b.opts.MaxReportAge)
	for i := range fs {
		fs[i].rank += 100 * s.chassis
	}
	s.etag, s.last = r.Header.Get("ETag"), fs
	if err != nil {
		s.etag = ""
	}
	return fs, err
}

// choose takes the best of each kind, past what is not possible.
func choose(all []found, errs []error, b *bmc) (map[sensors.Kind]found, []error) {
	best := make(map[sensors.Kind]found)
	bad := make(map[sensors.Kind]error)
	for _, f := range all {
		if err := sensors.Possible(f.kind, f.value); err != nil {
			bad[f.kind] = b.errorf(f.kind, fmt.Errorf("%s: %w", f.view, err))
			continue
		}
		if old, ok := best[f.kind]; !ok || f.rank < old.rank {
			best[f.kind] = f
		}
	}
	for kind, err := range bad {
		if _, ok := best[kind]; !ok {
			errs = append(errs, err)
		}
	}
	return best, errs
}

func concerns(err error, kind sensors.Kind) bool {
	e, ok := errors.AsType[*sensors.Error](err)
	return ok && (e.Kind == kind || e.Kind == "")
}

func (b *bmc) errorf(kind sensors.Kind, err error) error {
	return &sensors.Error{Source: name, Node: b.node, Kind: kind, Err: err}
}

// close logs out, unless somebody reads until ctx is done.
func (b *bmc) close(ctx context.Context) error {
	defer b.client.Close()
	select {
	case b.slot <- struct{}{}:
		defer func() { <-b.slot }()
	case <-ctx.Done():
		return b.errorf("", fmt.Errorf("log out: %w", ctx.Err()))
	}
	if err := b.logout(ctx); err != nil {
		return b.errorf("", fmt.Errorf("log out: %w", err))
	}
	return nil
}
