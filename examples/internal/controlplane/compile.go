package controlplane

import (
	"bytes"
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// buildMissing builds whatever bin names and the disk lacks.
func (w *workshop) buildMissing(ctx context.Context, bin Binaries) error {
	if !exists(bin.APIServer) || !exists(bin.ControllerManager) {
		if err := w.buildKubernetes(ctx, bin); err != nil {
			return err
		}
	}
	if !exists(bin.Etcd) {
		t := target{dir: w.toolFolder("etcd"), mode: alone, pkg: "go.etcd.io/etcd/server/v3", out: bin.Etcd}
		if err := w.build(ctx, "etcd "+w.versions.etcd, t); err != nil {
			return err
		}
	}
	if !exists(bin.Kwok) {
		t := target{dir: w.toolFolder("kwok"), mode: alone, pkg: "sigs.k8s.io/kwok/cmd/kwok", out: bin.Kwok}
		if err := w.build(ctx, "kwok "+w.versions.kwok, t); err != nil {
			return err
		}
	}
	if !exists(bin.Stages) {
		return w.copyStages(ctx, bin.Stages)
	}
	return nil
}

// buildKubernetes compiles the packages of all components first and links them afterwards, one by one:
// a link takes about 3 GB of memory, so two at once would not fit where the rest does.
func (w *workshop) buildKubernetes(ctx context.Context, bin Binaries) error {
	outputs := map[string]string{"kube-apiserver": bin.APIServer, "kube-controller-manager": bin.ControllerManager}
	args := []string{"build", "-v"}
	for _, name := range []string{"kube-apiserver", "kube-controller-manager"} {
		if !exists(outputs[name]) {
			args = append(args, "k8s.io/kubernetes/cmd/"+name+"/app")
		} else {
			delete(outputs, name)
		}
	}
	err := w.step(ctx, "packages of Kubernetes "+w.versions.kubernetes, func(ctx context.Context, count func(line string)) error {
		return runGo(ctx, w.examples, inWorkspace, count, args...)
	})
	if err != nil {
		return err
	}
	flags, err := versionFlags(w.versions.kubernetes)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(outputs)) {
		t := target{dir: w.examples, mode: inWorkspace, pkg: "k8s.io/kubernetes/cmd/" + name, out: outputs[name], ldflags: flags}
		if err := w.build(ctx, name, t); err != nil {
			return err
		}
	}
	return nil
}

// buildOwn builds a program of this checkout, of a package of the examples module. Go relinks it only if something changed.
func (w *workshop) buildOwn(ctx context.Context, kind, pkg, file, title string) (string, error) {
	flags, err := versionFlags(w.versions.kubernetes)
	if err != nil {
		return "", err
	}
	// One folder for each checkout and package, so that two worktrees do not overwrite each other's.
	key := fnv.New32a()
	fmt.Fprintf(key, "%s\n%s", w.examples, pkg)
	folder := filepath.Join(w.cache, fmt.Sprintf("%s-%08x", kind, key.Sum32()))
	out := filepath.Join(folder, file)
	t := target{dir: w.examples, mode: inWorkspace, pkg: pkg, out: out, ldflags: flags, fresh: true}
	if err := w.build(ctx, title+strings.TrimPrefix(pkg, examplesModule+"/"), t); err != nil {
		return "", err
	}
	return out, os.WriteFile(filepath.Join(folder, sourceFile), []byte(w.examples), 0o644)
}

// target is one program to build.
type target struct {
	dir     string // where the go command runs
	mode    workspaceMode
	pkg     string
	out     string
	ldflags string // beside -s -w
	fresh   bool   // built on every run: let Go compare with the last output
}

func (w *workshop) build(ctx context.Context, title string, t target) error {
	if err := os.MkdirAll(filepath.Dir(t.out), 0o755); err != nil {
		return err
	}
	building := t.out + ".building"
	err := w.step(ctx, title, func(ctx context.Context, count func(line string)) error {
		return runGo(ctx, t.dir, t.mode, count, "build", "-v", "-ldflags", strings.TrimSpace("-s -w "+t.ldflags), "-o", building, t.pkg)
	})
	if err != nil {
		removeQuietly(building)
		return err
	}
	if !t.fresh {
		return install(building, t.out)
	}
	// The output of go build stays for the next comparison; what runs is a second name of it.
	link := t.out + ".link"
	removeQuietly(link)
	if err := os.Link(building, link); err != nil {
		return err
	}
	return install(link, t.out)
}

// step runs one part of a build and says how long it took, and every few seconds how far it is.
func (w *workshop) step(ctx context.Context, title string, do func(ctx context.Context, count func(line string)) error) error {
	start := time.Now()
	lines := make(chan string)
	done := make(chan error, 1)
	go func() {
		done <- do(ctx, func(line string) { lines <- line })
		close(lines)
	}()
	var compiled, downloaded int
	tick := time.NewTicker(10 * time.Second)
	defer tick.Stop()
	for open := true; open; {
		var line string
		select {
		case line, open = <-lines:
			switch {
			case !open:
			case strings.HasPrefix(line, "go: downloading"):
				downloaded++
			default:
				compiled++
			}
		case <-tick.C:
			w.say("  %-42s %4.0f s  %d modules downloaded, %d packages compiled so far", title, time.Since(start).Seconds(), downloaded, compiled)
		}
	}
	if err := <-done; err != nil {
		return fmt.Errorf("building %s: %w", title, err)
	}
	w.say("  %-42s %8s", title, seconds(time.Since(start)))
	return nil
}

// copyStages joins the stages that kwok's module keeps in separate files.
func (w *workshop) copyStages(ctx context.Context, to string) error {
	if w.kwokDir == "" { // downloaded since
		var err error
		if _, w.kwokDir, err = moduleVersion(ctx, w.toolFolder("kwok"), alone, "sigs.k8s.io/kwok"); err != nil {
			return err
		}
	}
	var all bytes.Buffer
	for _, name := range []string{
		"node/fast/node-initialize.yaml", "node/heartbeat/node-heartbeat.yaml",
		"pod/fast/pod-ready.yaml", "pod/fast/pod-complete.yaml", "pod/fast/pod-delete.yaml",
	} {
		stage, err := os.ReadFile(filepath.Join(w.kwokDir, "kustomize", "stage", filepath.FromSlash(name)))
		if err != nil {
			return fmt.Errorf("kwok %s has no such stage: %w", w.versions.kwok, err)
		}
		all.WriteString("---\n")
		all.Write(stage)
		all.WriteString("\n")
	}
	if err := os.WriteFile(to+".building", all.Bytes(), 0o644); err != nil {
		return err
	}
	return install(to+".building", to)
}

// versionFlags makes a component report the version of its module. Without them it would report
// v0.0.0-master, which clients that check the server's version reject.
func versionFlags(version string) (string, error) {
	var major, minor, patch int
	if _, err := fmt.Sscanf(version, "v%d.%d.%d", &major, &minor, &patch); err != nil {
		return "", fmt.Errorf("version %q of k8s.io/kubernetes: %w", version, err)
	}
	const p = "-X k8s.io/component-base/version."
	return fmt.Sprintf("%sgitVersion=%s %sgitMajor=%d %sgitMinor=%d", p, version, p, major, p, minor), nil
}
