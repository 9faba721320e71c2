package config

import (
	"os"
	"path/filepath"
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

	mu   sync.Mutex
	made map[*model.Model]power.Predictor // guarded by mu; machines share them
}

// readFile reads a model file, or the folder of them, of package power/model; its path is relative to the
// configuration's folder.
func (m *Model) readFile(s *section) {
	path := s.text("file", "")
	if path == "" {
		s.fail("file", "is missing: want the path of a model file or of a folder of them")
		return
	}
	path = s.doc.relative(path)
	info, err := os.Stat(path)
	if err != nil {
		s.fail("file", "%w", err)
		return
	}
	m.files = newFiles(path, info.IsDir(), model.LibraryOptions{})
	if err := m.files.library.Load(); err != nil {
		s.fail("file", "%w", err)
	}
}

func newFiles(path string, folder bool, o model.LibraryOptions) *files {
	return &files{path: path, folder: folder, library: model.NewLibrary(path, o), made: make(map[*model.Model]power.Predictor)}
}

// relative returns a path of the file as seen from where the program runs.
func (d *document) relative(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.file), path)
}

// model returns the model of a machine, or nil: that of the file; of a folder the one of the machine's name,
// else the one that is named like its hardware.
func (f *files) model(x scoring.Machine, hardwareLabel string) *model.Model {
	set := f.library.Set()
	if !f.folder {
		for _, n := range set.Names() {
			return set.Model(n)
		}
		return nil
	}
	if m := set.Model(x.Name); m != nil {
		return m
	}
	if hardware := fold(x.Labels[hardwareLabel]); hardware != "" {
		for _, n := range set.Names() {
			if fold(n) == hardware {
				return set.Model(n)
			}
		}
	}
	return nil
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
	f := x.files.model(m, x.HardwareLabel)
	if f == nil {
		return power.ErrNoModel // it was removed just now
	}
	var err error
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
