package calibrate

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// Columns tells what the columns of a table of samples are.
type Columns struct {
	// Inputs are the model's inputs; each is the name of a column.
	Inputs []power.Input

	// Target is the column of watts; empty means "watts".
	Target string

	// Time is the column of times, in seconds since 1970 or RFC 3339; empty takes "timestamp" or "time" where
	// there is one. Without times the order of the rows is that of time.
	Time string
}

// timeNames are tried for [Columns.Time].
var timeNames = []string{"timestamp", "time"}

// ReadCSV reads samples from a table with a header. It ends with the first error, which names the line and the
// column: a column that is missing, text in a number, a time that does not follow the one before.
func ReadCSV(r io.Reader, c Columns) iter.Seq2[Sample, error] {
	return func(yield func(Sample, error) bool) {
		rows, err := newRows(r, c)
		if err != nil {
			yield(Sample{}, err)
			return
		}
		for {
			s, err := rows.next()
			if errors.Is(err, io.EOF) {
				return
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

type rows struct {
	csv    *csv.Reader
	inputs []power.Input
	column []int
	target int
	time   int // -1: none
	names  []string
	last   time.Time
}

func newRows(r io.Reader, c Columns) (*rows, error) {
	t := &rows{csv: csv.NewReader(r), inputs: c.Inputs, time: -1}
	t.csv.ReuseRecord = true
	head, err := t.csv.Read()
	if errors.Is(err, io.EOF) {
		return nil, errors.New("line 1: the table is empty: want a header")
	}
	if err != nil {
		return nil, err
	}
	at := make(map[string]int, len(head))
	for i, name := range head {
		name = strings.TrimSpace(strings.TrimPrefix(name, "\ufeff"))
		if _, twice := at[name]; twice {
			return nil, fmt.Errorf("line 1: column %q is there twice", name)
		}
		at[name] = i
		t.names = append(t.names, name)
	}
	find := func(name string) (int, error) {
		i, ok := at[name]
		if !ok {
			return 0, fmt.Errorf("line 1: column %q is missing: there are %s", name, strings.Join(t.names, ", "))
		}
		return i, nil
	}
	for _, in := range c.Inputs {
		i, err := find(string(in))
		if err != nil {
			return nil, err
		}
		t.column = append(t.column, i)
	}
	target := c.Target
	if target == "" {
		target = "watts"
	}
	if t.target, err = find(target); err != nil {
		return nil, err
	}
	if c.Time != "" {
		t.time, err = find(c.Time)
		return t, err
	}
	for _, name := range timeNames {
		if i, ok := at[name]; ok && t.time < 0 {
			t.time = i
		}
	}
	return t, nil
}

func (t *rows) next() (Sample, error) {
	row, err := t.csv.Read()
	if err != nil {
		return Sample{}, err // names the line itself
	}
	line, _ := t.csv.FieldPos(0)
	var s Sample
	for i, in := range t.inputs {
		v, err := t.number(row, line, t.column[i])
		if err != nil {
			return s, err
		}
		switch in {
		case power.InputUtilization:
			s.State.Utilization = v
		case power.InputInletTemp:
			s.State.InletTemp = new(power.Celsius(v))
		case power.InputPressureDelta:
			s.State.PressureDelta = new(power.Pascals(v))
		default:
			if s.State.Inputs == nil {
				s.State.Inputs = make(map[string]float64, len(t.inputs))
			}
			s.State.Inputs[string(in)] = v
		}
	}
	w, err := t.number(row, line, t.target)
	if err != nil {
		return s, err
	}
	if !(w > 0 && w < 1e9) {
		return s, fmt.Errorf("line %d: column %q: %v W: want above 0 and below 1e9", line, t.names[t.target], w)
	}
	s.Watts = power.Watts(w)
	if t.time < 0 {
		return s, nil
	}
	if s.At, err = parseTime(strings.TrimSpace(row[t.time])); err != nil {
		return s, fmt.Errorf("line %d: column %q: %q is no time: want seconds since 1970 or RFC 3339", line, t.names[t.time], row[t.time])
	}
	if !t.last.IsZero() && !s.At.After(t.last) {
		return s, fmt.Errorf("line %d: column %q: time %s does not follow %s: sort the table and remove duplicates", line, t.names[t.time], row[t.time], t.last.UTC().Format(time.RFC3339Nano))
	}
	t.last = s.At
	return s, nil
}

func (t *rows) number(row []string, line, column int) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(row[column]), 64)
	if err != nil || math.IsNaN(v) || math.IsInf(v, 0) {
		return 0, fmt.Errorf("line %d: column %q: %q is not a finite number", line, t.names[column], row[column])
	}
	return v, nil
}

func parseTime(text string) (time.Time, error) {
	if v, err := strconv.ParseFloat(text, 64); err == nil {
		if !(v >= 0 && v < 1e11) {
			return time.Time{}, errors.New("out of range")
		}
		whole, part := math.Modf(v)
		return time.Unix(int64(whole), int64(part*1e9)).UTC(), nil
	}
	return time.Parse(time.RFC3339Nano, text)
}
