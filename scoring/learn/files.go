package learn

import (
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path/filepath"

	"github.com/leastwatt/leastwatt/power/calibrate"
	"github.com/leastwatt/leastwatt/power/model"
)

// path returns the file of a node. Escaping leaves no separator, and the suffix no "..".
func (l *Learner) path(name string) string {
	return filepath.Join(l.opts.Dir, url.PathEscape(name)+".json")
}

// load returns what a node's file holds, nil where there is none.
func (l *Learner) load(name string) (*calibrate.Online, error) {
	if l.opts.Dir == "" {
		return nil, nil
	}
	m, err := model.ReadFile(l.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return calibrate.OnlineFrom(m)
}

// Save writes the model files of all nodes that learned since they were last written. Each file is replaced as
// a whole. All failures are in the error.
func (l *Learner) Save() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var errs []error
	for name, n := range l.nodes {
		errs = append(errs, l.save(name, n))
	}
	return errors.Join(errs...)
}

func (l *Learner) save(name string, n *node) error {
	if l.opts.Dir == "" || !n.dirty {
		return nil
	}
	m, err := n.online.File(name)
	if err == nil {
		err = model.WriteFile(l.path(name), m)
	}
	if err != nil {
		return fmt.Errorf("node %q: %w", name, err)
	}
	n.dirty = false
	return nil
}
