package scoring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors"
)

// A Spec is what is known of a server beside its readings.
type Spec struct {
	Name      string
	Capacity  power.Capacity
	Predictor power.Predictor // nil leaves the node unknown
	Err       error           // why there is no Predictor; nil is [power.ErrNoModel], another one [power.ErrBadModel]
	Model     string          // names the model and where it is from
	Prior     bool            // the model was not fitted to this server
	Off       bool            // switched off or suspended
	OffPower  power.Watts
	Wake      power.Joules // to start or resume it; 0 is unknown or does not count
	Meter     *Meter       // what electricity costs there; nil is unknown
}

// A Describer is a predictor whose models change while it runs: it says what its model of a node is now, and
// whether it is still a prior. It takes the place of the spec's Model and Prior.
type Describer interface {
	power.Predictor
	Describe(node string) (model string, prior bool)
}

// FleetOptions tune a [Fleet]. The zero value works.
type FleetOptions struct {
	// MaxAge is how old a reading may be, by the hardware's time, to be used; 0 means one minute.
	MaxAge time.Duration

	// Points is into how many steps a model is tabulated between idle and full load; 0 means 20.
	Points int

	// SwitchOff says that scores count servers as switched off when they are empty. It changes none; the first
	// decision on a view then finds the envelopes made that it needs, and no memory goes into others.
	SwitchOff bool
}

// A Fleet joins readings to models: it keeps a [Node] for each server, ready to be scored. Refresh does the
// work, in a background loop; View costs one atomic load. Every model is tabulated at the server's present
// inlet temperature, pressure and other inputs, so that no decision calls a model.
type Fleet struct {
	opts FleetOptions
	view atomic.Pointer[View]

	mu     sync.Mutex
	specs  map[string]*Spec // guarded by mu; they are not changed
	roster *roster          // guarded by mu: of specs; nil is not made yet
}

// A roster is the servers in the order of their names, until one comes, goes or is replaced. It is immutable.
type roster struct {
	specs []*Spec
	index map[string]int32
}

// A View is all servers at one moment. It is immutable; views of the same servers share memory.
type View struct {
	at    time.Time
	nodes []Node  // sorted by name
	asked []asked // beside nodes
	index map[string]int32

	roster *roster
	snap   *sensors.Snapshot
	until  time.Time // the next view of the same roster and snapshot is the same before then
}

// NewFleet returns a fleet without servers.
func NewFleet(o FleetOptions) *Fleet {
	if o.MaxAge <= 0 {
		o.MaxAge = time.Minute
	}
	if o.Points <= 0 {
		o.Points = tabulation
	}
	f := &Fleet{opts: o, specs: make(map[string]*Spec)}
	f.view.Store(&View{})
	return f
}

// Put adds a server or replaces what is known of it. It shows in the view after the next Refresh.
func (f *Fleet) Put(s Spec) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.specs[s.Name], f.roster = &s, nil
}

// Remove forgets a server after the next Refresh.
func (f *Fleet) Remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.specs, name)
	f.roster = nil
}

// Refresh makes a new view of a snapshot as of now. It asks models and so may take as long as they do;
// when ctx ends it returns its error and the old view stays. What fails for one server is that server's
// [Node.Err].
func (f *Fleet) Refresh(ctx context.Context, snap *sensors.Snapshot, now time.Time) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("refresh fleet: %w", err)
	}
	all, last := f.all(), f.view.Load()
	v := &View{at: now, nodes: last.nodes, asked: last.asked, index: all.index, roster: all, snap: snap, until: last.until}
	ordered := last.roster == all && !now.Before(last.at)
	if ordered && last.snap == snap && now.Before(last.until) {
		f.view.Store(v)
		return nil
	}
	shared := ordered // as long as nothing differs
	if !shared {
		v.nodes, v.asked = make([]Node, len(all.specs)), make([]asked, len(all.specs))
	}
	for i, s := range all.specs {
		r := snap.Node(s.Name)
		if !ordered || last.nodes[i].Readings != r || !now.Before(last.asked[i].until) {
			if shared {
				v.nodes, v.asked, shared = slices.Clone(last.nodes), slices.Clone(last.asked), false
			}
			v.nodes[i], v.asked[i] = f.node(ctx, last, s, r, now)
			v.asked[i].until = f.until(s, &v.nodes[i], &v.asked[i], now)
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("refresh fleet: %w", err)
			}
		}
		if until := v.asked[i].until; i == 0 || until.Before(v.until) {
			v.until = until
		}
	}
	f.view.Store(v)
	return nil
}

