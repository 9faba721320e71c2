package trace

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// Columns maps the columns of a CSV file with a header to a job. A name that is empty is not read; Arrival and Duration (or End) are
// required. Names are in lower case here, and compared without case. It reads Google, Azure and many other traces; see [ParseColumns] for its form as a flag.
type Columns struct {
	Name, Arrival, Duration, End string
	CPU, Memory, GPU             string
	Use                          string // share of the requested CPU in use, 0 to 1; an empty field is unknown, all of it
	Priority, Deadline           string
	Class                        []string // joined
	Start                        string   // if given, durations count from here, not from the arrival
	TimeUnit                     time.Duration
	Timestamps                   bool    // Arrival, Start, End and Deadline are RFC 3339
	CPUUnit, MemoryUnit, GPUUnit float64 // cores, bytes and devices in one unit of the file; 0 is 1
	UseUnit                      float64 // 0.01 where the file has percent; 0 is 1
	GPUTimes                     string  // multiplies GPU, for shares of several devices
	Comma                        rune
	Header                       []string // names of the columns of a file without a header; one that repeats it is read too
	Buckets                      bool     // CPU and Memory may read ">24", which counts as 24
}

var errNoTimes = errors.New("trace: a column map needs an arrival and a duration or an end")

var openb = Columns{Name: "name", Arrival: "creation_time", Start: "scheduled_time", End: "deletion_time", CPU: "cpu_milli", CPUUnit: 1e-3,
	Memory: "memory_mib", MemoryUnit: 1 << 20, GPU: "gpu_milli", GPUUnit: 1e-3, GPUTimes: "num_gpu", Class: []string{"qos", "cpu_milli", "num_gpu"}}

// BatchJobs reads arrival_time,length,cpus, in seconds (Alibaba PAI) or hours (Mustang, Azure).
func BatchJobs(unit time.Duration) Columns {
	return Columns{Arrival: "arrival_time", Duration: "length", CPU: "cpus", TimeUnit: unit}
}

var kubeEnergy = Columns{Name: "id", Arrival: "submit", Timestamps: true, CPU: "cpu", Memory: "mem", MemoryUnit: 1 << 30, Duration: "duration", Class: []string{"tag"}}

type table struct {
	file string
	r    *csv.Reader
	at   map[string]int
	row  []string
	line int
	// first is a first row that is not a header.
	first   []string
	buckets bool
}

// openTable reads the header. Names are compared without case and without the BOM that spreadsheets write.
func openTable(file string, r io.Reader, comma rune) (*table, error) {
	return openHeaded(file, r, comma, nil)
}

// openHeaded takes the names of the columns from names where the file does not begin with them.
func openHeaded(file string, r io.Reader, comma rune, names []string) (*table, error) {
	c := csv.NewReader(io.LimitReader(r, 64<<30))
	c.ReuseRecord = true
	c.FieldsPerRecord = -1
	c.TrimLeadingSpace = true
	if comma != 0 {
		c.Comma = comma
		c.TrimLeadingSpace = !unicode.IsSpace(comma) // it would take tabs that stand for empty fields
	}
	t := &table{file: file, r: c, at: map[string]int{}}
	head, err := c.Read()
	if errors.Is(err, io.EOF) {
		return t, nil
	}
	if err != nil {
		return nil, t.broken(err)
	}
	if len(names) > 0 && !strings.EqualFold(strings.TrimSpace(head[0]), names[0]) {
		t.first = slices.Clone(head)
		head = names
	}
	for i, h := range head {
		t.at[strings.ToLower(strings.TrimSpace(strings.TrimPrefix(h, "\ufeff")))] = i
	}
	return t, nil
}

func (t *table) broken(err error) error {
	var p *csv.ParseError
	if errors.As(err, &p) {
		return &Error{t.file, p.Line, p.Column, p.Err}
	}
	return &Error{t.file, t.line + 1, 0, err}
}

// next reads a row and reports whether there was one.
func (t *table) next() (bool, error) {
	if t.first != nil { // its fields' places are still those of the last Read
		t.row, t.first, t.line = t.first, nil, 1
		return true, nil
	}
	row, err := t.r.Read()
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, t.broken(err)
	}
	t.row = row
	t.line, _ = t.r.FieldPos(0)
	for _, f := range row {
		if len(f) > maxLine {
			return false, &Error{t.file, t.line, 0, fmt.Errorf("a field of %d bytes", len(f))}
		}
	}
	return true, nil
}

func (t *table) need(names ...string) error {
	for _, n := range names {
		if _, ok := t.at[n]; n != "" && !ok {
			return &Error{t.file, 1, 0, fmt.Errorf("no column %q", n)}
		}
	}
	return nil
}

func (t *table) text(name string) string {
	if i, ok := t.at[name]; name != "" && ok && i < len(t.row) {
		return strings.TrimSpace(t.row[i])
	}
	return ""
}

func (t *table) wrong(name string, err error) error {
	if i, ok := t.at[name]; ok && i < len(t.row) {
		line, col := t.r.FieldPos(i)
		return &Error{t.file, line, col, fmt.Errorf("%s: %w", name, err)}
	}
	return &Error{t.file, t.line, 0, fmt.Errorf("%s is missing", name)}
}

// num reads a number of a column; a column that is not mapped is 0, an empty field an error unless optional.
func (t *table) num(name string, optional bool) (float64, error) {
	if name == "" {
		return 0, nil
	}
	s := t.text(name)
	if s == "" && optional {
		return 0, nil
	}
	if t.buckets {
		s = strings.TrimPrefix(s, ">")
	}
	v, err := number(s)
	if err != nil {
		return 0, t.wrong(name, err)
	}
	return v, nil
}

