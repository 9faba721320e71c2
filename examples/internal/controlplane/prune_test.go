package controlplane

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
)

// What nobody used for days is removed, and nothing else: not what was touched, not what is not ours.
func TestPrune(t *testing.T) {
	now := time.Now()
	w := &workshop{cache: t.TempDir(), progress: t.Output()}
	checkout := t.TempDir()
	if err := os.WriteFile(filepath.Join(checkout, "go.mod"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	build := func(name string, age time.Duration, source string) {
		t.Helper()
		folder := filepath.Join(w.cache, name)
		if err := os.Mkdir(folder, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, "program"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
		if source != "" {
			if err := os.WriteFile(filepath.Join(folder, sourceFile), []byte(source), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chtimes(folder, now.Add(-age), now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	const day = 24 * time.Hour
	build("kubernetes-v1.36.0-linux-amd64", 30*day, "")
	build("kubernetes-v1.37.2-linux-amd64", 30*day, "")
	build("etcd-v3.7.3-linux-amd64", 4*day, "")
	build("scheduler-0123abcd", 6*day, checkout)
	build("scheduler-4567abcd", 4*day, checkout)
	build("program-0123abcd", 2*time.Hour, filepath.Join(checkout, "gone"))
	build("program-4567abcd", time.Minute, filepath.Join(checkout, "gone"))
	build("removing-kwok-v0.7.0-linux-amd64", 0, "")
	build("notes", 30*day, "")
	build("schedules-0123abcd", 30*day, "")
	proxy := filepath.Join(w.cache, "kube-proxy-v1.36.0")
	if err := os.WriteFile(proxy, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(proxy, now.Add(-6*day), now.Add(-6*day)); err != nil {
		t.Fatal(err)
	}
	w.touch(filepath.Join(w.cache, "kubernetes-v1.37.2-linux-amd64", "kube-apiserver"), filepath.Join(w.cache, "kwok-v0.8.0-linux-amd64", "kwok"))
	w.prune(now)
	entries, err := os.ReadDir(w.cache)
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, e := range entries {
		left = append(left, e.Name())
	}
	want := []string{"etcd-v3.7.3-linux-amd64", "kubernetes-v1.37.2-linux-amd64", "notes", "program-4567abcd", "schedules-0123abcd", "scheduler-4567abcd"}
	slices.Sort(want)
	if !slices.Equal(left, want) {
		t.Errorf("left are %q, want %q", left, want)
	}
}

// Who touches a build after it was found stale, and before it is gone, keeps it.
func TestPruneGivesBackWhatIsUsed(t *testing.T) {
	w := &workshop{cache: t.TempDir(), progress: t.Output()}
	const name = "kwok-v0.8.0-linux-amd64"
	program := filepath.Join(w.cache, name, "kwok")
	if err := os.Mkdir(filepath.Dir(program), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(program, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	old := now.Add(-2 * unused)
	if err := os.Chtimes(filepath.Dir(program), old, old); err != nil {
		t.Fatal(err)
	}
	if !w.stale(name, now) {
		t.Fatal("it is not stale")
	}
	w.touch(program)
	if w.remove(name, now) || !exists(program) {
		t.Error("what is used was removed")
	}
	if err := os.Chtimes(filepath.Dir(program), old, old); err != nil {
		t.Fatal(err)
	}
	if !w.remove(name, now) || exists(program) {
		t.Error("what is not used was kept")
	}
}
