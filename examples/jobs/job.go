package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Limits of what one request or one job may say.
const (
	maxBody     = 8 << 20
	maxJobs     = 10_000 // in one request
	maxCores    = 1e5
	maxMemory   = 1e15 // bytes
	maxDuration = 30 * 24 * time.Hour
)

// A State is where a job is in its life.
type State string

// The states, in order. A job that is starting has a durable decision and may or may not run yet; one that is suspending may or may
// not have stopped yet. From suspended it goes on to starting.
const (
	Queued     State = "queued"
	Starting   State = "starting"
	Running    State = "running"
	Suspending State = "suspending"
	Suspended  State = "suspended"
	Done       State = "done"
	Failed     State = "failed"
)

// states are all of them.
var states = []State{Queued, Starting, Running, Suspending, Suspended, Done, Failed}

// A Job is work that was accepted.
type Job struct {
	ID        string
	Tag       string
	CPU       float64 // cores
	Memory    float64 // bytes
	Duration  time.Duration
	Submitted time.Time
	Deadline  time.Time // zero: none
	Priority  int

	// Suspendable says that the job may be stopped and go on later from where it was: it keeps what it has done itself.
	Suspendable bool

	State    State
	Strategy string // that placed it
	Node     string
	Site     string
	Planned  time.Time // when it is planned to start; zero: not planned
	Started  time.Time
	Resumed  time.Time // the last time; zero: it was never suspended
	Ended    time.Time
	Ran      []Stretch // what it ran before it was suspended
	KWh      float64   // predicted, of the nodes, by their models
	Grams    float64   // predicted when it was placed; of the intensities that came when it has ended; NaN if unknown
	AtOnce   float64   // g/kWh predicted when it was accepted, of an immediate start where it draws the least; NaN if unknown
	Message  string    // why it waits or failed
}

// wireJob is a job in JSON.
type wireJob struct {
	ID        string     `json:"id,omitempty"`
	Submit    *time.Time `json:"submit,omitempty"` // of KubeEnergyScheduler's files; the service's own clock counts
	CPU       float64    `json:"cpu"`              // cores
	MemoryGiB float64    `json:"mem,omitempty"`
	Seconds   float64    `json:"duration"`
	Tag       string     `json:"tag,omitempty"`
	Deadline  *time.Time `json:"deadline,omitempty"`
	Priority  int        `json:"priority,omitempty"`
	Suspend   bool       `json:"suspendable,omitempty"`

	State    State      `json:"state,omitempty"`
	Node     string     `json:"node,omitempty"`
	Site     string     `json:"site,omitempty"`
	Strategy string     `json:"strategy,omitempty"`
	Planned  *time.Time `json:"planned,omitempty"`
	Started  *time.Time `json:"started,omitempty"`
	Ended    *time.Time `json:"ended,omitempty"`
	Ran      []Stretch  `json:"stretches,omitempty"` // before it was suspended
	KWh      float64    `json:"energyKWh,omitempty"`
	Grams    *float64   `json:"carbonGrams,omitempty"` // left out where unknown
	Message  string     `json:"message,omitempty"`
}

func (j *Job) wire() wireJob {
	t := func(x time.Time) *time.Time {
		if x.IsZero() {
			return nil
		}
		return new(x.UTC())
	}
	w := wireJob{ID: j.ID, Submit: t(j.Submitted), CPU: j.CPU, MemoryGiB: j.Memory / (1 << 30), Seconds: j.Duration.Seconds(), Tag: j.Tag, Deadline: t(j.Deadline),
		Priority: j.Priority, Suspend: j.Suspendable, Ran: j.Ran, State: j.State, Node: j.Node, Site: j.Site, Strategy: j.Strategy, Planned: t(j.Planned), Started: t(j.Started), Ended: t(j.Ended),
		KWh: j.KWh, Message: j.Message}
	if !math.IsNaN(j.Grams) && j.Node != "" {
		w.Grams = new(j.Grams)
	}
	return w
}

