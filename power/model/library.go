package model

import (
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// MaxFiles bounds how many files of a folder a [Library] reads.
const MaxFiles = 4096

// racy is how old a file's time of change must be before an unchanged time means unchanged content: file
// systems count time in steps of up to two seconds (FAT).
const racy = 2 * time.Second

// LibraryOptions tune a [Library]. The zero value works.
type LibraryOptions struct {
	Interval time.Duration    // between two looks at the files; 0 means five seconds
	Logger   *slog.Logger     // nil discards
	OnChange func(*Set) error // called by Run after each change of models, or of what is wrong with them; an error ends Run
}

// A Library holds the models of a file, or of the files *.json of a folder, and follows them while Run runs. A
// file that is wrong, or half written, leaves the model that was read from it before, and its error in the
// set; a change is taken when two looks in a row have seen the same content. Writers that rename a finished
// file into place, as [WriteFile] does, are never seen half way.
type Library struct {
	path string
	opts LibraryOptions
	set  atomic.Pointer[Set]

	mu    sync.Mutex
	files map[string]*tracked // guarded by mu
}

// A Set is the models of a library at one moment. It is immutable.
type Set struct {
	models map[string]*Model
	errs   map[string]error
}

// Model returns the model of a name, or nil. It must not be changed.
func (s *Set) Model(name string) *Model { return s.models[name] }

// Names returns the names of all models, sorted.
func (s *Set) Names() []string { return slices.Sorted(maps.Keys(s.models)) }

// Errors returns what is wrong with a file, by file name. A file that was good before keeps its model.
func (s *Set) Errors() map[string]error { return maps.Clone(s.errs) }

// NewSet returns a set of models that are not in files. Each must have a name of its own.
func NewSet(models ...*Model) (*Set, error) {
	s := &Set{models: make(map[string]*Model)}
	for _, m := range models {
		if err := m.validate(); err != nil {
			return nil, err
		}
		if s.models[m.Name] != nil {
			return nil, fmt.Errorf("model %q is given twice", m.Name)
		}
		s.models[m.Name] = m
	}
	return s, nil
}

type tracked struct {
	size    int64
	changed time.Time
	read    time.Time
	taken   [sha256.Size]byte // of the content that model is from
	pending [sha256.Size]byte // of other content, seen at the last look
	model   *Model
	err     error
}

// NewLibrary returns an empty library of a file or folder: call Load or Run.
func NewLibrary(path string, o LibraryOptions) *Library {
	o.Interval = cmp.Or(max(o.Interval, 0), 5*time.Second)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	l := &Library{path: path, opts: o, files: make(map[string]*tracked)}
	l.set.Store(&Set{})
	return l
}

// Set returns the models as they are now. It costs one atomic load.
func (l *Library) Set() *Set { return l.set.Load() }

// Load looks at the files once. Good files are in the set even when others are wrong; the error joins what is
// wrong with each.
func (l *Library) Load() error {
	_, err := l.look()
	return err
}

// Run looks at the files until ctx ends, and returns its error or that of OnChange.
func (l *Library) Run(ctx context.Context) error {
	t := time.NewTicker(l.opts.Interval)
	defer t.Stop()
	known := fmt.Sprint(error(nil))
	for {
		changed, err := l.look()
		text := fmt.Sprint(err)
		if text != known && err != nil {
			l.opts.Logger.Warn("power models", "path", l.path, "err", err)
		}
		if changed || text != known {
			s := l.Set()
			l.opts.Logger.Info("power models changed", "path", l.path, "models", len(s.models), "wrong", len(s.errs))
			if l.opts.OnChange != nil {
				if err := l.opts.OnChange(s); err != nil {
					return err
				}
			}
		}
		known = text
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// look reads what has changed and publishes a new set.
func (l *Library) look() (changed bool, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	dir, names, err := l.list()
	if err != nil {
		return false, fmt.Errorf("power models: %w", err) // all models stay
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return false, fmt.Errorf("power models: %w", err)
	}
	defer root.Close()
	for _, name := range names {
		t := l.files[name]
		if t == nil {
			t = &tracked{}
			l.files[name] = t
		}
		if t.look(root, name) {
			changed = true
		}
	}
	for name := range l.files {
		if !slices.Contains(names, name) {
			changed = changed || l.files[name].model != nil
			delete(l.files, name)
		}
	}
	return changed, l.publish(dir)
}

// list returns the folder and the files in it to read, sorted.
func (l *Library) list() (dir string, names []string, err error) {
	info, err := os.Stat(l.path)
	if err != nil {
		return "", nil, err
	}
	if !info.IsDir() {
		return filepath.Dir(l.path), []string{filepath.Base(l.path)}, nil
	}
	entries, err := os.ReadDir(l.path)
	if err != nil {
		return "", nil, err
	}
	for _, e := range entries {
		if n := e.Name(); strings.HasSuffix(n, ".json") && !strings.HasPrefix(n, ".") && !e.IsDir() {
			names = append(names, n)
		}
	}
	if len(names) > MaxFiles {
		return "", nil, fmt.Errorf("%s holds %d models: at most %d are read", l.path, len(names), MaxFiles)
	}
	return l.path, names, nil
}

// look reads the file if it may have changed, and says whether its model is another one now.
func (t *tracked) look(root *os.Root, name string) (changed bool) {
	before, err := root.Stat(name)
	if err != nil {
		t.err = err
		return false
	}
	settled := t.taken == t.pending && t.changed.Add(racy).Before(t.read)
	if settled && before.Size() == t.size && before.ModTime().Equal(t.changed) {
		t.err = nil
		return false
	}
	data, after, err := readRoot(root, name)
	if err != nil {
		t.err = err
		return false
	}
	if before.Size() != after.Size() || !before.ModTime().Equal(after.ModTime()) {
		return false // being written: the next look will tell
	}
	t.size, t.changed, t.read = after.Size(), after.ModTime(), time.Now()
	sum := sha256.Sum256(data)
	if sum == t.taken && t.model != nil {
		t.pending, t.err = sum, nil
		return false
	}
	if t.model != nil && sum != t.pending {
		t.pending = sum // take it when the next look sees the same
		return false
	}
	m, err := Unmarshal(data)
	if err != nil {
		t.pending, t.err = sum, err
		return false
	}
	t.pending, t.taken, t.model, t.err = sum, sum, m, nil
	return true
}

func readRoot(root *os.Root, name string) ([]byte, fs.FileInfo, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	data, err := read(f)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	return data, info, err
}

// publish makes a set of what is known; l.mu is held.
func (l *Library) publish(dir string) error {
	s := &Set{models: make(map[string]*Model), errs: make(map[string]error)}
	from := make(map[string]string)
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(l.files)) {
		t := l.files[name]
		err := t.err
		if m := t.model; m != nil {
			if other, twice := from[m.Name]; twice {
				err = errors.Join(err, fmt.Errorf("model %q is in %s already", m.Name, other))
			} else {
				from[m.Name], s.models[m.Name] = name, m
			}
		}
		if err != nil {
			s.errs[name] = err
			errs = append(errs, fmt.Errorf("%s: %w", filepath.Join(dir, name), err))
		}
	}
	l.set.Store(s)
	return errors.Join(errs...)
}
