package grid

import (
	"bufio"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// CSVOptions say how a table of a signal is read. The zero value reads hourly life-cycle intensity with the
// time in the first column and one zone a column.
type CSVOptions struct {
	Name   string // of the file, for errors and as the points' source; "" means "csv"
	Signal Signal // "" means AverageLifeCycle

	// Scale multiplies each value: 0.001 turns a price per MWh into one per kWh; 0 means what the header of the column
	// says, as "FR (EUR/MWh)" or "US (lb/MWh)", else 1.
	Scale float64

	// Currency is that of a price; a header like "FR (EUR/MWh)" goes before it.
	Currency string

	// Step is how long a row holds when no next row tells; 0 means an hour.
	Step time.Duration

	// Location is whose clock times without a zone are by; nil means UTC. The hour that a change of clocks repeats is
	// the earlier one first; one that it leaves out is an error.
	Location *time.Location

	MaxRows int // 0 means 1,000,000
}

// ReadCSV reads a table with a time column (RFC 3339, or all without a time zone, by Location) and one column a zone. An empty
// cell is unknown. Errors name file, line and column.
func ReadCSV(r io.Reader, o CSVOptions) ([]Point, error) {
	if o.Name == "" {
		o.Name = "csv"
	}
	if o.Signal == "" {
		o.Signal = AverageLifeCycle
	}
	if o.Step <= 0 {
		o.Step = time.Hour
	}
	if o.MaxRows <= 0 {
		o.MaxRows = 1_000_000
	}
	b := bufio.NewReader(r)
	if mark, _, _ := b.ReadRune(); mark != '\ufeff' { // which spreadsheets begin with
		_ = b.UnreadRune() // nothing was read
	}
	c := csv.NewReader(b)
	c.ReuseRecord = true
	header, err := c.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: header: %w", o.Name, noEOF(err))
	}
	if len(header) < 2 {
		return nil, fmt.Errorf("%s:1: want a time column and at least one zone, got %d columns", o.Name, len(header))
	}
	if _, _, err := parseTime(header[0], o.Location, time.Time{}); err == nil {
		return nil, fmt.Errorf("%s:1: column 1: a time where the header should be: want a name, and then a zone a column", o.Name)
	}
	cols := make([]column, len(header))
	for i, h := range header[1:] {
		if cols[i+1], err = parseColumn(h, o); err != nil {
			return nil, fmt.Errorf("%s:1: column %d: %w", o.Name, i+2, err)
		}
		if k := slices.IndexFunc(cols[1:i+1], func(c column) bool { return c.zone == cols[i+1].zone }); k >= 0 {
			return nil, fmt.Errorf("%s:1: column %d: zone %q is there already, in column %d", o.Name, i+2, cols[i+1].zone, k+2)
		}
	}
	var points []Point
	open := make([]int, len(cols)) // 1 + index of each zone's last point, whose end the next row tells
	var last time.Time
	var hour []time.Time // the rows of the last hour
	zoned := false       // the rows say their time zone
	for rows := 0; ; rows++ {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return points, nil
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", o.Name, err)
		}
		line, _ := c.FieldPos(0)
		if rows == o.MaxRows {
			return nil, fmt.Errorf("%s:%d: more than %d rows", o.Name, line, o.MaxRows)
		}
		at, tells, err := parseTime(row[0], o.Location, last)
		switch {
		case err != nil:
			return nil, fmt.Errorf("%s:%d: column 1: %w", o.Name, line, err)
		case rows == 0:
			zoned = tells
		case zoned && !tells:
			return nil, fmt.Errorf("%s:%d: column 1: %q has no time zone, the rows above have", o.Name, line, row[0])
		case tells && !zoned:
			return nil, fmt.Errorf("%s:%d: column 1: %q has a time zone, the rows above have none", o.Name, line, row[0])
		}
		if rows > 0 && !at.After(last) {
			if slices.ContainsFunc(hour, at.Equal) {
				continue // an hour told twice, as at a change of clocks: the first is kept
			}
			return nil, fmt.Errorf("%s:%d: column 1: %v is before the row above", o.Name, line, row[0])
		}
		for i := 1; i < len(cols); i++ {
			if open[i] > 0 && at.Sub(points[open[i]-1].Start) < o.Step {
				points[open[i]-1].End = at // rows closer together than the step
			}
			open[i] = 0
			cell := strings.TrimSpace(row[i])
			if cell == "" {
				continue
			}
			v, err := strconv.ParseFloat(cell, 64)
			if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
				return nil, fmt.Errorf("%s:%d: column %d (%s): %q is not a number", o.Name, line, i+1, cols[i].zone, cell)
			}
			p := Point{Zone: cols[i].zone, Signal: o.Signal, Start: at, End: at.Add(o.Step), Value: v * cols[i].scale,
				Currency: cols[i].currency, Source: "csv:" + o.Name}
			if err := p.Validate(); err != nil {
				return nil, fmt.Errorf("%s:%d: column %d: %w", o.Name, line, i+1, err)
			}
			points = append(points, p)
			open[i] = len(points)
		}
		last = at
		hour = append(hour, at)
		for at.Sub(hour[0]) >= time.Hour {
			hour = hour[1:]
		}
	}
}

