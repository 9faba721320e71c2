package controlplane

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionFlags(t *testing.T) {
	got, err := versionFlags("v1.37.2")
	want := "-X k8s.io/component-base/version.gitVersion=v1.37.2 -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37"
	if err != nil || got != want {
		t.Errorf("versionFlags = %q, %v; want %q", got, err, want)
	}
	if _, err := versionFlags("(devel)"); err == nil {
		t.Error("a version without numbers is accepted")
	}
}

// KUBEBUILDER_ASSETS saves the build of what is in it; a folder without the binaries is an error,
// because building silently for minutes is not what was asked for.
func TestKubebuilderAssets(t *testing.T) {
	folder := t.TempDir()
	t.Setenv("KUBEBUILDER_ASSETS", folder)
	b := Builder{Cache: t.TempDir()}
	if _, err := b.Cached(t.Context()); err == nil || !strings.Contains(err.Error(), "KUBEBUILDER_ASSETS="+folder+" has no etcd") {
		t.Errorf("Cached = %v, want an error that names the variable", err)
	}
	for _, name := range []string{"etcd", "kube-apiserver"} {
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, err := b.Cached(t.Context())
	if !errors.Is(err, ErrNotBuilt) {
		t.Fatalf("Cached = %v, want ErrNotBuilt", err)
	}
	if got := err.Error(); !strings.HasSuffix(got, "has no kube-controller-manager, kwok, stages.yaml") {
		t.Errorf("still to build: %s", got)
	}
}

// A build that fails or is interrupted leaves no binary and no half of one.
func TestFailedBuildLeavesNothing(t *testing.T) {
	cache := t.TempDir()
	w, err := (Builder{Cache: cache}).workshop(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(cache, "x", "program")
	err = w.build(t.Context(), "program", target{dir: w.examples, mode: inWorkspace, pkg: "./no/such/package", out: out})
	if err == nil || !strings.Contains(err.Error(), "no/such/package") {
		t.Errorf("build = %v, want go's own complaint", err)
	}
	cause := errors.New("interrupted")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	if err := w.build(ctx, "program", target{dir: w.examples, mode: inWorkspace, pkg: "./internal/controlplane", out: out}); err == nil {
		t.Error("a cancelled build succeeds")
	}
	if left, err := os.ReadDir(filepath.Dir(out)); err != nil || len(left) > 0 {
		t.Errorf("the folder holds %v (%v), want nothing", left, err)
	}
}

// Two builds of one cache do not run at once.
func TestLockFolder(t *testing.T) {
	folder := t.TempDir()
	unlock, err := lockFolder(t.Context(), folder, func() { t.Error("a free lock was waited for") })
	if err != nil {
		t.Fatal(err)
	}
	waiting := make(chan struct{})
	locked := make(chan error, 1)
	go func() {
		unlock, err := lockFolder(t.Context(), folder, func() { close(waiting) })
		if err == nil {
			unlock()
		}
		locked <- err
	}()
	<-waiting
	select {
	case err := <-locked:
		t.Fatalf("a held lock was taken: %v", err)
	default:
	}
	unlock()
	if err := <-locked; err != nil {
		t.Error(err)
	}
}
