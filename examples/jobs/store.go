package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"time"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

// schema is made by every start. Times are milliseconds since 1970, 0 for none; NULL is unknown.
const schema = `
CREATE TABLE IF NOT EXISTS jobs (
	seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, tag TEXT NOT NULL, cpu REAL NOT NULL, memory REAL NOT NULL, duration_ms INTEGER NOT NULL,
	submitted_ms INTEGER NOT NULL, deadline_ms INTEGER NOT NULL, priority INTEGER NOT NULL,
	state TEXT NOT NULL, strategy TEXT NOT NULL, node TEXT NOT NULL, site TEXT NOT NULL, started_ms INTEGER NOT NULL, ended_ms INTEGER NOT NULL,
	energy_kwh REAL NOT NULL, carbon_g REAL, message TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS unfinished ON jobs (seq) WHERE state IN ('queued', 'starting', 'running');
CREATE TABLE IF NOT EXISTS decisions (
	JobID TEXT NOT NULL, AssignedNode TEXT NOT NULL, Strategy TEXT NOT NULL, CIscore REAL, Timestamp TEXT NOT NULL,
	Site TEXT NOT NULL, EnergyKWh REAL NOT NULL, Intensity REAL, Reason TEXT NOT NULL, Seq INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS samples (
	Node TEXT NOT NULL, Kind TEXT NOT NULL, Value REAL NOT NULL, Source TEXT NOT NULL, Timestamp TEXT NOT NULL, Seq INTEGER PRIMARY KEY);
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
`

// A Store keeps everything in one SQLite database. What Do has returned from is on the disk: one goroutine commits all that
// came while the last commit was on its way, and a commit waits for the disk (group commit).
type Store struct {
	db   *sql.DB
	work chan *change
}

// A change is what one caller wants in the next transaction.
type change struct {
	apply func(tx *batchTx) error
	done  chan error
}

// batchTx is a transaction with its prepared statements.
type batchTx struct {
	ctx context.Context
	tx  *sql.Tx
	by  map[string]*sql.Stmt
}

// maxGroup bounds how many changes one commit holds.
const maxGroup = 4096

// openStore opens or makes the database of a folder.
func openStore(ctx context.Context, dir string) (*Store, error) {
	name := filepath.Join(dir, "jobs.db")
	// WAL with synchronous=FULL waits for the disk at every commit.
	db, err := sql.Open("sqlite", "file:"+name+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_pragma=cache_size(-16000)&_pragma=wal_autocheckpoint(4000)")
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	db.SetMaxOpenConns(4)
	if _, err := db.ExecContext(ctx, schema); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), db.Close())
	}
	return &Store{db: db, work: make(chan *change, maxGroup)}, nil
}

// Run commits changes until ctx is done and nothing waits any more.
func (s *Store) Run(ctx context.Context) {
	for {
		select {
		case c := <-s.work:
			s.commit(s.group(c))
		case <-ctx.Done():
			for {
				select {
				case c := <-s.work:
					s.commit(s.group(c))
				default:
					return
				}
			}
		}
	}
}

// group takes what waits already, without waiting for more.
func (s *Store) group(first *change) []*change {
	list := []*change{first}
	for len(list) < maxGroup {
		select {
		case c := <-s.work:
			list = append(list, c)
		default:
			return list
		}
	}
	return list
}

func (s *Store) commit(list []*change) {
	err := s.try(list)
	if err != nil && len(list) > 1 { // one that cannot be applied must not take the others with it
		for _, c := range list {
			c.done <- s.try([]*change{c})
		}
		return
	}
	for _, c := range list {
		c.done <- err
	}
}

