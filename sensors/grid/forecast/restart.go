package forecast

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// Values returns the hours that a zone's model holds, oldest first, and the start of the first; NaN where one was missing.
// Nil means that none is known. See Restore.
func (s *Source) Values(zone string) (start time.Time, values []float64) {
	s.mu.Lock()
	z := s.zones[zone]
	s.mu.Unlock()
	if z == nil {
		return time.Time{}, nil
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	return z.model.Values()
}

// Restore gives a zone a model that has observed what Values returned before a restart, in place of the one it had. A value
// that no point may have is an error, and then nothing is changed. The currency is that of a price.
func (s *Source) Restore(zone, currency string, start time.Time, values []float64) error {
	m := NewModel(s.opts.Model)
	for h, v := range values {
		if math.IsNaN(v) {
			continue
		}
		at := start.Add(time.Duration(h) * time.Hour)
		p := grid.Point{Zone: zone, Signal: s.Signal(), Start: at, End: at.Add(time.Hour), Value: v}
		if err := p.Validate(); err != nil {
			return fmt.Errorf("restore: %w", err)
		}
		if err := m.Observe(at, v); err != nil {
			return fmt.Errorf("restore zone %q: hour %d: %w", zone, h, err)
		}
	}
	z, err := s.zone(zone, false)
	if err != nil {
		return err
	}
	z.mu.Lock()
	defer z.mu.Unlock()
	z.model, z.currency = m, currency
	z.publish(zone, s.Signal())
	return nil
}

// saved is what Save writes. What is not understood is an error, not a guess.
type saved struct {
	Kind    string               `json:"kind"`
	Version int                  `json:"version"`
	Signal  grid.Signal          `json:"signal"`
	Zones   map[string]savedZone `json:"zones"`
}

type savedZone struct {
	Start    time.Time  `json:"start"`
	Currency string     `json:"currency,omitempty"`
	Values   []*float64 `json:"values"` // by hours; null where one was missing
}

const (
	savedKind    = "leastwatt-grid-history"
	savedVersion = 1
	savedBytes   = 256 << 20 // at most; three years of a zone take about half a megabyte
)

// errAhead says that a history is of a time to come.
var errAhead = errors.New("the clock is behind, or the history is wrong")

// Save writes the hours that all zones' models hold, so that Load can go on from them after a restart.
func (s *Source) Save(w io.Writer) error {
	out := saved{Kind: savedKind, Version: savedVersion, Signal: s.Signal(), Zones: map[string]savedZone{}}
	for _, name := range s.names() {
		start, values := s.Values(name)
		if len(values) == 0 {
			continue
		}
		z := savedZone{Start: start, Values: make([]*float64, len(values))}
		for h := range values {
			if !math.IsNaN(values[h]) {
				z.Values[h] = &values[h]
			}
		}
		s.mu.Lock()
		of := s.zones[name]
		s.mu.Unlock()
		if of != nil {
			of.mu.Lock()
			z.Currency = of.currency
			of.mu.Unlock()
		}
		out.Zones[name] = z
	}
	return json.NewEncoder(w).Encode(out)
}

// Load restores what Save has written: see Restore. Of a text that is not wholly right, or of another signal, nothing is taken over; of more zones than
// there is room for, those that are there already, and then the first by name.
func (s *Source) Load(r io.Reader) error {
	b, err := io.ReadAll(io.LimitReader(r, savedBytes+1))
	if err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if len(b) > savedBytes {
		return fmt.Errorf("history: more than %d bytes", savedBytes)
	}
	var in saved
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return fmt.Errorf("history: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("history: something follows its end")
	}
	switch {
	case in.Kind != savedKind || in.Version != savedVersion:
		return fmt.Errorf("history: it is %.40q of version %d, want %q of version %d", in.Kind, in.Version, savedKind, savedVersion)
	case in.Signal != s.Signal():
		return fmt.Errorf("history: it is of %.60q, want %q: %w", in.Signal, s.Signal(), grid.ErrImplausible)
	}
	values := make(map[string][]float64, len(in.Zones))
	for name, z := range in.Zones {
		if !z.Start.Equal(z.Start.Truncate(time.Hour)) {
			return fmt.Errorf("history of zone %q: it starts at %v, want the start of an hour", name, z.Start)
		}
		v := make([]float64, len(z.Values))
		for h, p := range z.Values {
			if v[h] = math.NaN(); p != nil {
				v[h] = *p
				at := z.Start.Add(time.Duration(h) * time.Hour)
				if err := (grid.Point{Zone: name, Signal: in.Signal, Start: at, End: at.Add(time.Hour), Value: v[h]}).Validate(); err != nil {
					return fmt.Errorf("history: %w", err)
				}
			}
		}
		if end := z.Start.Add(time.Duration(len(v)) * time.Hour); end.After(s.opts.Now().Add(time.Hour)) {
			return fmt.Errorf("history of zone %q: it ends at %v, which has not been by this clock: %w: %w", name, end, errAhead, grid.ErrImplausible)
		}
		values[name] = v
	}
	for _, name := range s.room(values) {
		z := in.Zones[name]
		if err := s.Restore(name, z.Currency, z.Start.UTC(), values[name]); err != nil {
			return err
		}
	}
	return nil
}

// room returns the zones of which there is a place for a model.
func (s *Source) room(values map[string][]float64) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var there, others []string
	for _, name := range slices.Sorted(maps.Keys(values)) {
		if s.zones[name] != nil {
			there = append(there, name)
		} else {
			others = append(others, name)
		}
	}
	if free := max(s.opts.MaxZones-len(s.zones), 0); len(others) > free {
		s.opts.Logger.Warn("history of more zones than are kept", "zones", len(values), "most", s.opts.MaxZones, "left out", others[free:])
		others = others[:free]
	}
	return append(there, others...)
}

