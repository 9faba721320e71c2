package forecast_test

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/forecast"
)

// daily is a provider like the free tier of one: it tells a day of the past.
type daily struct{ provider }

func newDaily(now time.Time) *daily {
	d := &daily{provider{now: now}}
	d.broken = func(_ string, ps []grid.Point) ([]grid.Point, error) {
		return slices.DeleteFunc(ps, func(p grid.Point) bool { return p.Start.Before(d.now.Add(-24*time.Hour)) || p.End.After(d.now) }), nil
	}
	return d
}

func sameSteps(a, b []forecast.Step) bool {
	equal := func(x, y float64) bool { return x == y || math.IsNaN(x) && math.IsNaN(y) }
	return slices.EqualFunc(a, b, func(x, y forecast.Step) bool {
		return x.Start.Equal(y.Start) && x.Value == y.Value && x.Mean == y.Mean && equal(x.Low, y.Low) && equal(x.High, y.High)
	})
}

// TestFile: a program that is restarted again and again forecasts as one that runs through, though its provider tells of a day alone.
func TestFile(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.json")
	if err := os.WriteFile(file+".tmp", []byte("half of what a program wrote that crashed"), 0o600); err != nil {
		t.Fatal(err)
	}
	through, now := newDaily(start), start
	clock := func() time.Time { return now }
	open := func(p grid.Source, file string) *forecast.Source {
		s, err := forecast.NewSource(p, forecast.SourceOptions{Zones: []string{"GB"}, File: file, Now: clock})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	want := open(through, "")
	var got *forecast.Source
	for day := range 40 {
		now = start.Add(time.Duration(day)*20*time.Hour + 30*time.Minute)
		again := newDaily(now)
		through.now = now
		got = open(again, file)
		for what, s := range map[string]*forecast.Source{"through": want, "again": got} {
			if err := s.Refresh(t.Context()); err != nil {
				t.Fatalf("%s: %v", what, err)
			}
		}
	}
	a, errA := want.Steps("GB")
	b, errB := got.Steps("GB")
	if errA != nil || errB != nil || !sameSteps(a, b) {
		t.Errorf("after 40 restarts the forecast differs: %v, %v", errA, errB)
	}
	if _, values := got.Values("GB"); len(values) < 39*20 {
		t.Errorf("%d hours are known", len(values))
	}
	if left, err := filepath.Glob(filepath.Join(filepath.Dir(file), "*")); err != nil || len(left) != 1 {
		t.Errorf("beside the file there are %v", left)
	}
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := got.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, err := os.Stat(file); err != nil || !after.ModTime().Equal(before.ModTime()) || !os.SameFile(before, after) {
		t.Errorf("a round that learned nothing wrote the file: %v", err)
	}
}

// TestFileThatIsNotRight: it is put aside and told once, nothing of it counts, and a good one follows.
func TestFileThatIsNotRight(t *testing.T) {
	p := newDaily(start)
	s := over(t, &p.provider, forecast.SourceOptions{Zones: []string{"GB"}})
	if err := s.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	var good bytes.Buffer
	if err := s.Save(&good); err != nil {
		t.Fatal(err)
	}
	text := good.String()
	for what, bad := range map[string]string{
		"empty": "", "cut off": text[:len(text)/2], "twice": text + text, "text": "<html>",
		"of a later version":  strings.Replace(text, `"version":1`, `"version":2`, 1),
		"of another kind":     strings.Replace(text, "leastwatt-grid-history", "leastwatt-jobs", 1),
		"of another signal":   strings.Replace(text, string(grid.AverageDirect), string(grid.MarginalDirect), 1),
		"of an unknown field": strings.Replace(text, `"version":1`, `"version":1,"more":true`, 1),
		"with a billion":      strings.Replace(text, `"values":[`, `"values":[1e9,`, 1),
		"with -5":             strings.Replace(text, `"values":[`, `"values":[-5,`, 1),
		"not by hours":        strings.Replace(text, `:00:00Z"`, `:10:00Z"`, 1),
	} {
		file := filepath.Join(t.TempDir(), "history.json")
		if err := os.WriteFile(file, []byte(bad), 0o600); err != nil {
			t.Fatal(err)
		}
		if bad == text {
			t.Fatalf("%s: nothing was changed in %.200s", what, text)
		}
		again := over(t, &p.provider, forecast.SourceOptions{Zones: []string{"GB"}, File: file})
		if err := again.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), file+".bad") {
			t.Errorf("%s: error is %v, want one that says where the file is", what, err)
		}
		if kept, err := os.ReadFile(file + ".bad"); err != nil || string(kept) != bad {
			t.Errorf("%s: %d bytes were put aside, error %v", what, len(kept), err)
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%s: the next file has %d bytes, error %v; want what the provider tells", what, len(got), err)
		}
		if err := again.Refresh(t.Context()); err != nil {
			t.Errorf("%s: told again: %v", what, err)
		}
	}
	if err := s.Load(strings.NewReader(text)); err != nil {
		t.Errorf("what was saved is refused: %v", err)
	}
}

// A machine that starts before it has heard the time, in the past, does not lose what it has learned: the file is read when the time is right.
func TestFileWhereTheClockIsBehind(t *testing.T) {
	file := filepath.Join(t.TempDir(), "history.json")
	p := newDaily(start)
	s := over(t, &p.provider, forecast.SourceOptions{Zones: []string{"GB"}, File: file})
	for range 2 {
		if err := s.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	_, before := s.Values("GB")
	kept, err := os.ReadFile(file)
	if err != nil || len(before) == 0 {
		t.Fatal(err)
	}
	right := p.now
	p.now = right.Add(-30 * 24 * time.Hour)
	again := over(t, &p.provider, forecast.SourceOptions{Zones: []string{"GB"}, File: file})
	for range 3 {
		if err := again.Refresh(t.Context()); err == nil || !strings.Contains(err.Error(), file) || strings.Count(err.Error(), "clock is behind") != 1 {
			t.Errorf("error is %v, want one that names the file and the clock", err)
		}
		if got, err := os.ReadFile(file); err != nil || !bytes.Equal(got, kept) {
			t.Errorf("the file has %d bytes, %v, want the %d that it had", len(got), err, len(kept))
		}
		p.now = p.now.Add(time.Hour)
	}
	p.now = right
	if err := again.Refresh(t.Context()); err != nil {
		t.Error(err)
	}
	if _, after := again.Values("GB"); len(after) < len(before) {
		t.Errorf("%d hours are known when the clock is right, want %d", len(after), len(before))
	}
	if files, err := os.ReadDir(filepath.Dir(file)); err != nil || len(files) != 1 {
		t.Errorf("files %v, %v, want one", files, err)
	}
}

func FuzzLoad(f *testing.F) {
	s, err := forecast.NewSource(&provider{now: start}, forecast.SourceOptions{Now: func() time.Time { return start }})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(`{"kind":"leastwatt-grid-history","version":1,"signal":"average_direct_gco2eq_per_kwh","zones":{"GB":{"start":"2025-01-01T00:00:00Z","values":[1,null,0]}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		if s.Load(strings.NewReader(text)) != nil {
			return
		}
		var out bytes.Buffer
		if err := s.Save(&out); err != nil {
			t.Fatal(err)
		}
		if err := s.Load(&out); err != nil {
			t.Fatalf("what was saved is refused: %v", err)
		}
	})
}