func (f *Fleet) all() *roster {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.roster == nil {
		r := &roster{specs: make([]*Spec, 0, len(f.specs)), index: make(map[string]int32, len(f.specs))}
		for _, s := range f.specs {
			r.specs = append(r.specs, s)
		}
		slices.SortFunc(r.specs, func(a, b *Spec) int { return strings.Compare(a.Name, b.Name) })
		for i, s := range r.specs {
			r.index[s.Name] = int32(i)
		}
		f.roster = r
	}
	return f.roster
}

func (f *Fleet) node(ctx context.Context, last *View, s *Spec, r *sensors.NodeReadings, now time.Time) (Node, asked) {
	o := Observe(r, now, f.opts.MaxAge)
	o.State.Node = s.Name
	n := Node{Name: s.Name, Capacity: s.Capacity, State: o.State, Predictor: s.Predictor, Off: s.Off, OffPower: s.OffPower, Meter: s.Meter, Wake: s.Wake,
		Model: s.Model, Prior: s.Prior, Readings: r}
	if d, ok := s.Predictor.(Describer); ok {
		n.Model, n.Prior = d.Describe(s.Name)
	}
	if s.Predictor == nil {
		n.Err = fmt.Errorf("node %q: %w", s.Name, cmp.Or(s.Err, power.ErrNoModel))
		if s.Err != nil && !errors.Is(s.Err, power.ErrNoModel) {
			n.Err = fmt.Errorf("node %q: %w: %w", s.Name, power.ErrBadModel, s.Err)
		}
		return n, asked{}
	}
	if s.Off {
		n.State.Utilization = 0
	} else if o.Utilization != nil {
		n.Err, n.Unmeasured = fmt.Errorf("node %q: %w", s.Name, o.Utilization), true
	}
	if n.GPU = gpuTerm(s.Predictor); n.GPU != nil {
		n.lookAtGPUs()
	}
	if curve, at := last.reuse(s, &n.State, now); curve != nil {
		n.Predictor = curve
		return n, asked{model: s.Predictor, at: at}
	}
	curve, err := power.Tabulate(ctx, s.Predictor, n.State, f.opts.Points)
	switch {
	case err == nil:
		n.Predictor = curve
		// The first decision on a view should not pay for its envelopes.
		EnvelopePower{SwitchOff: f.opts.SwitchOff}.of(curve, &n)
	case n.Unmeasured: // is what to mend first
		n.Unmeasured = false
	case errors.Is(err, power.ErrMissingInput) && o.Inlet != nil:
		n.Err = fmt.Errorf("model %q: inlet temperature: %w: %w", s.Model, power.ErrMissingInput, o.Inlet)
	default:
		n.Err = fmt.Errorf("node %q: model %q: %w", s.Name, s.Model, err)
	}
	return n, asked{model: s.Predictor, at: now}
}

// View returns the servers as of the last Refresh.
func (f *Fleet) View() *View { return f.view.Load() }

// At returns the time that the view is of; zero before the first Refresh.
func (v *View) At() time.Time { return v.at }

// Node returns a server, or nil if it is not known. The node is not to be changed. It does not allocate.
func (v *View) Node(name string) *Node {
	if i, ok := v.index[name]; ok {
		return &v.nodes[i]
	}
	return nil
}

// Index returns the place of a server in Nodes, or -1 if it is not known. It does not allocate.
func (v *View) Index(name string) int {
	if i, ok := v.index[name]; ok {
		return int(i)
	}
	return -1
}

// Nodes returns all servers in the order of their names. They are not to be changed.
func (v *View) Nodes() []Node { return v.nodes }

// Len returns the number of servers.
func (v *View) Len() int { return len(v.nodes) }

// SameNodes tells whether nothing differs from another view but the time that it is of. It compares no nodes: a view of
// a fleet that was refreshed while nothing had changed has the nodes of the view before.
func (v *View) SameNodes(other *View) bool {
	return len(v.nodes) == len(other.nodes) && (len(v.nodes) == 0 || &v.nodes[0] == &other.nodes[0])
}

// All calls yield for every server, in the order of their names.
func (v *View) All(yield func(*Node) bool) {
	for i := range v.nodes {
		if !yield(&v.nodes[i]) {
			return
		}
	}
}
