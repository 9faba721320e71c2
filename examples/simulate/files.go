package main

import (
	"context"
	"database/sql"
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// began is the moment that virtual time counts from in the files.
var began = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)

// sheet is one table of the results: KubeEnergyScheduler's columns first, then ours.
type sheet struct {
	name   string
	header []string
	rows   [][]any
}

// writeAll writes the CSV files, the database and the report.
func writeAll(ctx context.Context, o *options, done []outcome) error {
	if err := writeSheets(ctx, o.out, []sheet{runLog(o, done), scheduleLog(o, done), summary(o, done)}); err != nil {
		return err
	}
	return writeReport(filepath.Join(o.out, "report.html"), o, done)
}

// writeSheets writes each sheet as a CSV file and as a table of results.db.
func writeSheets(ctx context.Context, dir string, sheets []sheet) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, s := range sheets {
		if err := s.writeCSV(filepath.Join(dir, s.name+".csv")); err != nil {
			return err
		}
	}
	return writeDatabase(ctx, filepath.Join(dir, "results.db"), sheets)
}

func stamp(d time.Duration) string { return began.Add(d).Format(time.RFC3339) }

// grams is a job's carbon: its share of the servers' energy at what its site emitted then, or at the given intensity.
func grams(o *options, r *simulate.Record) float64 {
	if o.world != nil {
		return r.Grams
	}
	return r.Energy.KilowattHours() * o.intensity * o.pue
}

func runLog(o *options, done []outcome) sheet {
	s := sheet{name: "run_log", header: []string{"JobID", "Node", "Submit", "Start", "End", "WaitMS", "CICost", "Strategy", "CPU", "EnergyWh"}}
	for _, d := range done {
		for i := range d.records {
			r := &d.records[i]
			if r.Unplaced != "" || r.Running {
				continue
			}
			s.rows = append(s.rows, []any{r.Job.Name, r.Node, stamp(r.Job.Arrival), stamp(r.Start), stamp(r.End), (r.Start - r.Job.Arrival).Milliseconds(),
				grams(o, r), d.result.Strategy, r.Job.Requests.CPU, r.Energy.KilowattHours() * 1000})
		}
	}
	return s
}

func scheduleLog(o *options, done []outcome) sheet {
	s := sheet{name: "schedule_log", header: []string{"JobID", "AssignedNode", "Strategy", "CIscore", "Timestamp", "Reason"}}
	for _, d := range done {
		for i := range d.records {
			r := &d.records[i]
			at := r.Start
			if r.Unplaced != "" {
				at = r.Job.Arrival
			}
			s.rows = append(s.rows, []any{r.Job.Name, r.Node, d.result.Strategy, grams(o, r), stamp(at), r.Unplaced})
		}
	}
	return s
}

func summary(o *options, done []outcome) sheet {
	s := sheet{name: "summary", header: []string{"ci_weight", "batch_size", "scheduler", "avg_wait_s", "avg_runtime_s", "total_ci_cost", "avg_solve_ms",
		"energy_kwh", "bound_kwh", "over_bound", "cost", "p95_wait_s", "avg_turnaround_s", "makespan_s", "finished", "waiting", "unplaced", "missed_deadlines", "switch_ons", "moves", "load", "seed", "weights"}}
	for _, d := range done {
		r := d.result
		size := 1
		if o.every > 0 {
			size = 100
		}
		k := r.Energy.KilowattHours()
		s.rows = append(s.rows, []any{1.0, size, r.Strategy, r.MeanWait.Seconds(), (r.MeanTurnaround - r.MeanWait).Seconds(), o.kilograms(r) * 1000, solveMillis(r),
			k, r.Bound.KilowattHours(), r.OverBound(), o.money(r), r.P95Wait.Seconds(), r.MeanTurnaround.Seconds(), r.Makespan.Seconds(),
			r.Finished, r.Waiting, r.Unplaced, r.Missed, r.SwitchOns, r.Moves, d.load, int64(d.seed), weightsText(d.weights)})
	}
	return s
}

func (s *sheet) writeCSV(name string) (err error) {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer func() {
		if e := f.Close(); err == nil {
			err = e
		}
	}()
	w := csv.NewWriter(f)
	if err := w.Write(s.header); err != nil {
		return err
	}
	text := make([]string, len(s.header))
	for _, row := range s.rows {
		for i, v := range row {
			switch v := v.(type) {
			case string:
				text[i] = v
			case float64:
				text[i] = strconv.FormatFloat(v, 'g', 10, 64)
			default:
				text[i] = fmt.Sprint(v)
			}
		}
		if err := w.Write(text); err != nil {
			return err
		}
	}
	w.Flush()
	return w.Error()
}

// writeDatabase writes each sheet as a table of one SQLite database.
func writeDatabase(ctx context.Context, name string, sheets []sheet) (err error) {
	if err := os.Remove(name); err != nil && !os.IsNotExist(err) {
		return err
	}
	db, err := sql.Open("sqlite", name)
	if err != nil {
		return err
	}
	defer func() {
		if e := db.Close(); err == nil {
			err = e
		}
	}()
	for _, s := range sheets {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if err := s.insert(ctx, tx); err != nil {
			return fmt.Errorf("%s: table %s: %w", name, s.name, errJoinRollback(err, tx))
		}
		if err := tx.Commit(); err != nil {
			return fmt.Errorf("%s: table %s: %w", name, s.name, err)
		}
	}
	return nil
}

func errJoinRollback(err error, tx *sql.Tx) error {
	if e := tx.Rollback(); e != nil {
		return fmt.Errorf("%w (and %w)", err, e)
	}
	return err
}

// insert makes the table; names of tables and columns are constants of this file.
func (s *sheet) insert(ctx context.Context, tx *sql.Tx) error {
	columns, marks := "", ""
	for i, h := range s.header {
		if i > 0 {
			columns, marks = columns+", ", marks+", "
		}
		columns, marks = columns+h, marks+"?"
	}
	if _, err := tx.ExecContext(ctx, "CREATE TABLE "+s.name+" ("+columns+")"); err != nil {
		return err
	}
	stmt, err := tx.PrepareContext(ctx, "INSERT INTO "+s.name+" VALUES ("+marks+")")
	if err != nil {
		return err
	}
	defer stmt.Close()
	for _, row := range s.rows {
		if _, err := stmt.ExecContext(ctx, row...); err != nil {
			return err
		}
	}
	return nil
}