// label is what Kubernetes takes as the name of an object and the value of a label.
var label = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]{0,48}[a-z0-9])?$`)

// told names a field that only the service fills; empty: none is there.
func (w *wireJob) told() string {
	for name, there := range map[string]bool{"state": w.State != "", "node": w.Node != "", "site": w.Site != "", "strategy": w.Strategy != "", "planned": w.Planned != nil, "started": w.Started != nil,
		"ended": w.Ended != nil, "stretches": w.Ran != nil, "energyKWh": w.KWh != 0, "carbonGrams": w.Grams != nil, "message": w.Message != ""} {
		if there {
			return name
		}
	}
	return ""
}

// accept makes a job of what was asked for, or says which field is wrong.
func (w *wireJob) accept(now time.Time) (*Job, error) {
	if w.ID != "" && !label.MatchString(w.ID) {
		return nil, fmt.Errorf("id %.60q: want at most 50 lower-case letters, digits and hyphens", w.ID)
	}
	if len(w.Tag) > 50 {
		return nil, fmt.Errorf("tag: %d bytes: want 50 at most", len(w.Tag))
	}
	if !utf8.ValidString(w.Tag) || strings.ContainsFunc(w.Tag, unicode.IsControl) { // it becomes a variable of a container's environment
		return nil, fmt.Errorf("tag %q: want UTF-8 without control characters", w.Tag)
	}
	if name := w.told(); name != "" {
		return nil, fmt.Errorf("field %q: the service tells it, and takes it from nobody", name)
	}
	if !(w.CPU > 0 && w.CPU <= maxCores) {
		return nil, fmt.Errorf("cpu %v: want cores, above 0 and at most %g", w.CPU, float64(maxCores))
	}
	if !(w.MemoryGiB >= 0 && w.MemoryGiB*(1<<30) <= maxMemory) {
		return nil, fmt.Errorf("mem %v: want GiB, 0 or more", w.MemoryGiB)
	}
	if !(w.Seconds >= 1 && w.Seconds <= maxDuration.Seconds()) {
		return nil, fmt.Errorf("duration %v: want seconds, 1 to %g", w.Seconds, maxDuration.Seconds())
	}
	if w.Priority < -1e9 || w.Priority > 1e9 {
		return nil, fmt.Errorf("priority %d: want -1e9 to 1e9", w.Priority)
	}
	j := &Job{ID: w.ID, Tag: w.Tag, CPU: w.CPU, Memory: w.MemoryGiB * (1 << 30), Duration: time.Duration(w.Seconds * float64(time.Second)), Submitted: now.UTC(),
		Priority: w.Priority, Suspendable: w.Suspend, State: Queued, Grams: math.NaN(), AtOnce: math.NaN()}
	if w.Deadline != nil {
		if y := w.Deadline.Year(); y < 2000 || y > 2200 {
			return nil, fmt.Errorf("deadline %v: want RFC 3339 between 2000 and 2200", w.Deadline)
		}
		j.Deadline = w.Deadline.UTC() // one in the past is started at once
	}
	return j, nil
}

// parseJobs reads one job or a list in JSON.
func parseJobs(body []byte, now time.Time) ([]*Job, error) {
	var list []wireJob
	one := !bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("["))
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if one {
		list = make([]wireJob, 1)
		if err := d.Decode(&list[0]); err != nil {
			return nil, fmt.Errorf("json: %w", inWords(err))
		}
	} else if err := eachJob(d, func(w wireJob) bool {
		list = append(list, w)
		return len(list) <= maxJobs // more are refused below, and need no room before
	}); err != nil {
		return nil, fmt.Errorf("json: job %d: %w", len(list), inWords(err))
	}
	if len(list) > maxJobs {
		return nil, fmt.Errorf("more than %d jobs in one request", maxJobs)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("json: something follows the jobs")
	}
	return acceptAll(list, now, func(i int) string {
		if one {
			return ""
		}
		return fmt.Sprintf("job %d: ", i)
	})
}

// inWords says of a value of the wrong type what is wanted, and not what Go calls it.
func inWords(err error) error {
	if at, ok := errors.AsType[*time.ParseError](err); ok {
		return fmt.Errorf("time %.40q: want RFC 3339, as 2006-01-02T15:04:05Z", strings.Trim(at.Value, `"`))
	}
	if errors.Is(err, io.EOF) {
		return errors.New("the body is empty: want a job or a list of jobs")
	}
	t, ok := errors.AsType[*json.UnmarshalTypeError](err)
	if !ok {
		return err
	}
	if number, ok := strings.CutPrefix(t.Value, "number "); ok && t.Type.Kind() == reflect.Float64 {
		return fmt.Errorf("field %q: %.40s is too large", t.Field, number)
	}
	want := "an object with the fields of a job"
	switch t.Type.Kind() {
	case reflect.Float64:
		want = "a number"
	case reflect.Int:
		want = "a whole number"
	case reflect.String:
		want = "a text"
	case reflect.Bool:
		want = "true or false"
	}
	if t.Field == "" {
		return fmt.Errorf("want %s, not a value of type %s", want, t.Value)
	}
	return fmt.Errorf("field %q: want %s, not a value of type %s", t.Field, want, t.Value)
}

