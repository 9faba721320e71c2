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

// A Store has what was learned of nodes before a restart, as model files of package power/model that hold a learner
// ([calibrate.Online.File]). It is safe for concurrent use, and calls no method of a [Learner].
type Store interface {
	// Load returns what was kept of a node last, nil where there is nothing. It reads memory or a disk that is near.
	Load(node string) (*model.Model, error)
}

// A Keeper is a [Store] that keeps what is learned from now on.
type Keeper interface {
	Store

	// Save keeps a model, which is not changed afterwards, in the place of the node's last one.
	Save(node string, m *model.Model) error
}

// folder is a [Keeper] of files, one a node.
type folder string

// path returns the file of a node. Escaping leaves no separator, and the suffix no "..".
func (f folder) path(node string) string {
	return filepath.Join(string(f), url.PathEscape(node)+".json")
}

// Load implements [Store].
func (f folder) Load(node string) (*model.Model, error) {
	m, err := model.ReadFile(f.path(node))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return m, err
}

// Save implements [Keeper]. The file is replaced as a whole.
func (f folder) Save(node string, m *model.Model) error { return model.WriteFile(f.path(node), m) }

// load returns what was kept of a node, nil where there is nothing.
func (l *Learner) load(name string) (*calibrate.Online, error) {
	if l.opts.Store == nil {
		return nil, nil
	}
	m, err := l.opts.Store.Load(name)
	if m == nil || err != nil {
		return nil, err
	}
	return calibrate.OnlineFrom(m)
}

// Save keeps the models of all nodes that learned since they were last kept, each as a whole. All failures are in the
// error, and are tried again with the next Save.
func (l *Learner) Save() error {
	if l.keeper() == nil {
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
		if err := l.keep(name, m); err != nil {
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

func (l *Learner) keeper() Keeper {
	k, _ := l.opts.Store.(Keeper)
	return k
}

func (l *Learner) keep(name string, m *model.Model) error {
	if err := l.keeper().Save(name, m); err != nil {
		return fmt.Errorf("node %q: %w", name, err)
	}
	return nil
}
