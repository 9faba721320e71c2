package shift

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What was learned of the work that comes outlives a start with a clock that is behind, as before a machine has heard the time: by a little it counts, by days
// it is left alone until the time is right, and said once.
func TestArrivalsWhereTheClockIsBehind(t *testing.T) {
	const text = "default: {zone: DE}\ncores: {DE: 2}\n"
	l := newLab(t, text)
	file := filepath.Join(t.TempDir(), "arrivals.json")
	var log bytes.Buffer
	open := func(at time.Time) *Controller {
		l.now = at
		log.Reset()
		c, err := New(l.c, &afternoons{}, Options{ArrivalsFile: file, Policies: policies(t, text), Now: func() time.Time { return l.now }, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		l.Controller = c
		return c
	}
	open(noon)
	l.round()
	kept, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	c := open(noon.Add(-time.Minute))
	if l.round(); !c.counted.Equal(noon) || log.Len() > 0 {
		t.Errorf("a minute behind: counted until %v, want %v; told %s", c.counted, noon, &log)
	}
	c = open(noon.Add(-72 * time.Hour))
	for range 3 {
		l.round()
		l.now = l.now.Add(time.Hour)
	}
	if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, kept) {
		t.Errorf("days behind: the file is %s, %v, want %s", got, err, kept)
	}
	if n := strings.Count(log.String(), "the clock is behind"); n != 1 || !strings.Contains(log.String(), file) {
		t.Errorf("days behind: told %d times, want once: %s", n, &log)
	}
	l.now = noon.Add(time.Hour)
	if l.round(); !c.counted.Equal(noon) {
		t.Errorf("when the time is right: counted until %v, want %v", c.counted, noon)
	}
	if got, err := os.ReadFile(file); err != nil || bytes.Equal(got, kept) {
		t.Errorf("when the time is right what is learned is not kept: %v", err)
	}
}
