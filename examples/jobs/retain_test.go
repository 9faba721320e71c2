package main

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// Samples that are too old or too many go, those that the CSV file lacks stay, and numbers are not given again.
func TestRetention(t *testing.T) {
	for name, x := range map[string]struct {
		r    retention
		upTo int64
		want int
	}{
		"nothing":  {retention{}, 100, 100},
		"age":      {retention{age: 20 * time.Minute}, 100, 20},
		"rows":     {retention{rows: 30}, 100, 30},
		"both":     {retention{age: 20 * time.Minute, rows: 10}, 100, 10},
		"all":      {retention{age: time.Nanosecond}, 100, 1},
		"not read": {retention{rows: 30}, 40, 60},
	} {
		b := newBench(t, nil, nil)
		b.accept(&Job{ID: "j", CPU: 1, Duration: time.Hour})
		b.until(noon.Add(5 * time.Minute))
		for i := range 100 {
			if err := b.store.Do(t.Context(), func(tx *batchTx) error {
				return tx.sample(&Sample{Node: "n", Kind: "k", Source: "s", Value: float64(i), At: noon.Add(time.Duration(i) * time.Minute)})
			}); err != nil {
				t.Fatal(err)
			}
		}
		deleted, err := b.store.prune(t.Context(), x.r, noon.Add(100*time.Minute), x.upTo)
		if err != nil {
			t.Fatal(err)
		}
		var n, newest, decisions int
		if err := b.store.db.QueryRowContext(t.Context(), "SELECT COUNT(*), MAX(Seq), (SELECT COUNT(*) FROM decisions) FROM samples").Scan(&n, &newest, &decisions); err != nil {
			t.Fatal(err)
		}
		if n != x.want || int(deleted) != 100-x.want || newest != 100 || decisions != 1 {
			t.Errorf("%s: %d samples are left, newest %d, %d deleted, %d decisions: want %d samples", name, n, newest, deleted, decisions, x.want)
		}
	}
}

// A file that has become too large is set aside; a file of another version is, and written anew.
func TestLogRotates(t *testing.T) {
	b := newBench(t, nil, nil)
	dir := t.TempDir()
	l, err := openLog(b.store, dir, "samples", "Node", "Kind", "Value", "Source", "Timestamp")
	if err != nil {
		t.Fatal(err)
	}
	l.most = 500
	for i := range 30 {
		if err := b.store.Do(t.Context(), func(tx *batchTx) error {
			return tx.sample(&Sample{Node: "n", Kind: "cpu_power_watts", Source: "s", Value: float64(i), At: noon})
		}); err != nil {
			t.Fatal(err)
		}
		if err := l.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.file.Close(); err != nil {
		t.Fatal(err)
	}
	read := func(name string) string {
		b, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	now, before := read("samples.csv"), read("samples.1.csv")
	if len(now) > 600 || len(before) > 600 || !strings.HasPrefix(now, "Node,Kind") || !strings.HasPrefix(before, "Node,Kind") || !strings.Contains(now+before, ",30\n") {
		t.Errorf("now %s\nbefore %s", now, before)
	}
	old := "Node,Value,Seq\nn,1,30\n"
	if err := os.WriteFile(filepath.Join(dir, "samples.csv"), []byte(old), 0o600); err != nil {
		t.Fatal(err)
	}
	if l, err = openLog(b.store, dir, "samples", "Node", "Kind", "Value", "Source", "Timestamp"); err != nil {
		t.Fatal(err)
	}
	if err := l.flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	if now := read("samples.csv"); strings.Count(now, "\n") != 31 || !strings.HasPrefix(now, "Node,Kind") || read("samples.1.csv") != old {
		t.Errorf("a file with other columns became %s", now)
	}
	if err := l.file.Close(); err != nil {
		t.Fatal(err)
	}

	// A crash, or a stop, just after a file was set aside.
	if err := os.Rename(filepath.Join(dir, "samples.csv"), filepath.Join(dir, "samples.1.csv")); err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"before the head of the new file is written", "before its first row is"} {
		if l, err = openLog(b.store, dir, "samples", "Node", "Kind", "Value", "Source", "Timestamp"); err != nil {
			t.Fatal(err)
		}
		if err := l.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		if now := read("samples.csv"); now != "Node,Kind,Value,Source,Timestamp,Seq\n" || l.written.Load() != 30 {
			t.Errorf("%s: row %d is the last, and it begins with rows that stand in the file before: %s", when, l.written.Load(), now)
		}
		if err := l.file.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// A database of the first version, with a job in it, goes on.
func TestOldDatabase(t *testing.T) {
	dir := t.TempDir()
	db, err := sql.Open("sqlite", filepath.Join(dir, "jobs.db"))
	if err != nil {
		t.Fatal(err)
	}
	for _, q := range []string{schema, "CREATE INDEX unfinished ON jobs (seq) WHERE state IN ('queued', 'starting', 'running')",
		"INSERT INTO jobs VALUES (1, 'a', '', 1, 0, 3600000, 1, 0, 0, 'running', 'leastwatt', 'n', 's', 1, 0, 0.5, NULL, '')",
		"INSERT INTO decisions VALUES ('a', 'n', 'leastwatt', NULL, '2024-06-03T12:00:00.000Z', 's', 0.5, NULL, 'why', 1)"} {
		if _, err := db.ExecContext(t.Context(), q); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		store, err := openStore(t.Context(), dir)
		if err != nil {
			t.Fatal(err)
		}
		jobs, err := store.Unfinished(t.Context())
		if err != nil || len(jobs) != 1 || jobs[0].State != Running || jobs[0].Suspendable || jobs[0].rest() != time.Hour {
			t.Errorf("%+v, %v", jobs, err)
		}
		list, err := store.recentDecisions(t.Context(), 10)
		if err != nil || list[0].Action != Start || list[0].Reason != "why" {
			t.Errorf("%+v, %v", list, err)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
