package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/scoring"
)

// files are the models of a file or folder of package power/model.
type files struct {
	path    string
	folder  bool
	library *model.Library

	bindings *model.Bindings // nil: none

	mu   sync.Mutex
	made map[*model.Model]power.Predictor // guarded by mu; machines share them
}

// readFile reads a model file, or the folder of them, of package power/model; its path is relative to the
// configuration's folder.
func (m *Model) readFile(p *place, s *fileSection) {
	path := p.doc.relative(s.File)
	info, err := os.Stat(path)
	if err != nil {
		p.fail("file", "%w", err)
		return
	}
	m.files = newFiles(path, info.IsDir(), model.LibraryOptions{})
	if err := m.files.load(); err != nil {
		p.fail("file", "%w", err)
	}
	if len(s.Bindings) == 0 {
		return
	}
	if !m.files.folder {
		p.fail("bindings", "are for a folder of models: %s is one file", s.File)
		return
	}
	list := make([]model.Binding, len(s.Bindings))
	for i, b := range s.Bindings {
		list[i] = model.Binding(b)
		if set := m.files.library.Set(); set.Model(b.Model) == nil && m.files.wrong(set, b.Model) == nil {
			p.fail("bindings", "[%d]: the folder has no model %q; it has %s", i, b.Model, strings.Join(m.files.library.Set().Names(), ", "))
		}
	}
	if m.files.bindings, err = model.NewBindings(list); err != nil {
		p.fail("bindings", "%w", err)
	}
}

func newFiles(path string, folder bool, o model.LibraryOptions) *files {
	return &files{path: path, folder: folder, library: model.NewLibrary(path, o), made: make(map[*model.Model]power.Predictor)}
}

// load reads the files. A file that is wrong is an error of the machines whose model it would be, not of all: see
// [files.model].
func (f *files) load() error {
	err := f.library.Load()
	if len(f.library.Set().Errors()) > 0 {
		return nil
	}
	return err
}

// wrong returns what is wrong with the file that a model of this name would be in, or nil.
func (f *files) wrong(set *model.Set, name string) error {
	file := name + ".json"
	if err := set.Errors()[file]; err != nil {
		return fmt.Errorf("%w: %s: %w", power.ErrBadModel, filepath.Join(f.path, file), err)
	}
	return nil
}

// model returns the model of a machine, or nil: that of the file; of a folder the one that is bound to it, else that
// of the machine's name, else the one that is named like its hardware. The error is that of a file which would have
// the model and has none that can be used; files are taken to be named like their models.
func (f *files) model(x scoring.Machine, hardware []string) (*model.Model, error) {
	set := f.library.Set()
	if !f.folder {
		for _, n := range set.Names() {
			return set.Model(n), nil
		}
		for _, err := range set.Errors() {
			return nil, fmt.Errorf("%w: %s: %w", power.ErrBadModel, f.path, err)
		}
		return nil, nil
	}
	named := func(name string) (*model.Model, error) {
		if m := set.Model(name); m != nil {
			return m, nil
		}
		return nil, f.wrong(set, name)
	}
	if f.bindings != nil {
		if name, _ := f.bindings.Find(model.Node{Name: x.Name, Labels: x.Labels, Hardware: hardware}); name != "" {
			return named(name)
		}
	}
	if m, err := named(x.Name); m != nil || err != nil {
		return m, err
	}
	all := set.Names()
	if wrong := set.Errors(); len(wrong) > 0 {
		for file := range wrong {
			all = append(all, strings.TrimSuffix(file, ".json"))
		}
		slices.Sort(all)
	}
	for _, n := range all {
		if !strings.Contains(n, "*") && matchHardware(n, hardware) {
			return named(n)
		}
	}
	return nil, nil
}

// forget lets go of the predictors that were made.
func (f *files) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	clear(f.made)
}

func (f *files) predictor(x *Model, m *model.Model) (power.Predictor, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p := f.made[m]; p != nil {
		return p, nil
	}
	p, err := m.Predictor()
	if err != nil {
		return nil, err
	}
	if p, err = x.respond(p); err != nil {
		return nil, err
	}
	f.made[m] = p
	return p, nil
}

func (x *Model) bindFile(m scoring.Machine, spec *scoring.Spec) error {
	f, err := x.files.model(m, x.names(m))
	if err != nil {
		return err
	}
	if f == nil {
		return power.ErrNoModel // it was removed just now
	}
	if spec.Predictor, err = x.files.predictor(x, f); err != nil {
		return err
	}
	if !x.told {
		spec.Prior = f.Prior
	}
	if x.files.folder {
		spec.Model = x.Name + ": " + f.Name
	}
	return nil
}