// Read reads the jobs of a file.
func (c Columns) Read(file string, r io.Reader) (*Result, error) {
	t, err := openHeaded(file, r, c.Comma, c.Header)
	if err != nil {
		return nil, err
	}
	t.buckets = c.Buckets
	res := new(Result)
	if len(t.at) == 0 {
		return res, nil
	}
	if c.TimeUnit == 0 {
		c.TimeUnit = time.Second
	}
	if c.Arrival == "" || c.Duration == "" && c.End == "" {
		return nil, errNoTimes
	}
	if err := t.need(slices.Concat([]string{c.Name, c.Arrival, c.Duration, c.End, c.CPU, c.Memory, c.GPU, c.Use, c.Priority, c.Deadline,
		c.Start, c.GPUTimes}, c.Class)...); err != nil {
		return nil, err
	}
	for {
		more, err := t.next()
		if err != nil {
			return nil, err
		}
		if !more {
			return finish(res), nil
		}
		if len(res.Jobs) >= MaxRows {
			return nil, &Error{file, t.line, 0, errTooMany}
		}
		j, ok, err := c.job(t)
		if err != nil {
			return nil, err
		}
		if !ok {
			res.Skipped++
			continue
		}
		if j.Name == "" {
			j.Name = fmt.Sprintf("job-%d", t.line-1)
		}
		res.Jobs = append(res.Jobs, j)
	}
}

// idleUse is the use of a job of which a file says 0, which would mean all of its request.
const idleUse = 1e-9

func (c *Columns) job(t *table) (j simulate.Job, ok bool, err error) {
	j.Name = strings.Clone(t.text(c.Name))
	if j.Arrival, err = c.time(t, c.Arrival); err != nil {
		return j, false, err
	}
	if c.Duration != "" {
		v, err := t.num(c.Duration, false)
		if err != nil {
			return j, false, err
		}
		if j.Duration, err = span(v, c.TimeUnit); err != nil {
			return j, false, t.wrong(c.Duration, err)
		}
		if j.Duration < 0 {
			return j, false, t.wrong(c.Duration, fmt.Errorf("%v is negative", v))
		}
	} else {
		if t.text(c.End) == "" || c.Start != "" && t.text(c.Start) == "" {
			return j, false, nil // never ran or never ended
		}
		from := j.Arrival
		if c.Start != "" {
			if from, err = c.time(t, c.Start); err != nil {
				return j, false, err
			}
		}
		end, err := c.time(t, c.End)
		if err != nil {
			return j, false, err
		}
		if j.Duration = end - from; j.Duration < 0 {
			return j, false, t.wrong(c.End, fmt.Errorf("it ends %v before it begins", -j.Duration))
		}
	}
	if c.Deadline != "" && t.text(c.Deadline) != "" {
		if j.Deadline, err = c.time(t, c.Deadline); err != nil {
			return j, false, err
		}
	}
	times := 1.0
	if c.GPUTimes != "" {
		if times, err = t.num(c.GPUTimes, true); err != nil {
			return j, false, err
		}
	}
	for _, f := range []struct {
		name string
		unit float64
		to   *float64
	}{{c.CPU, c.CPUUnit, &j.Requests.CPU}, {c.Memory, c.MemoryUnit, &j.Requests.Memory}, {c.GPU, c.GPUUnit * times, &j.Requests.GPU}, {c.Use, c.UseUnit, &j.Use}} {
		v, err := t.num(f.name, true)
		if err != nil {
			return j, false, err
		}
		if f.unit != 0 {
			v *= f.unit
		} else if f.name == c.GPU {
			v *= times
		}
		if v < 0 || v > 1e18 {
			return j, false, t.wrong(f.name, fmt.Errorf("%v: %w", v, errRange))
		}
		*f.to = v
	}
	if j.Use == 0 && t.text(c.Use) != "" {
		j.Use = idleUse
	}
	if j.Use > 1 {
		return j, false, t.wrong(c.Use, fmt.Errorf("%v of the request is in use: %w", j.Use, errRange))
	}
	p, err := t.num(c.Priority, true)
	if err != nil {
		return j, false, err
	}
	if p != float64(int32(p)) {
		return j, false, t.wrong(c.Priority, fmt.Errorf("%v is not a whole number: %w", p, errRange))
	}
	j.Priority = int(p)
	parts := make([]string, len(c.Class))
	for i, n := range c.Class {
		parts[i] = t.text(n)
	}
	j.Class = strings.Join(parts, "/")
	return j, true, nil
}

func (c *Columns) time(t *table, name string) (time.Duration, error) {
	if c.Timestamps {
		at, err := time.Parse(time.RFC3339, t.text(name))
		if err != nil {
			return 0, t.wrong(name, fmt.Errorf("%q is not an RFC 3339 time", t.text(name)))
		}
		if y := at.Year(); y < 1900 || y > 2200 {
			return 0, t.wrong(name, fmt.Errorf("year %d: %w", y, errRange))
		}
		return at.Sub(time.Unix(0, 0)), nil
	}
	v, err := t.num(name, false)
	if err != nil {
		return 0, err
	}
	d, err := span(v, c.TimeUnit)
	if err != nil {
		return 0, t.wrong(name, err)
	}
	if d < 0 {
		return 0, t.wrong(name, fmt.Errorf("%v is negative", v))
	}
	return d, nil
}
