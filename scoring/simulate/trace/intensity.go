package trace

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
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

// rowsOf calls f for each row of a small CSV file whose header, recognised by its first name, may be missing.
func rowsOf(file string, r io.Reader, first string, atLeast int, f func(fail func(int, error) error, row []string) error) error {
	c := csv.NewReader(r)
	c.FieldsPerRecord = -1
	c.TrimLeadingSpace = true
	c.Comment = '#'
	t := &table{file: file, r: c}
	for n := 0; ; n++ {
		row, err := c.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return t.broken(err)
		}
		t.line, _ = c.FieldPos(0)
		if n == 0 && strings.EqualFold(strings.TrimPrefix(row[0], "\ufeff"), first) {
			continue
		}
		if len(row) < atLeast {
			return &Error{file, t.line, 0, fmt.Errorf("%d fields: want at least %d", len(row), atLeast)}
		}
		if n > MaxRows {
			return &Error{file, t.line, 0, errTooMany}
		}
		if err := f(func(i int, err error) error {
			line, col := c.FieldPos(i)
			return &Error{file, line, col, err}
		}, row); err != nil {
			return err
		}
	}
}
