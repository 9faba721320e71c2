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
// a whole. All failures are in the error, and are tried again with the next Save.
func (l *Learner) Save() error {
	if l.opts.Dir == "" {
		return nil
	}
	l.mu.Lock()
	files := make(map[string]*model.Model)
	var errs []error
	for name, n := range l.nodes {
		if m, err := n.file(name); err != nil {
			errs = append(errs, err)
		} else if m != nil {
			files[name] = m
		}
	}
	l.mu.Unlock()
	for name, m := range files { // nobody waits for a disk
		if err := l.write(name, m); err != nil {
			errs = append(errs, err)
			l.mu.Lock()
			if n := l.nodes[name]; n != nil {
				n.dirty = true
			}
			l.mu.Unlock()
		}
	}
	return errors.Join(errs...)
}

// file returns what to write of a node, nil if nothing is new.
func (n *node) file(name string) (*model.Model, error) {
	if !n.dirty {
		return nil, nil
	}
	m, err := n.online.File(name)
	if err != nil {
		return nil, fmt.Errorf("node %q: %w", name, err)
	}
	n.dirty = false
	return m, nil
}

func (l *Learner) write(name string, m *model.Model) error {
	if err := model.WriteFile(l.path(name), m); err != nil {
		return fmt.Errorf("node %q: %w", name, err)
	}
	return nil
}