func (s *Store) try(list []*change) (err error) {
	ctx := context.Background() // what is being committed is not interrupted
	tx, err := s.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	b := &batchTx{ctx: ctx, tx: tx, by: make(map[string]*sql.Stmt)}
	for _, c := range list {
		if err := c.apply(b); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

// Do applies a change and returns when it is durable. The function may run twice, so what
// it does must bear repetition. When ctx ends first, the change may still be made.
func (s *Store) Do(ctx context.Context, apply func(tx *batchTx) error) error {
	c := &change{apply: apply, done: make(chan error, 1)}
	select {
	case s.work <- c:
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-c.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close closes the database after Run has returned.
func (s *Store) Close() error { return s.db.Close() }

func (b *batchTx) exec(query string, args ...any) (sql.Result, error) {
	stmt := b.by[query]
	if stmt == nil {
		var err error
		if stmt, err = b.tx.PrepareContext(b.ctx, query); err != nil {
			return nil, err
		}
		b.by[query] = stmt
	}
	return stmt.ExecContext(b.ctx, args...)
}

const insertJob = `INSERT INTO jobs (id, tag, cpu, memory, duration_ms, submitted_ms, deadline_ms, priority, state, strategy, node, site, started_ms, ended_ms, energy_kwh, carbon_g, message)
	VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, '', '', '', 0, 0, 0, NULL, '') ON CONFLICT (id) DO NOTHING`

// errConflict says that a job of the name is there already and is another one.
var errConflict = errors.New("another job has this id")

// insert adds a job and tells whether it is new. One that is there already with the same content is not an error: the
// client repeats a request whose answer it did not get.
func (b *batchTx) insert(j *Job) (added bool, err error) {
	r, err := b.exec(insertJob, j.ID, j.Tag, j.CPU, j.Memory, j.Duration.Milliseconds(), millis(j.Submitted), millis(j.Deadline), j.Priority, string(j.State))
	if err != nil {
		return false, err
	}
	if n, err := r.RowsAffected(); err != nil || n == 1 {
		return n == 1, err
	}
	var same int
	row := b.tx.QueryRowContext(b.ctx, "SELECT COUNT(*) FROM jobs WHERE id = ? AND tag = ? AND cpu = ? AND memory = ? AND duration_ms = ? AND deadline_ms = ? AND priority = ?",
		j.ID, j.Tag, j.CPU, j.Memory, j.Duration.Milliseconds(), millis(j.Deadline), j.Priority)
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
	_, err := b.exec("UPDATE jobs SET state = ?, strategy = ?, node = ?, site = ?, started_ms = ?, ended_ms = ?, energy_kwh = ?, carbon_g = ?, message = ? WHERE id = ?",
		string(j.State), j.Strategy, j.Node, j.Site, millis(j.Started), millis(j.Ended), j.KWh, known(j.Grams), j.Message, j.ID)
	return err
}

// A Decision is a row of the log: a job was given a node.
type Decision struct {
	JobID     string    `json:"jobID"`
	Node      string    `json:"assignedNode"`
	Strategy  string    `json:"strategy"`
	Score     *float64  `json:"ciScore"` // predicted grams; nil if unknown
	At        time.Time `json:"timestamp"`
	Site      string    `json:"site"`
	KWh       float64   `json:"energyKWh"`
	Intensity *float64  `json:"intensity"` // g/kWh predicted over the run, with PUE; nil if unknown
	Reason    string    `json:"reason"`
}

func (b *batchTx) decide(d *Decision) error {
	_, err := b.exec("INSERT INTO decisions (JobID, AssignedNode, Strategy, CIscore, Timestamp, Site, EnergyKWh, Intensity, Reason) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
		d.JobID, d.Node, d.Strategy, d.Score, stamp(d.At), d.Site, d.KWh, d.Intensity, d.Reason)
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

const jobColumns = "id, tag, cpu, memory, duration_ms, submitted_ms, deadline_ms, priority, state, strategy, node, site, started_ms, ended_ms, energy_kwh, carbon_g, message"

func scanJob(rows interface{ Scan(...any) error }) (*Job, error) {
	var j Job
	var duration, submitted, deadline, started, ended int64
	var grams sql.NullFloat64
	var state string
	if err := rows.Scan(&j.ID, &j.Tag, &j.CPU, &j.Memory, &duration, &submitted, &deadline, &j.Priority, &state, &j.Strategy, &j.Node, &j.Site, &started, &ended, &j.KWh, &grams, &j.Message); err != nil {
		return nil, err
	}
	j.Duration, j.State, j.Grams = time.Duration(duration)*time.Millisecond, State(state), math.NaN()
	if grams.Valid {
		j.Grams = grams.Float64
	}
	j.Submitted, j.Deadline, j.Started, j.Ended = moment(submitted), moment(deadline), moment(started), moment(ended)
	return &j, nil
}

// Unfinished returns the jobs that are not done, in the order they were accepted.
func (s *Store) Unfinished(ctx context.Context) ([]*Job, error) {
	return s.jobs(ctx, "SELECT "+jobColumns+" FROM jobs WHERE state IN ('queued', 'starting', 'running') ORDER BY seq")
}

func (s *Store) jobs(ctx context.Context, query string, args ...any) ([]*Job, error) {
	rows, err := s.db.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []*Job
	for rows.Next() {
		j, err := scanJob(rows)
		if err != nil {
			return nil, err
		}
		list = append(list, j)
	}
	return list, rows.Err()
}

// List returns up to limit jobs after one, by the order they were accepted, in a state or any.
func (s *Store) List(ctx context.Context, state State, after string, limit int) ([]*Job, error) {
	return s.jobs(ctx, "SELECT "+jobColumns+" FROM jobs WHERE (? = '' OR state = ?) AND seq > COALESCE((SELECT seq FROM jobs WHERE id = ?), 0) ORDER BY seq LIMIT ?", string(state), string(state), after, limit)
}

// Setting returns a setting, or "" where there is none.
func (s *Store) Setting(ctx context.Context, name string) (string, error) {
	var v string
	err := s.db.QueryRowContext(ctx, "SELECT value FROM settings WHERE name = ?", name).Scan(&v)
	if errors.Is(err, sql.ErrNoRows) {
		return "", nil
	}
	return v, err
}

func (b *batchTx) set(name, value string) error {
	_, err := b.exec("INSERT INTO settings (name, value) VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value", name, value)
	return err
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
