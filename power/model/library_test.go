package model_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
)

func write(t *testing.T, name string, m *model.Model) {
	t.Helper()
	if err := model.WriteFile(name, m); err != nil {
		t.Fatal(err)
	}
}

func line(name string, idle power.Watts) *model.Model {
	return &model.Model{Name: name, Form: power.Linear{Idle: idle, Peak: 500}}
}

func idleOf(t *testing.T, s *model.Set, name string) power.Watts {
	t.Helper()
	m := s.Model(name)
	if m == nil {
		t.Fatalf("model %q is not loaded: %v", name, s.Errors())
	}
	return m.Form.(power.Linear).Idle
}

func TestLibraryFollowsAFolder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		file := func(n string) string { return filepath.Join(dir, n) }
		write(t, file("a.json"), line("a", 1))
		write(t, file("b.json"), line("b", 1))
		if err := os.WriteFile(file("notes.txt"), []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		changes := 0
		l := model.NewLibrary(dir, model.LibraryOptions{Interval: time.Second, OnChange: func(*model.Set) error { changes++; return nil }})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- l.Run(ctx) }()
		looks := func(n int) {
			time.Sleep(time.Duration(n) * time.Second)
			synctest.Wait()
		}
		looks(1)
		if got := l.Set().Names(); !slices.Equal(got, []string{"a", "b"}) {
			t.Fatalf("models %v", got)
		}

		before := l.Set()
		write(t, file("a.json"), line("a", 2))
		write(t, file("c.json"), line("c", 3))
		looks(3)
		if got := idleOf(t, l.Set(), "a"); got != 2 {
			t.Errorf("a after a change: idle %v, want 2", got)
		}
		if got := idleOf(t, l.Set(), "c"); got != 3 {
			t.Errorf("new model c: idle %v, want 3", got)
		}
		if got := idleOf(t, before, "a"); got != 1 {
			t.Errorf("an old set changed: %v", got)
		}

		// A file that is half written, or wrong, leaves the model that was there.
		whole, err := os.ReadFile(file("b.json"))
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range [][]byte{whole[:len(whole)/2], nil, []byte(`{"format":"leastwatt.model/1"}`)} {
			if err := os.WriteFile(file("b.json"), bad, 0o600); err != nil {
				t.Fatal(err)
			}
			looks(3)
			if got := idleOf(t, l.Set(), "b"); got != 1 {
				t.Errorf("b after a bad write: idle %v, want 1", got)
			}
			if l.Set().Errors()["b.json"] == nil {
				t.Errorf("a bad file is not reported")
			}
		}
		write(t, file("b.json"), line("b", 9))
		looks(3)
		if got, err := idleOf(t, l.Set(), "b"), l.Set().Errors()["b.json"]; got != 9 || err != nil {
			t.Errorf("b repaired: idle %v, error %v", got, err)
		}

		// Two files with one name: the first in order wins and the other is an error.
		write(t, file("z.json"), line("a", 77))
		looks(3)
		if got, err := idleOf(t, l.Set(), "a"), l.Set().Errors()["z.json"]; got != 2 || err == nil {
			t.Errorf("twice the name a: idle %v, error %v", got, err)
		}

		if err := os.Remove(file("c.json")); err != nil {
			t.Fatal(err)
		}
		looks(2)
		if l.Set().Model("c") != nil {
			t.Error("c is still there after its file was removed")
		}
		seen := changes
		looks(10)
		if changes != seen {
			t.Errorf("%d changes reported while nothing changed", changes-seen)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

// A writer that overwrites a file in place must never be seen half way, although each half could be valid.
func TestLibraryTakesOnlyWhatItHasSeenTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		name := filepath.Join(t.TempDir(), "one.json")
		write(t, name, line("a", 1))
		l := model.NewLibrary(name, model.LibraryOptions{})
		if err := l.Load(); err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			write(t, name, line("a", power.Watts(100+i))) // another content at every look
			if err := l.Load(); err != nil {
				t.Fatal(err)
			}
			if got := idleOf(t, l.Set(), "a"); got != 1 {
				t.Fatalf("taken at first sight: idle %v", got)
			}
		}
		if err := l.Load(); err != nil {
			t.Fatal(err)
		}
		if got := idleOf(t, l.Set(), "a"); got != 119 {
			t.Errorf("settled: idle %v, want 119", got)
		}
	})
}

func TestLibraryErrors(t *testing.T) {
	dir := t.TempDir()
	if err := model.NewLibrary(filepath.Join(dir, "none"), model.LibraryOptions{}).Load(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("no folder: %v", err)
	}
	write(t, filepath.Join(dir, "good.json"), line("good", 1))
	if err := os.WriteFile(filepath.Join(dir, "bad.json"), []byte(`{"format":"leastwatt.model/1","name":4}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(dir, "out.json")); err != nil {
		t.Fatal(err)
	}
	l := model.NewLibrary(dir, model.LibraryOptions{})
	err := l.Load()
	if err == nil || !strings.Contains(err.Error(), "bad.json: name: want string") || !strings.Contains(err.Error(), "out.json") {
		t.Errorf("%v: want the bad file with its field, and the link that leaves the folder", err)
	}
	if got := l.Set().Names(); !slices.Equal(got, []string{"good"}) {
		t.Errorf("models %v, want the good one", got)
	}
}