// remember reads the file of the options once, and writes it when hours were learned since it was.
func (s *Source) remember() error {
	if s.opts.File == "" {
		return nil
	}
	if !s.read {
		f, err := os.Open(s.opts.File)
		if s.read = err == nil || errors.Is(err, fs.ErrNotExist); !s.read {
			return err // it may hold years: it is not written before it was read
		}
		if err != nil {
			return nil
		}
		defer f.Close()
		err = s.Load(f)
		if errors.Is(err, errAhead) { // as where a machine starts before it has heard the time: the file is read when it has
			s.read = false
			return fmt.Errorf("%s, which is left as it is until that time: remove it if the clock is right: %w", s.opts.File, err)
		}
		if err != nil { // put aside, for who wants to see what became of it
			return errors.Join(fmt.Errorf("%s, which is put aside as %[1]s.bad: %w", s.opts.File, err), os.Rename(s.opts.File, s.opts.File+".bad"))
		}
		s.kept = s.learned()
		return nil
	}
	learned := s.learned()
	if learned == s.kept {
		return nil
	}
	if err := s.write(); err != nil {
		return err
	}
	s.kept = learned
	return nil
}

// learned changes whenever a model has observed an hour.
func (s *Source) learned() (sum int64) {
	for _, name := range s.names() {
		s.mu.Lock()
		z := s.zones[name]
		s.mu.Unlock()
		if z == nil {
			continue
		}
		z.mu.Lock()
		if len(z.model.values) > 0 {
			sum += z.model.Next().Unix()
		}
		z.mu.Unlock()
	}
	return sum
}

// write replaces the file at once, so that a crash leaves the old one or the new one.
func (s *Source) write() error {
	f, err := os.OpenFile(s.opts.File+".tmp", os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600) // one name, so that crashes leave one file at most
	if err != nil {
		return err
	}
	err = s.Save(f)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(f.Name(), s.opts.File)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("history: %w", err), os.Remove(f.Name()))
	}
	return nil
}

// names returns the zones, in order.
func (s *Source) names() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	names := make([]string, 0, len(s.zones))
	for name := range s.zones {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
