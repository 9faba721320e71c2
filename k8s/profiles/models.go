package profiles

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
)

// MaxModels bounds how many PowerModels count; further ones, by name, are an error of their own.
const MaxModels = 4096

// A library is the PowerModels of the cluster.
type library struct {
	changed chan struct{} // has room for one
	now     atomic.Pointer[compiled]

	mu  sync.Mutex
	all map[string]*entry // guarded by mu
}

// An entry is one PowerModel. It is immutable.
type entry struct {
	object *v1alpha1.PowerModel
	model  *model.Model    // nil where there never was one
	inner  string          // its name in the file
	use    power.Predictor // nil as model is
	err    error           // what is wrong with the file

	nodes []model.Binding // those of the last selector and names that could be read
	bind  error           // what is wrong with these
}

// compiled is a library at one moment. It is immutable.
type compiled struct {
	all      map[string]*entry
	bindings *model.Bindings
	errs     map[string]error // what is wrong with bindings, by PowerModel
}

func newLibrary() *library {
	l := &library{changed: make(chan struct{}, 1), all: make(map[string]*entry)}
	l.compile()
	return l
}

func (l *library) set(m *v1alpha1.PowerModel) {
	l.mu.Lock()
	defer l.mu.Unlock()
	old := l.all[m.Name]
	e := &entry{object: m}
	if old != nil && old.object.Spec.JSON == m.Spec.JSON {
		e.model, e.inner, e.use, e.err = old.model, old.inner, old.use, old.err
	} else {
		e.read(old)
	}
	e.choose(old)
	l.all[m.Name] = e
	l.nudge()
}

// read reads the model file. One that is wrong leaves the model that was there before, and its error.
func (e *entry) read(old *entry) {
	m, err := model.Unmarshal([]byte(e.object.Spec.JSON))
	var use power.Predictor
	if err == nil {
		use, err = m.Predictor()
	}
	if err != nil {
		e.err = fmt.Errorf("spec.json: %w", err)
		if old != nil {
			e.model, e.inner, e.use = old.model, old.inner, old.use
		}
		return
	}
	e.model, e.inner, e.use = m, m.Name, use
}

// choose reads which nodes the model is for. Where that is wrong it is for those that it was for before.
func (e *entry) choose(old *entry) {
	own, err := bindings(e.object)
	if err == nil {
		_, err = model.NewBindings(own)
	}
	if e.nodes, e.bind = own, err; err != nil && old != nil {
		e.nodes = old.nodes
	} else if err != nil {
		e.nodes = nil
	}
}

func (l *library) delete(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.all, name)
	l.nudge()
}

func (l *library) nudge() {
	select {
	case l.changed <- struct{}{}:
	default:
	}
}

// compile makes what was set count.
func (l *library) compile() {
	l.mu.Lock()
	c := &compiled{all: maps.Clone(l.all), errs: make(map[string]error)}
	l.mu.Unlock()
	order := slices.SortedFunc(maps.Values(c.all), func(a, b *entry) int {
		return cmp.Or(cmp.Compare(b.object.Spec.Priority, a.object.Spec.Priority), strings.Compare(a.object.Name, b.object.Name))
	})
	var list []model.Binding
	for i, e := range order {
		if i >= MaxModels {
			c.errs[e.object.Name] = fmt.Errorf("is one too many: at most %d PowerModels count", MaxModels)
			continue
		}
		if e.bind != nil {
			c.errs[e.object.Name] = e.bind
		}
		if e.use != nil {
			list = append(list, e.nodes...)
		}
	}
	b, err := model.NewBindings(unique(list))
	if err != nil { // each was good by itself
		b, _ = model.NewBindings(nil)
		for name := range c.all {
			c.errs[name] = err
		}
	}
	c.bindings = b
	l.now.Store(c)
}

// unique leaves out names of nodes that a model of higher priority has.
func unique(list []model.Binding) []model.Binding {
	seen := make(map[string]bool)
	return slices.DeleteFunc(list, func(b model.Binding) bool {
		if b.Node == "" {
			return false
		}
		again := seen[b.Node]
		seen[b.Node] = true
		return again
	})
}

// everything is a selector that fits every node.
const everything = "!leastwatt.github.io/no-node-has-this-label"

// bindings returns what a PowerModel says of its nodes.
func bindings(m *v1alpha1.PowerModel) (list []model.Binding, err error) {
	for _, n := range m.Spec.Nodes {
		list = append(list, model.Binding{Model: m.Name, Node: n})
	}
	if s := m.Spec.NodeSelector; s != nil {
		sel, err := metav1.LabelSelectorAsSelector(s)
		if err != nil {
			return nil, fmt.Errorf("spec.nodeSelector: %w", err)
		}
		text := sel.String()
		if text == "" {
			text = everything
		}
		list = append(list, model.Binding{Model: m.Name, Selector: text})
	}
	if h := m.Spec.Hardware; h != "" {
		list = append(list, model.Binding{Model: m.Name, Hardware: h})
	}
	return list, nil
}

// find returns the PowerModel of a machine and how it is bound, or nil.
func (c *compiled) find(m scoring.Machine, hardware string) (*entry, string) {
	n := model.Node{Name: m.Name, Labels: m.Labels}
	for _, h := range []string{hardware, m.Labels[config.HardwareLabel], m.Labels[config.CPULabel]} {
		if h != "" {
			n.Hardware = append(n.Hardware, h, strings.ReplaceAll(h, "_", " "))
		}
	}
	name, by := c.bindings.Find(n)
	return c.all[name], by
}

// err returns what is wrong with a PowerModel.
func (c *compiled) err(e *entry) error { return cmp.Or(e.err, c.errs[e.object.Name]) }
