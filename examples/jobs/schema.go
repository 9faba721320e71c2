package main

import (
	"context"
	"database/sql"
	"fmt"
)

// schema is made by every start. Times are milliseconds since 1970, 0 for none; NULL is unknown.
const schema = `
CREATE TABLE IF NOT EXISTS jobs (
	seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, tag TEXT NOT NULL, cpu REAL NOT NULL, memory REAL NOT NULL, duration_ms INTEGER NOT NULL,
	submitted_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL, priority INTEGER NOT NULL,
	state TEXT NOT NULL, strategy TEXT NOT NULL, node TEXT NOT NULL, site TEXT NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,
	energy_kwh REAL NOT NULL, carbon_g REAL, message TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS decisions (
	JobID TEXT NOT NULL, AssignedNode TEXT NOT NULL, Strategy TEXT NOT NULL, CIscore REAL, Timestamp TEXT NOT NULL,
	Site TEXT NOT NULL, EnergyKWh REAL NOT NULL, Intensity REAL, Reason TEXT NOT NULL, Seq INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS samples (
	Node TEXT NOT NULL, Kind TEXT NOT NULL, Value REAL NOT NULL, Source TEXT NOT NULL, Timestamp TEXT NOT NULL, Seq INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
`

// later are columns that came after the first version: a database that lacks them gets them. at_once_intensity is what was expected when
// the job was accepted, had it started then; ran holds the stretches before suspensions, in JSON.
var later = []struct{ table, column, definition string }{
	{"jobs", "suspendable", "INTEGER NOT NULL DEFAULT 0"},
	{"jobs", "resumed_ms", "INTEGER NOT NULL DEFAULT 0"},
	{"jobs", "ran", "TEXT NOT NULL DEFAULT ''"},
	{"jobs", "at_once_intensity", "REAL"},
	{"decisions", "Action", "TEXT NOT NULL DEFAULT 'start'"},
}

// indexes are of the present version.
const indexes = `
DROP INDEX IF EXISTS unfinished;
CREATE INDEX IF NOT EXISTS unended ON jobs (seq) WHERE state NOT IN ('done', 'failed');
`

// migrate brings a database of any version to the present one.
func migrate(ctx context.Context, db *sql.DB) error {
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return err
	}
	for _, c := range later {
		var n int
		if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM pragma_table_info(?) WHERE name = ?", c.table, c.column).Scan(&n); err != nil {
			return err
		}
		if n > 0 {
			continue
		}
		if _, err := db.ExecContext(ctx, fmt.Sprintf("ALTER TABLE %s ADD COLUMN %s %s", c.table, c.column, c.definition)); err != nil { // all constants
			return err
		}
	}
	_, err := db.ExecContext(ctx, indexes)
	return err
}
