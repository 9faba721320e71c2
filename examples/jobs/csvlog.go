package main

import (
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// A csvLog writes a table of the database to a CSV file as it grows. The last column counts rows, so that after a crash it goes on
// where the file ends: half a line is cut off, and what is missing is written.
type csvLog struct {
	store   *Store
	table   string
	columns []string // the last is Seq
	file    *os.File
	last    int64
	written atomic.Int64 // last, for others
	most    int64        // bytes of the file; 0 does not limit it
}

func openLog(store *Store, dir, table string, columns ...string) (*csvLog, error) {
	name := filepath.Join(dir, table+".csv")
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	l := &csvLog{store: store, table: table, columns: append(slices.Clone(columns), "Seq"), file: f}
	if err := l.resume(); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", name, err), f.Close())
	}
	return l, nil
}

// resume finds the last whole line and cuts off what follows it.
func (l *csvLog) resume() error {
	b, from, err := tailOf(l.file)
	if err != nil {
		return err
	}
	end := bytes.LastIndexByte(b, '\n') + 1
	if err := l.file.Truncate(from + int64(end)); err != nil {
		return err
	}
	if end == 0 && from > 0 {
		return errors.New("its end is no table: move it away")
	}
	if end > 0 {
		same, err := l.sameColumns(l.file)
		if err != nil {
			return err
		}
		if !same { // of another version: it is written anew from the table
			if err := l.aside(); err != nil {
				return err
			}
			end = 0
		}
	}
	if _, err := l.file.Seek(0, io.SeekEnd); err != nil {
		return err
	}
	if end == 0 {
		if err := l.write([][]string{l.columns}); err != nil {
			return err
		}
	}
	if l.last, err = lastRow(b[:end]); err == nil && l.last == 0 {
		l.last, err = l.lastAside()
	}
	l.written.Store(l.last)
	return err
}

// lastAside returns the last row of the file that was set aside, 0 if there is none or it is of another version: a file that was begun anew has none of
// its own yet.
func (l *csvLog) lastAside() (int64, error) {
	f, err := os.Open(asideOf(l.file.Name()))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	if same, err := l.sameColumns(f); err != nil || !same {
		return 0, err
	}
	b, _, err := tailOf(f)
	if err != nil {
		return 0, err
	}
	last, err := lastRow(b[:bytes.LastIndexByte(b, '\n')+1])
	if err != nil {
		return 0, fmt.Errorf("%s: %w", f.Name(), err)
	}
	return last, nil
}

// tailOf reads the end of a file, from a place on.
func tailOf(f *os.File) (b []byte, from int64, err error) {
	size, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, 0, err
	}
	const tail = 64 << 10
	from = max(0, size-tail)
	b = make([]byte, size-from)
	if _, err := f.ReadAt(b, from); err != nil && !errors.Is(err, io.EOF) {
		return nil, 0, err
	}
	return b, from, nil
}

// lastRow returns the number of the last of some whole lines, 0 where that is the head of the table or there is none.
func lastRow(lines []byte) (int64, error) {
	line := bytes.TrimRight(lines, "\r\n")
	line = line[bytes.LastIndexByte(line, '\n')+1:]
	number := string(line[bytes.LastIndexByte(line, ',')+1:])
	if len(lines) == 0 || number == "Seq" {
		return 0, nil
	}
	last, err := strconv.ParseInt(number, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("the last line ends with %.20q: want a row's number; move the file away", number)
	}
	return last, nil
}

// sameColumns tells whether a file's first line is ours.
func (l *csvLog) sameColumns(f *os.File) (bool, error) {
	want := strings.Join(l.columns, ",") + "\n"
	b := make([]byte, len(want))
	if _, err := f.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	return string(b) == want, nil
}

func (l *csvLog) write(rows [][]string) error {
	var b bytes.Buffer
	w := csv.NewWriter(&b)
	if err := w.WriteAll(rows); err != nil {
		return err
	}
	_, err := l.file.Write(b.Bytes())
	return err
}

// flush writes what the table has more than the file.
func (l *csvLog) flush(ctx context.Context) error {
	const atOnce = 5000
	for {
		rows, last, err := l.read(ctx, atOnce)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := l.write(rows); err != nil {
			return fmt.Errorf("%s: %w", l.file.Name(), err)
		}
		l.last = last
		l.written.Store(last)
		if err := l.rotate(); err != nil {
			return fmt.Errorf("%s: %w", l.file.Name(), err)
		}
		if len(rows) < atOnce {
			return nil
		}
	}
}

// rotate sets a file that has become too large aside, in the place of the one before, and begins a new one.
func (l *csvLog) rotate() error {
	size, err := l.file.Seek(0, io.SeekEnd)
	if err != nil || l.most == 0 || size < l.most {
		return err
	}
	if err := l.aside(); err != nil {
		return err
	}
	return l.write([][]string{l.columns})
}

// asideOf is the name of the file before: NAME.1.csv.
func asideOf(name string) string { return strings.TrimSuffix(name, ".csv") + ".1.csv" }

// aside renames the file and opens a new one.
func (l *csvLog) aside() error {
	name := l.file.Name()
	if err := errors.Join(l.file.Close(), os.Rename(name, asideOf(name))); err != nil {
		return err
	}
	var err error
	l.file, err = os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	return err
}

func (l *csvLog) read(ctx context.Context, limit int) (list [][]string, last int64, err error) {
	query := "SELECT " + strings.Join(l.columns, ", ") // names are constants of this program
	rows, err := l.store.db.QueryContext(ctx, query+" FROM "+l.table+" WHERE Seq > ? ORDER BY Seq LIMIT ?", l.last, limit)
	if err != nil {
		return nil, 0, err
	}
	defer rows.Close()
	values := make([]any, len(l.columns))
	to := make([]any, len(l.columns))
	for i := range values {
		to[i] = &values[i]
	}
	for rows.Next() {
		if err := rows.Scan(to...); err != nil {
			return nil, 0, err
		}
		text := make([]string, len(values))
		for i, v := range values {
			switch v := v.(type) {
			case nil:
			case float64:
				text[i] = strconv.FormatFloat(v, 'g', 10, 64)
			case []byte:
				text[i] = string(v)
			default:
				text[i] = fmt.Sprint(v)
			}
		}
		last, _ = values[len(values)-1].(int64)
		list = append(list, text)
	}
	return list, last, rows.Err()
}

// run flushes at every interval until ctx is done, and once more.
func (l *csvLog) run(ctx context.Context, every time.Duration) error {
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return errors.Join(l.flush(context.WithoutCancel(ctx)), l.file.Close())
		case <-t.C:
			if err := l.flush(ctx); err != nil && ctx.Err() == nil {
				return err
			}
		}
	}
}
