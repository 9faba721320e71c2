package controlplane

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// ErrNotBuilt is wrapped by [Builder.Cached] when a binary is missing from the cache.
var ErrNotBuilt = errors.New("control plane is not built")

// Binaries are the programs of a control plane, as absolute paths.
type Binaries struct {
	Etcd              string
	APIServer         string
	ControllerManager string
	Scheduler         string // "" if the Builder was told to leave it out

	Kwok   string // plays the kubelets
	Stages string // kwok's rules: how a pod becomes Running
}

// A Builder builds the programs of a control plane from the modules that this repository pins.
// The zero value is ready to use.
type Builder struct {
	// Cache is the folder that keeps the binaries; "" means leastwatt in the user's cache folder.
	Cache string

	// Scheduler is the import path of the scheduler to build, resolved in the examples module.
	// "" leaves the scheduler out.
	Scheduler string

	// Progress receives a line per step, and one now and then during a long step. Nil discards them.
	Progress io.Writer
}

// SchedulerPackage is the import path of this repository's own scheduler.
const SchedulerPackage = examplesModule + "/scheduler"

const examplesModule = "github.com/leastwatt/leastwatt/examples"

// Build returns the binaries, building those that the cache lacks. The first build takes minutes and
// about 5 GB of disk, mostly Go's build cache; later ones rebuild only the scheduler, if it changed.
//
// Where the environment variable KUBEBUILDER_ASSETS names a folder, as controller-runtime's envtest
// has it, etcd and kube-apiserver are taken from there instead, and kube-controller-manager if it is
// there too. Two builds of the same cache wait for each other. An interrupted build leaves no binary. What
// nobody has used for five days is removed from the cache: other versions, programs of other checkouts.
func (b Builder) Build(ctx context.Context) (Binaries, error) {
	w, err := b.workshop(ctx)
	if err != nil {
		return Binaries{}, err
	}
	assets, err := kubebuilderAssets()
	if err != nil {
		return Binaries{}, err
	}
	bin := w.cached(assets)

	w.use(bin)
	missing := bin.missing()
	if len(missing) == 0 && b.Scheduler == "" {
		return bin, nil
	}
	unlock, err := lockFolder(ctx, w.cache, func() {
		w.say("another build is using %s: waiting for it", w.cache)
	})
	if err != nil {
		return Binaries{}, err
	}
	defer unlock()

	missing = bin.missing() // again: the other build may have made them
	if len(missing) > 0 {
		w.say("building %s into %s (once; takes some minutes)", strings.Join(missing, ", "), w.cache)
	}
	start := time.Now()
	if err := w.buildMissing(ctx, bin); err != nil {
		return Binaries{}, err
	}
	if b.Scheduler != "" {
		if bin.Scheduler, err = w.buildOwn(ctx, "scheduler", b.Scheduler, "kube-scheduler", "scheduler "); err != nil {
			return Binaries{}, err
		}
	}
	if len(missing) > 0 {
		w.say("built in %s", seconds(time.Since(start)))
	}
	w.prune(time.Now())
	return bin, nil
}

// Cached returns what a previous Build left, without building. Scheduler is always "".
// The error wraps [ErrNotBuilt] and names what is missing.
func (b Builder) Cached(ctx context.Context) (Binaries, error) {
	w, err := b.workshop(ctx)
	if err != nil {
		return Binaries{}, err
	}
	assets, err := kubebuilderAssets()
	if err != nil {
		return Binaries{}, err
	}
	bin := w.cached(assets)
	w.use(bin)
	if missing := bin.missing(); len(missing) > 0 {
		return Binaries{}, fmt.Errorf("%w: %s has no %s", ErrNotBuilt, w.cache, strings.Join(missing, ", "))
	}
	return bin, nil
}

// missing names the files that do not exist yet.
func (b Binaries) missing() []string {
	var names []string
	for _, p := range []string{b.Etcd, b.APIServer, b.ControllerManager, b.Kwok, b.Stages} {
		if !exists(p) {
			names = append(names, filepath.Base(p))
		}
	}
	return names
}