type column struct {
	zone, currency string
	scale          float64
}

// gramsPerKWh are units of intensity in g/kWh; what is emitted (CO2, CO2e, CO₂eq) may stand behind the mass.
var gramsPerKWh = map[string]float64{"g/kWh": 1, "kg/MWh": 1, "kg/kWh": 1000, "t/MWh": 1000, "lb/MWh": poundGrams / 1000, "lbs/MWh": poundGrams / 1000}

const poundGrams = 453.59237 // of the international avoirdupois pound

// emitted is what a unit of intensity may name beside mass and energy.
var emitted = regexp.MustCompile(`(?i)\s*CO[2₂]([- ]?eq?)?\.?`)

// parseColumn understands "ZONE", "ZONE (EUR/MWh)" and "ZONE (gCO2eq/kWh)".
func parseColumn(h string, o CSVOptions) (column, error) {
	zone, unit, hasUnit := strings.Cut(strings.TrimSpace(h), "(")
	zone = strings.TrimSpace(zone)
	c := column{zone: zone, currency: o.Currency, scale: o.Scale}
	if c.zone == "" {
		return c, errors.New("a zone without a name")
	}
	if hasUnit && o.Signal == Price {
		currency, per, ok := strings.Cut(strings.TrimSuffix(unit, ")"), "/")
		if !ok || per != "MWh" && per != "kWh" {
			return c, fmt.Errorf("zone %q: unit %q: want CURRENCY/MWh or CURRENCY/kWh", zone, unit)
		}
		c.currency = currency
		if c.scale == 0 && per == "MWh" {
			c.scale = 0.001
		}
	} else if hasUnit && c.scale == 0 {
		var ok bool
		if c.scale, ok = gramsPerKWh[strings.ReplaceAll(emitted.ReplaceAllString(strings.TrimSuffix(unit, ")"), ""), " ", "")]; !ok {
			return c, fmt.Errorf("zone %q: unit %q: want g/kWh, kg/MWh, t/MWh or lb/MWh, or give a scale", zone, unit)
		}
	}
	if c.scale == 0 {
		c.scale = 1
	}
	return c, nil
}

// parseTime reads a time and tells whether it says its zone. One that does not may be two by a location's clock: then it is the first that is after last.
func parseTime(s string, loc *time.Location, last time.Time) (at time.Time, zoned bool, err error) {
	s = strings.TrimSpace(s)
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC(), true, nil
		}
	}
	for _, layout := range []string{"2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04"} {
		wall, err := time.Parse(layout, s)
		if err != nil {
			continue
		}
		if loc == nil {
			return wall, false, nil
		}
		var found []time.Time // in order
		for _, near := range [...]time.Duration{-day, day} {
			_, offset := wall.Add(near).In(loc).Zone() // before and after a change nearby
			t := wall.Add(-time.Duration(offset) * time.Second)
			if t.In(loc).Format(layout) == wall.Format(layout) && (len(found) == 0 || t.After(found[0])) {
				found = append(found, t)
			}
		}
		for _, t := range found {
			if t.After(last) {
				return t, false, nil
			}
		}
		if len(found) == 0 {
			return time.Time{}, false, fmt.Errorf("%q is not on the clock of %v, which was changed", s, loc)
		}
		return found[len(found)-1], false, nil
	}
	return time.Time{}, false, fmt.Errorf("%q is not a time: want 2023-01-31T15:00:00Z", s)
}

const day = 24 * time.Hour

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
