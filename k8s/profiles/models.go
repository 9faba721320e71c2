package profiles

import (
	"cmp"
	"fmt"
	"iter"
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
const MaxModels = 16384

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
	broad *model.Bindings // those of them that are no names of nodes; nil is none
	bind  error           // what is wrong with these
}

// compiled is a library at one moment. It is immutable.
type compiled struct {
	all      map[string]*entry
	bindings *model.Bindings
	errs     map[string]error    // what is wrong with bindings, by PowerModel
	named    map[string][]string // PowerModels, by the nodes that they name
	broad    []*entry            // PowerModels with a selector or hardware; nil where there are more than MaxOverlaps
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
	broad := slices.DeleteFunc(slices.Clone(e.nodes), func(b model.Binding) bool { return b.Node != "" })
	if e.broad = nil; len(broad) > 0 {
		e.broad, _ = model.NewBindings(broad) // which was good with the names
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
	c := &compiled{all: maps.Clone(l.all), errs: make(map[string]error), named: make(map[string][]string)}
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
		if e.use == nil {
			continue
		}
		list = append(list, e.nodes...)
		for _, b := range e.nodes {
			if b.Node != "" {
				c.named[b.Node] = append(c.named[b.Node], e.object.Name)
			}
		}
		if e.broad != nil {
			c.broad = append(c.broad, e)
		}
	}
	if len(c.broad) > MaxOverlaps {
		c.broad = nil
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
	name, by := c.bindings.Find(describe(m, hardware))
	return c.all[name], by
}

// also yields every PowerModel that is for a node, whichever it has.
func (c *compiled) also(n model.Node) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, name := range c.named[n.Name] {
			if !yield(name) {
				return
			}
		}
		for _, e := range c.broad {
			if name, _ := e.broad.Find(n); name != "" && !slices.Contains(c.named[n.Name], name) && !yield(name) {
				return
			}
		}
	}
}

// describe returns what bindings look at of a machine.
func describe(m scoring.Machine, hardware string) model.Node {
	n := model.Node{Name: m.Name, Labels: m.Labels}
	for _, h := range []string{hardware, m.Labels[config.HardwareLabel], m.Labels[config.CPULabel]} {
		if h != "" {
			n.Hardware = append(n.Hardware, h, strings.ReplaceAll(h, "_", " "))
		}
	}
	return n
}

// err returns what is wrong with a PowerModel.
func (c *compiled) err(e *entry) error {
	if e.err != nil && e.use != nil {
		return fmt.Errorf("%w; the model that was here before stays in use", e.err)
	}
	return cmp.Or(e.err, c.errs[e.object.Name])
}
