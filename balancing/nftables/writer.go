package nftables

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"

	"sigs.k8s.io/knftables"
)

// A Writer keeps the table of one family at the Services that were last applied. It is safe for concurrent use.
type Writer struct {
	d    dialect
	open func() (knftables.Interface, error) // nil: what nft is cannot be made anew

	mu    sync.Mutex
	nft   knftables.Interface // guarded by mu
	known bool                // guarded by mu: what follows is what the kernel has
	ports map[string]*wanted  // by protocol and name
	pairs map[pair]int32      // of each element of the hairpin set: how many ports have the endpoint
	left  map[pair]bool       // those that none has any more
}

// A wanted port is what was applied. Its rules are not kept, but written again when it changes.
type wanted struct {
	*port
	claims   []string // addresses and ports that nobody else may have
	counters []string
}

// want returns what is kept of a port.
func (d *dialect) want(p *port) *wanted {
	r := d.render(p)
	w := &wanted{port: p, counters: r.counters}
	for _, e := range r.elements[:r.addresses] {
		w.claims = append(w.claims, e.key)
	}
	return w
}

// Result says what an Apply did.
type Result struct {
	// Changed is the number of Services whose rules were written or removed, Operations the number of nft
	// operations that took.
	Changed, Operations int

	// Refused says which Services were left out, and why; one [RefusedError] each.
	Refused []error
}

// Open returns a writer for a family (knftables.IPv4Family or IPv6Family) that runs the nft program.
func Open(f knftables.Family, o Options) (*Writer, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	open := func() (knftables.Interface, error) { return knftables.New(f, opts.Table) }
	nft, err := open()
	if err != nil {
		return nil, fmt.Errorf("nftables, family %s: %w (it needs the nft program, root or CAP_NET_ADMIN, and Linux 5.6)", f, err)
	}
	w, err := New(nft, f, o)
	if err != nil {
		return nil, err
	}
	w.open = open
	return w, nil
}

// manyOperations is from when on a transaction's text, which knftables keeps as long as it lives, is worth a new one: 0.7 MB.
const manyOperations = 5000

// New returns a writer that runs its transactions on nft, which must be for family f and o's table.
func New(nft knftables.Interface, f knftables.Family, o Options) (*Writer, error) {
	if f != knftables.IPv4Family && f != knftables.IPv6Family {
		return nil, fmt.Errorf("nftables: family %q: want ip or ip6", f)
	}
	opts, err := o.withDefaults()
	if err != nil {
		return nil, err
	}
	return &Writer{d: dialectOf(f, opts), nft: nft}, nil
}

// Apply makes the table hold these Services and no others, in one transaction with what changed since the last
// Apply. Where nothing changed it looks whether the table is still there, and writes it anew if somebody removed it. The
// first Apply, and one after an error, adopts what it finds: chains are replaced, clients of
// Services with affinity stay known, and no packet is lost between. A Service that cannot be written is left
// out and named in the result; the others are written. After an error the rules are as they were.
func (w *Writer) Apply(ctx context.Context, services []Service) (Result, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var r Result
	next := w.normalize(services, &r)
	tx := w.nft.NewTransaction()
	var pairs map[pair]int32 // that become more or fewer
	var removed []pair
	if w.known {
		pairs, removed = w.update(tx, next, &r)
		if tx.NumOperations() == 0 {
			if err := w.there(ctx); err != nil {
				return r, fmt.Errorf("nftables: look at table %s: %w", w.d.options.Table, err)
			}
		}
	}
	if !w.known {
		found, err := w.find(ctx)
		if err != nil {
			return r, fmt.Errorf("nftables: list table %s: %w", w.d.options.Table, err)
		}
		w.pairs, w.left = make(map[pair]int32), make(map[pair]bool)
		pairs = w.rewrite(tx, next, found)
		r.Changed = len(next)
	}
	if r.Operations = tx.NumOperations(); r.Operations > 0 {
		if err := w.nft.Run(ctx, tx); err != nil {
			w.known = false
			return r, fmt.Errorf("nftables: write table %s: %w", w.d.options.Table, err)
		}
		if r.Operations >= manyOperations && w.open != nil {
			if nft, err := w.open(); err == nil { // else the old one goes on
				w.nft = nft
			}
		}
	}
	for x, n := range pairs {
		w.pairs[x] += n
		if w.pairs[x] == 0 {
			w.left[x] = true
		} else {
			delete(w.left, x)
		}
	}
	for _, x := range removed {
		delete(w.pairs, x)
		delete(w.left, x)
	}
	w.known, w.ports = true, next
	return r, nil
}

// there forgets what was applied if the table is gone: whoever reloads the host's own rules often flushes all there are.
// Where there is something to write, that fails and tells the same.
func (w *Writer) there(ctx context.Context) error {
	tx := w.nft.NewTransaction()
	tx.Flush(&knftables.Chain{Name: hooks[0].name}) // is not run, and lets nft read less than any list
	err := w.nft.Check(ctx, tx)
	if knftables.IsNotFound(err) {
		w.known, err = false, nil
	}
	return err
}

