package trace

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"time"
)

// Intensity is a profile of carbon intensity over time in gCO2eq/kWh, as KubeEnergyScheduler writes it.
type Intensity struct {
	kind    string
	a, b, c float64
}

// ParseIntensity reads static:V, sine:mean:amplitude:periodSec or randwalk:min:max:stepSec.
func ParseIntensity(s string) (Intensity, error) {
	parts := strings.Split(strings.TrimSpace(s), ":")
	want := map[string]int{"static": 1, "sine": 3, "randwalk": 3}
	n, ok := want[parts[0]]
	if !ok || len(parts) != n+1 {
		return Intensity{}, fmt.Errorf("intensity %q: want static:V, sine:mean:amplitude:periodSec or randwalk:min:max:stepSec", s)
	}
	v := make([]float64, 3)
	for i := range n {
		var err error
		if v[i], err = number(parts[i+1]); err != nil {
			return Intensity{}, fmt.Errorf("intensity %q: %w", s, err)
		}
	}
	p := Intensity{kind: parts[0], a: v[0], b: v[1], c: v[2]}
	switch {
	case p.a < 0, p.kind != "static" && p.c < 1e-3, p.kind == "sine" && math.Abs(p.b) > p.a, p.kind == "randwalk" && p.b < p.a:
		return Intensity{}, fmt.Errorf("intensity %q: %w", s, errRange)
	}
	return p, nil
}

// String returns the profile in KubeEnergyScheduler's notation.
func (p Intensity) String() string {
	if p.kind == "" || p.kind == "static" {
		return fmt.Sprintf("static:%v", p.a)
	}
	return fmt.Sprintf("%s:%v:%v:%v", p.kind, p.a, p.b, p.c)
}

// At returns the intensity after a time. The random walk begins in the middle of its range, goes up or down by up to a tenth of it at each
// step, and is the same for the same seed.
func (p Intensity) At(t time.Duration, seed uint64) float64 {
	switch p.kind {
	case "sine":
		return p.a + p.b*math.Sin(2*math.Pi*t.Seconds()/p.c)
	case "randwalk":
		r := rand.New(rand.NewPCG(seed, 0xc1))
		v := (p.a + p.b) / 2
		for range min(int(t.Seconds()/p.c), 1_000_000) {
			v = min(max(v+(2*r.Float64()-1)*(p.b-p.a)/10, p.a), p.b)
		}
		return v
	}
	return p.a
}

// IsZero tells whether no profile was given.
func (p Intensity) IsZero() bool { return p.kind == "" }

// layout is the columns of a small CSV file, in the order that they have where the file has no header.
type layout struct {
	columns []string
	need    int      // the first that a row has at least
	spare   []string // of these, what a header may leave out
}

// header returns where the columns stand if a row names at least two of them, each once and no others; nil if it is a row of values.
func (l *layout) header(row []string) ([]int, error) {
	at, known := make([]int, len(l.columns)), make(map[string]bool)
	for i := range at {
		at[i] = -1
	}
	var unknown, twice string
	for i, name := range row {
		name = strings.ToLower(strings.TrimSpace(strings.TrimPrefix(name, "\ufeff")))
		k := slices.Index(l.columns, name)
		switch {
		case k < 0 && name != "": // an empty name is of columns that a spreadsheet adds
			unknown = name
		case k >= 0 && at[k] >= 0:
			twice = name
		case k >= 0:
			at[k], known[name] = i, true
		}
	}
	if len(known) < 2 {
		return nil, nil
	}
	switch {
	case unknown != "":
		return nil, fmt.Errorf("unknown column %.40q: want some of %s", unknown, strings.Join(l.columns, ","))
	case twice != "":
		return nil, fmt.Errorf("column %q stands twice", twice)
	}
	for k, name := range l.columns[:l.need] {
		if at[k] < 0 && !slices.Contains(l.spare, name) {
			return nil, fmt.Errorf("there is no column %q: want %s", name, strings.Join(l.columns, ","))
		}
	}
	return at, nil
}

// rowsOf calls f for each row of a small CSV file, with the fields in the order of the layout's columns; those that the file leaves out are empty. Without a
// header they stand in that order in the file.
func rowsOf(file string, r io.Reader, l layout, f func(fail func(int, error) error, row []string) error) error {
	c := csv.NewReader(r)
	c.FieldsPerRecord = -1
	c.TrimLeadingSpace = true
	c.Comment = '#'
	t := &table{file: file, r: c}
	var at []int // of the columns in the file's rows; nil: as they stand
	for n := 0; ; n++ {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return t.broken(err)
		}
		t.line, _ = c.FieldPos(0)
		if n == 0 {
			if at, err = l.header(row); err != nil {
				return &Error{file, t.line, 0, err}
			}
			if at != nil {
				continue
			}
		}
		if at == nil && len(row) < l.need {
			return &Error{file, t.line, 0, fmt.Errorf("%d fields: want at least %d", len(row), l.need)}
		}
		if n > MaxRows {
			return &Error{file, t.line, 0, errTooMany}
		}
		fields := make([]string, len(l.columns))
		for k := range fields {
			if i := where(at, k); i >= 0 && i < len(row) {
				fields[k] = strings.TrimSpace(row[i])
			}
		}
		if err := f(func(k int, err error) error {
			i := where(at, k)
			if i < 0 || i >= len(row) {
				return &Error{file, t.line, 0, err}
			}
			line, col := c.FieldPos(i)
			return &Error{file, line, col, err}
		}, fields); err != nil {
			return err
		}
	}
}

// where returns the field of a column.
func where(at []int, column int) int {
	if at == nil {
		return column
	}
	return at[column]
}
