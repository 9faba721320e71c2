package main

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"
)

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
	if err := migrate(ctx, db); err != nil {
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

// Unfinished returns the jobs that are not done, in the order they were accepted.
func (s *Store) Unfinished(ctx context.Context) ([]*Job, error) {
	return s.jobs(ctx, "SELECT "+jobColumns+" FROM jobs WHERE state NOT IN ('done', 'failed') ORDER BY seq")
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