// workshop is one Builder with its paths and versions resolved.
type workshop struct {
	cache    string
	examples string // source folder of the examples module
	versions struct{ kubernetes, etcd, kwok string }
	kwokDir  string // source folder of the kwok module, "" until it is downloaded
	progress io.Writer
}

func (b Builder) workshop(ctx context.Context) (*workshop, error) {
	w := &workshop{cache: b.Cache, progress: cmp.Or[io.Writer](b.Progress, io.Discard)}
	if w.cache == "" {
		base, err := os.UserCacheDir()
		if err != nil {
			return nil, fmt.Errorf("no cache folder for the control plane: %w (set XDG_CACHE_HOME)", err)
		}
		w.cache = filepath.Join(base, "leastwatt")
	}
	var err error
	if w.cache, err = filepath.Abs(w.cache); err != nil {
		return nil, err
	}
	if w.examples, err = examplesFolder(ctx); err != nil {
		return nil, err
	}
	if w.versions.kubernetes, _, err = moduleVersion(ctx, w.examples, inWorkspace, "k8s.io/kubernetes"); err != nil {
		return nil, err
	}
	if w.versions.etcd, _, err = moduleVersion(ctx, w.toolFolder("etcd"), alone, "go.etcd.io/etcd/server/v3"); err != nil {
		return nil, err
	}
	if w.versions.kwok, w.kwokDir, err = moduleVersion(ctx, w.toolFolder("kwok"), alone, "sigs.k8s.io/kwok"); err != nil {
		return nil, err
	}
	return w, nil
}

// toolFolder is the folder of the module that pins a program which cannot share the workspace's versions.
func (w *workshop) toolFolder(name string) string {
	return filepath.Join(w.examples, "internal", "controlplane", name)
}

func (w *workshop) cached(assets Binaries) Binaries {
	platform := runtime.GOOS + "-" + runtime.GOARCH
	folder := func(name, version string) string {
		return filepath.Join(w.cache, fmt.Sprintf("%s-%s-%s", name, version, platform))
	}
	kubernetes := folder("kubernetes", w.versions.kubernetes)
	kwok := folder("kwok", w.versions.kwok)
	return Binaries{
		Etcd:              cmp.Or(assets.Etcd, filepath.Join(folder("etcd", w.versions.etcd), "etcd")),
		APIServer:         cmp.Or(assets.APIServer, filepath.Join(kubernetes, "kube-apiserver")),
		ControllerManager: cmp.Or(assets.ControllerManager, filepath.Join(kubernetes, "kube-controller-manager")),
		Kwok:              filepath.Join(kwok, "kwok"),
		Stages:            filepath.Join(kwok, "stages.yaml"),
	}
}

// use notes that binaries are used now.
func (w *workshop) use(b Binaries) { w.touch(b.Etcd, b.APIServer, b.ControllerManager, b.Kwok) }

// kubebuilderAssets finds the binaries that the environment offers. Its zero result means none.
func kubebuilderAssets() (Binaries, error) {
	folder := os.Getenv("KUBEBUILDER_ASSETS")
	if folder == "" {
		return Binaries{}, nil
	}
	folder, err := filepath.Abs(folder)
	if err != nil {
		return Binaries{}, fmt.Errorf("KUBEBUILDER_ASSETS: %w", err)
	}
	bin := Binaries{Etcd: filepath.Join(folder, "etcd"), APIServer: filepath.Join(folder, "kube-apiserver")}
	for _, p := range []string{bin.Etcd, bin.APIServer} {
		if !exists(p) {
			return Binaries{}, fmt.Errorf("KUBEBUILDER_ASSETS=%s has no %s: unset it to build one", folder, filepath.Base(p))
		}
	}
	if p := filepath.Join(folder, "kube-controller-manager"); exists(p) {
		bin.ControllerManager = p
	}
	return bin, nil
}

func exists(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (w *workshop) say(format string, args ...any) {
	fmt.Fprintf(w.progress, format+"\n", args...)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// install puts a finished file in its place: whoever sees the name sees the whole file.
func install(from, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	if err := os.Rename(from, to); err != nil {
		return err
	}
	return nil
}

// removeQuietly removes a temporary file that may not exist.
func removeQuietly(path string) {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		_ = err // a left-over temporary file is overwritten by the next build
	}
}
