// Package trace reads workloads and clusters from the files that others publish: Alibaba openb, ECSched, KubeEnergyScheduler, the Standard
// Workload Format, PlanetLab, SURF, Azure's VM table, Google's task tables, and any CSV by a [Columns] map.
//
// Errors are of type [*Error] and name the file, the line and the column. Files are foreign: lines and rows are limited. What
// a format marks as unknown (a duration of -1 in SWF, a pod that was never scheduled) is left out and counted.
package trace

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// Limits on foreign files.
const (
	MaxRows = 20_000_000
	maxLine = 1 << 20
)

// Error says where a file is wrong. Line and Column count from 1; Column 0 is the whole line.
type Error struct {
	File   string
	Line   int
	Column int
	Err    error
}

func (e *Error) Error() string {
	if e.Column > 0 {
		return fmt.Sprintf("%s:%d:%d: %v", e.File, e.Line, e.Column, e.Err)
	}
	return fmt.Sprintf("%s:%d: %v", e.File, e.Line, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Result is what a file holds: jobs in the order of their arrival, the first of which arrives at 0.
type Result struct {
	Jobs []simulate.Job
	// Skipped counts rows that the format marks as incomplete, such as jobs that never ran.
	Skipped int
}

// Formats returns the names that [Read] knows.
func Formats() []string {
	return []string{"azure-vm", "batch", "batch-hours", "ecsched", "google-events", "google-tasks", "kubeenergyscheduler", "openb", "planetlab", "swf"}
}

// Google tells no sizes of its machines; [Read] takes the largest for this.
const (
	googleCores = 64
	googleBytes = 256 << 30
)

// Read reads jobs in a format of [Formats]. file names r in errors. SURF's two files are for [SURF], other CSV for [Columns].
func Read(format, file string, r io.Reader) (*Result, error) {
	switch format {
	case "openb":
		return openb.Read(file, r)
	case "azure-vm":
		return AzureVMs().Read(file, r)
	case "google-tasks":
		return GoogleTasks(googleCores, googleBytes).Read(file, r)
	case "google-events":
		return GoogleEvents(file, r, googleCores, googleBytes)
	case "batch":
		return BatchJobs(time.Second).Read(file, r)
	case "batch-hours":
		return BatchJobs(time.Hour).Read(file, r)
	case "kubeenergyscheduler":
		return kubeEnergy.Read(file, r)
	case "ecsched":
		return ecsched(file, r)
	case "swf":
		return swf(file, r)
	case "planetlab":
		return PlanetLab(file, r, 1)
	}
	return nil, fmt.Errorf("no trace format is named %q; there are %s", format, strings.Join(Formats(), ", "))
}

// finish sorts jobs by arrival and lets the first arrive at 0.
func finish(res *Result) *Result {
	slices.SortStableFunc(res.Jobs, func(a, b simulate.Job) int {
		switch {
		case a.Arrival < b.Arrival:
			return -1
		case a.Arrival > b.Arrival:
			return 1
		}
		return 0
	})
	if len(res.Jobs) > 0 {
		first := res.Jobs[0].Arrival
		for i := range res.Jobs {
			j := &res.Jobs[i]
			j.Arrival -= first
			if j.Deadline != 0 {
				j.Deadline = max(j.Deadline-first, 1) // one that is over before the first arrival is no less a deadline
			}
		}
	}
	return res
}

// fieldsOf calls f for each line of whitespace-separated fields. Lines that begin with a comment mark are skipped.
func fieldsOf(file string, r io.Reader, comment string, f func(line int, fields []string) error) error {
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 0, 64<<10), maxLine)
	line := 0
	for s.Scan() {
		line++
		if line > MaxRows {
			return &Error{file, line, 0, errTooMany}
		}
		text := strings.TrimSpace(s.Text())
		if text == "" || comment != "" && strings.HasPrefix(text, comment) {
			continue
		}
		if err := f(line, strings.Fields(text)); err != nil {
			return err
		}
	}
	if err := s.Err(); err != nil {
		return &Error{file, line + 1, 0, err}
	}
	return nil
}

var (
	errTooMany = fmt.Errorf("more than %d rows", MaxRows)
	errRange   = errors.New("out of range")
)

// number parses a finite number.
func number(s string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil {
		return 0, fmt.Errorf("%q is not a number", s)
	}
	if v != v || v > 1e300 || v < -1e300 {
		return 0, fmt.Errorf("%q is not a finite number", s)
	}
	return v, nil
}

// span makes a duration of a number of units.
func span(v float64, unit time.Duration) (time.Duration, error) {
	d := v * float64(unit)
	if d > 9e18 || d < -9e18 {
		return 0, fmt.Errorf("%v × %v: %w", v, unit, errRange)
	}
	return time.Duration(d), nil
}
