package main

import (
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
)

const insertJob = `INSERT INTO jobs (id, tag, cpu, memory, duration_ms, submitted_ms, deadline_ms, priority, suspendable, at_once_intensity, state, strategy, node, site, started_ms, ended_ms, energy_kwh, carbon_g, message)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', '', 0, 0, 0, NULL, '') ON CONFLICT (id) DO NOTHING`

// errConflict says that a job of the name is there already and is another one.
var errConflict = errors.New("another job has this id")

// insert adds a job and tells whether it is new. One that is there already with the same content is not an error: the
// client repeats a request whose answer it did not get.
func (b *batchTx) insert(j *Job) (added bool, err error) {
	r, err := b.exec(insertJob, j.ID, j.Tag, j.CPU, j.Memory, j.Duration.Milliseconds(), millis(j.Submitted), millis(j.Deadline), j.Priority, j.Suspendable, known(j.AtOnce), string(j.State))
	if err != nil {
		return false, err
	}
	if n, err := r.RowsAffected(); err != nil || n == 1 {
		return n == 1, err
	}
	var same int
	row := b.tx.QueryRowContext(b.ctx, "SELECT COUNT(*) FROM jobs WHERE id = ? AND tag = ? AND cpu = ? AND memory = ? AND duration_ms = ? AND deadline_ms = ? AND priority = ? AND suspendable = ?",
		j.ID, j.Tag, j.CPU, j.Memory, j.Duration.Milliseconds(), millis(j.Deadline), j.Priority, j.Suspendable)
	if err := row.Scan(&same); err != nil {
		return false, err
	}
	if same == 0 {
		return false, fmt.Errorf("id %q: %w", j.ID, errConflict)
	}
	return false, nil
}

// update writes what may change of a job.
func (b *batchTx) update(j *Job) error {
	ran := ""
	if len(j.Ran) > 0 {
		text, err := json.Marshal(j.Ran)
		if err != nil {
			return err
		}
		ran = string(text)
	}
	_, err := b.exec("UPDATE jobs SET state = ?, strategy = ?, node = ?, site = ?, started_ms = ?, resumed_ms = ?, ended_ms = ?, ran = ?, energy_kwh = ?, carbon_g = ?, message = ? WHERE id = ?",
		string(j.State), j.Strategy, j.Node, j.Site, millis(j.Started), millis(j.Resumed), millis(j.Ended), ran, j.KWh, known(j.Grams), j.Message, j.ID)
	return err
}

// An Action is what was decided.
type Action string

// The actions.
const (
	Start   Action = "start"
	Suspend Action = "suspend"
	Resume  Action = "resume"
)

// A Decision is a row of the log: a job was given a node, or was suspended on it.
type Decision struct {
	JobID     string    `json:"jobID"`
	Node      string    `json:"assignedNode"`
	Strategy  string    `json:"strategy"`
	Score     *float64  `json:"ciScore"` // predicted grams; nil if unknown
	At        time.Time `json:"timestamp"`
	Site      string    `json:"site"`
	KWh       float64   `json:"energyKWh"` // of the work that is left; of what was done, where it is suspended
	Intensity *float64  `json:"intensity"` // g/kWh predicted over the run, or if it went on, with PUE; nil if unknown
	Reason    string    `json:"reason"`
	Action    Action    `json:"action"`
}

// decisionColumns are the columns of the log but the last.
var decisionColumns = []string{"JobID", "AssignedNode", "Strategy", "CIscore", "Timestamp", "Site", "EnergyKWh", "Intensity", "Reason", "Action"}

func (b *batchTx) decide(d *Decision) error {
	_, err := b.exec("INSERT INTO decisions (JobID, AssignedNode, Strategy, CIscore, Timestamp, Site, EnergyKWh, Intensity, Reason, Action) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
		d.JobID, d.Node, d.Strategy, d.Score, stamp(d.At), d.Site, d.KWh, d.Intensity, d.Reason, string(d.Action))
	return err
}

// A Sample is a measurement of a node.
type Sample struct {
	Node, Kind, Source string
	Value              float64
	At                 time.Time
}

func (b *batchTx) sample(x *Sample) error {
	_, err := b.exec("INSERT INTO samples (Node, Kind, Value, Source, Timestamp) VALUES (?, ?, ?, ?, ?)", x.Node, x.Kind, x.Value, x.Source, stamp(x.At))
	return err
}

const jobColumns = "id, tag, cpu, memory, duration_ms, submitted_ms, deadline_ms, priority, suspendable, at_once_intensity, state, strategy, node, site, started_ms, resumed_ms, ended_ms, ran, energy_kwh, carbon_g, message"

func scanJob(rows interface{ Scan(...any) error }) (*Job, error) {
	var j Job
	var duration, submitted, deadline, started, resumed, ended int64
	var grams, atOnce sql.NullFloat64
	var state, ran string
	if err := rows.Scan(&j.ID, &j.Tag, &j.CPU, &j.Memory, &duration, &submitted, &deadline, &j.Priority, &j.Suspendable, &atOnce, &state, &j.Strategy, &j.Node, &j.Site,
		&started, &resumed, &ended, &ran, &j.KWh, &grams, &j.Message); err != nil {
		return nil, err
	}
	if ran != "" {
		if err := json.Unmarshal([]byte(ran), &j.Ran); err != nil {
			return nil, fmt.Errorf("job %q: its stretches: %w", j.ID, err)
		}
	}
	j.AtOnce = math.NaN()
	if atOnce.Valid {
		j.AtOnce = atOnce.Float64
	}
	j.Duration, j.State, j.Grams = time.Duration(duration)*time.Millisecond, State(state), math.NaN()
	if grams.Valid {
		j.Grams = grams.Float64
	}
	j.Submitted, j.Deadline, j.Started, j.Resumed, j.Ended = moment(submitted), moment(deadline), moment(started), moment(resumed), moment(ended)
	return &j, nil
}

func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z07:00") }

// known makes NULL of a value that is not known.
func known(v float64) any {
	if math.IsNaN(v) {
		return nil
	}
	return v
}
