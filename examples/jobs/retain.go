package main

import (
	"context"
	"time"
)

// A retention bounds the table of samples. Decisions and jobs are kept: they are what was promised.
type retention struct {
	age  time.Duration // 0 does not limit
	rows int64         // 0 does not limit
}

// prune deletes the oldest samples: those that are too old or too many, up to the one whose number is upTo, which is in the CSV
// file. The newest stays, since SQLite would give its number again.
func (s *Store) prune(ctx context.Context, r retention, now time.Time, upTo int64) (deleted int64, err error) {
	const atOnce = 5000 // so that a commit of jobs does not wait for it
	for {
		var n int64
		err := s.Do(ctx, func(tx *batchTx) error {
			var newest int64
			if err := tx.tx.QueryRowContext(tx.ctx, "SELECT COALESCE(MAX(Seq), 0) FROM samples").Scan(&newest); err != nil {
				return err
			}
			many, old := int64(0), ""
			if r.rows > 0 {
				many = newest - r.rows
			}
			if r.age > 0 {
				old = stamp(now.Add(-r.age))
			}
			result, err := tx.exec("DELETE FROM samples WHERE Seq IN (SELECT Seq FROM samples ORDER BY Seq LIMIT ?) AND Seq <= ? AND Seq < ? AND (Seq <= ? OR Timestamp < ?)",
				atOnce, upTo, newest, many, old)
			if err != nil {
				return err
			}
			n, err = result.RowsAffected()
			return err
		})
		if deleted += n; err != nil || n < atOnce {
			return deleted, err
		}
	}
}

// retain prunes at an interval until ctx is done. written tells the number of the last sample in the CSV file.
func (e *Engine) retain(ctx context.Context, r retention, every time.Duration, written func() int64) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		n, err := e.store.prune(ctx, r, e.now(), written())
		if err != nil && ctx.Err() == nil {
			e.opts.Logger.Error("pruning samples", "error", err)
		} else if n > 0 {
			e.opts.Logger.Info("samples pruned", "rows", n)
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}