// Cleanup removes the table and with it every trace.
func (w *Writer) Cleanup(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known = false
	tx := w.nft.NewTransaction()
	tx.Add(&knftables.Table{}) // so that deleting what is not there is no error
	tx.Delete(&knftables.Table{})
	if err := w.nft.Run(ctx, tx); err != nil {
		return fmt.Errorf("nftables: remove table %s: %w", w.d.options.Table, err)
	}
	return nil
}

// Script returns the rules of the Services as a program for "nft -f", and which Services it leaves out.
func Script(f knftables.Family, o Options, services []Service) (string, []error, error) {
	opts, err := o.withDefaults()
	if err != nil {
		return "", nil, err
	}
	w, err := New(knftables.NewFake(f, opts.Table), f, o)
	if err != nil {
		return "", nil, err
	}
	var r Result
	tx := w.nft.NewTransaction()
	w.rewrite(tx, w.normalize(services, &r), finding{})
	return tx.String(), r.Refused, nil
}

// normalize brings the Services to one form; what was rendered before and has not changed is kept.
func (w *Writer) normalize(services []Service, r *Result) map[string]*wanted {
	next := make(map[string]*wanted, len(services))
	owner := make(map[string]string, len(services))
	keys := make([]string, 0, len(services)) // of next, in order
	order := make([]int, len(services))
	for i := range order {
		order[i] = i
	}
	// The result does not depend on the order in which Services come.
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(services[a].Name, services[b].Name) })
	for _, i := range order {
		s := &services[i]
		key := string(s.Protocol) + " " + s.Name
		if next[key] != nil {
			r.Refused = append(r.Refused, &RefusedError{s.Name, s.Protocol, fmt.Errorf("it is there twice: %w", ErrDuplicate)})
			continue
		}
		old := w.ports[key]
		if old == nil || !old.asked(s) {
			p, err := normal(s, w.d.family == knftables.IPv6Family, w.d.options.Slots)
			if err != nil {
				r.Refused = append(r.Refused, &RefusedError{s.Name, s.Protocol, err})
				continue
			}
			if old == nil || !old.same(p) {
				old = w.d.want(p)
			}
		}
		next[key] = old
		keys = append(keys, key)
	}
	// Virtual addresses are given out by the cluster, each once; the others are what a Service asks for. So nobody gets another
	// one's virtual address by asking for it.
	for _, asked := range [...]bool{false, true} {
		for _, key := range keys {
			p := next[key]
			if p == nil {
				continue
			}
			if err := claim(owner, p, asked); err != nil {
				r.Refused = append(r.Refused, &RefusedError{p.Name, p.Protocol, err})
				delete(next, key)
			}
		}
	}
	return next
}

// claim gives a Service's virtual addresses to it, or those it asked for, unless another one has one of them.
func claim(owner map[string]string, p *wanted, asked bool) error {
	claims := p.claims[:len(p.ips)]
	if asked {
		claims = p.claims[len(p.ips):]
	}
	for _, c := range claims {
		if other, ok := owner[c]; ok {
			return fmt.Errorf("%s belongs to %q: %w", c, other, ErrDuplicate)
		}
	}
	for _, c := range claims {
		owner[c] = p.Name
	}
	return nil
}

// Known tells whether the writer knows what the kernel has, which it does after an Apply without error.
func (w *Writer) Known() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.known
}

// A Flow is how many new connections a Service has had since its counter was made; a restart adopts the counter.
type Flow struct {
	Service  string
	Protocol Protocol
	New      uint64
}

// Connections reads the kernel's counters of the Services that were last applied, in the order of their names. It needs
// [Options.Count], and runs nft once.
func (w *Writer) Connections(ctx context.Context) ([]Flow, error) {
	w.mu.Lock()
	nft, by := w.nft, make(map[string]*wanted, len(w.ports))
	for _, p := range w.ports {
		for _, c := range p.counters {
			by[c] = p
		}
	}
	w.mu.Unlock()
	if !w.d.options.Count {
		return nil, fmt.Errorf("nftables: connections are not counted: set Options.Count")
	}
	counters, err := nft.ListCounters(ctx)
	if err != nil && !knftables.IsNotFound(err) {
		return nil, fmt.Errorf("nftables: list counters of table %s: %w", w.d.options.Table, err)
	}
	var out []Flow
	for _, c := range counters {
		if c == nil || by[c.Name] == nil {
			continue
		}
		f := Flow{Service: by[c.Name].Name, Protocol: by[c.Name].Protocol}
		if c.Packets != nil {
			f.New = *c.Packets // of a connection only the first packet meets a NAT rule
		}
		out = append(out, f)
	}
	slices.SortFunc(out, func(a, b Flow) int {
		return cmp.Or(cmp.Compare(a.Service, b.Service), cmp.Compare(a.Protocol, b.Protocol))
	})
	return out, nil
}