// eachJob reads a list one by one, as long as yield wants more.
func eachJob(d *json.Decoder, yield func(wireJob) bool) error {
	if _, err := d.Token(); err != nil {
		return err
	}
	for d.More() {
		var w wireJob
		if err := d.Decode(&w); err != nil {
			return err
		}
		if !yield(w) {
			return nil
		}
	}
	_, err := d.Token() // the end of the list
	return err
}

func acceptAll(list []wireJob, now time.Time, where func(int) string) ([]*Job, error) {
	if len(list) == 0 || len(list) > maxJobs {
		return nil, fmt.Errorf("%d jobs: want 1 to %d in one request", len(list), maxJobs)
	}
	jobs := make([]*Job, len(list))
	for i := range list {
		var err error
		if jobs[i], err = list[i].accept(now); err != nil {
			return nil, fmt.Errorf("%s%w", where(i), err)
		}
	}
	return jobs, nil
}

// csvColumns are those of KubeEnergyScheduler's workload file, and what may follow.
var csvColumns = []string{"id", "submit", "cpu", "mem", "duration", "tag", "deadline", "priority", "suspendable"}

// parseCSV reads KubeEnergyScheduler's workload file, id,submit,cpu,mem,duration,tag, in which deadline, priority and suspendable may follow.
func parseCSV(body []byte, now time.Time) ([]*Job, error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff")))) // as spreadsheets write it
	r.ReuseRecord = true
	header, err := r.Read()
	if errors.Is(err, io.EOF) {
		return nil, fmt.Errorf("csv: the body is empty: want a line with some of %s, and a job a line", strings.Join(csvColumns, ","))
	}
	if err != nil {
		return nil, fmt.Errorf("csv: %w", err)
	}
	header = slices.Clone(header)
	at := make(map[string]int)
	for i, name := range header {
		name = strings.ToLower(strings.TrimSpace(name))
		if !slices.Contains(csvColumns, name) {
			return nil, fmt.Errorf("csv: line 1: unknown column %.40q: want some of %s", name, strings.Join(csvColumns, ","))
		}
		if _, ok := at[name]; ok {
			return nil, fmt.Errorf("csv: line 1: column %q stands twice", name)
		}
		at[name] = i
	}
	var list []wireJob
	var lines []int
	for {
		f, err := r.Read()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("csv: %w", err)
		}
		line, _ := r.FieldPos(0)
		w, err := csvJob(f, at)
		if err != nil {
			return nil, fmt.Errorf("csv: line %d: %w", line, err)
		}
		if list, lines = append(list, w), append(lines, line); len(list) > maxJobs {
			break
		}
	}
	return acceptAll(list, now, func(i int) string { return fmt.Sprintf("csv: line %d: ", lines[i]) })
}

func csvJob(f []string, at map[string]int) (w wireJob, err error) {
	text := func(name string) string {
		if i, ok := at[name]; ok {
			return strings.Clone(strings.TrimSpace(f[i]))
		}
		return ""
	}
	w.ID, w.Tag = text("id"), text("tag")
	for name, to := range map[string]*float64{"cpu": &w.CPU, "mem": &w.MemoryGiB, "duration": &w.Seconds} {
		s := text(name)
		if s == "" {
			continue
		}
		if *to, err = strconv.ParseFloat(s, 64); err != nil {
			return w, fmt.Errorf("%s %.40q: want a number", name, s)
		}
	}
	for name, to := range map[string]**time.Time{"submit": &w.Submit, "deadline": &w.Deadline} {
		s := text(name)
		if s == "" {
			continue
		}
		t, err := time.Parse(time.RFC3339, s)
		if err != nil {
			return w, fmt.Errorf("%s %.40q: want RFC 3339", name, s)
		}
		*to = &t
	}
	if s := text("priority"); s != "" {
		if w.Priority, err = strconv.Atoi(s); err != nil {
			return w, fmt.Errorf("priority %.40q: want a whole number", s)
		}
	}
	if s := text("suspendable"); s != "" {
		if w.Suspend, err = strconv.ParseBool(s); err != nil {
			return w, fmt.Errorf("suspendable %.40q: want true or false", s)
		}
	}
	return w, nil
}
