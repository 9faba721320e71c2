package nftables

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"

	"sigs.k8s.io/knftables"
)

// A finding is what the table holds when a writer first meets it: names by kind, and the elements that all Services
// share.
type finding struct {
	names    map[string][]string
	elements map[element]bool
}

// find reads the table.
func (w *Writer) find(ctx context.Context) (finding, error) {
	var f finding
	var err error
	if f.names, err = w.nft.ListAll(ctx); err != nil {
		if knftables.IsNotFound(err) {
			return f, nil
		}
		return f, err
	}
	f.elements = make(map[element]bool)
	for _, o := range w.d.tables() {
		kind, name := "map", nameOf(o)
		if _, ok := o.(*knftables.Set); ok {
			kind = "set"
		}
		if !slices.Contains(f.names[kind], name) {
			continue
		}
		all, err := w.nft.ListElements(ctx, kind, name)
		if err != nil {
			return f, err
		}
		for _, e := range all {
			f.elements[element{name, strings.Join(e.Key, " . "), strings.Join(e.Value, " . ")}] = true
		}
	}
	return f, nil
}

// rewrite writes all chains and removes what else was found in the table. Elements that are there already stay
// untouched: one that is removed and added again could be missed by a packet in between.
func (w *Writer) rewrite(tx *knftables.Transaction, next map[string]*wanted, found finding) map[pair]int32 {
	d := &w.d
	tx.Add(&knftables.Table{Comment: new("shares of Services by Leastwatt; do not edit")})
	keep := make(map[string]bool)
	for _, h := range hooks {
		keep[h.name] = true
		c := &knftables.Chain{Name: h.name, Type: &h.kind, Hook: &h.at, Priority: &h.priority}
		tx.Add(c)
		tx.Flush(&knftables.Chain{Name: h.name})
	}
	shared := d.chains()
	for _, c := range shared {
		keep[c.name] = true
		tx.Add(&knftables.Chain{Name: c.name})
		tx.Flush(&knftables.Chain{Name: c.name})
	}
	for _, o := range d.tables() {
		tx.Add(o)
		keep[nameOf(o)] = true
	}
	pairs, wantedElements := make(map[pair]int32), make(map[element]bool)
	keys := slices.Sorted(maps.Keys(next))
	for _, k := range keys {
		p := d.render(next[k].port)
		for _, c := range p.chains {
			keep[c.name] = true
			tx.Add(&knftables.Chain{Name: c.name})
			tx.Flush(&knftables.Chain{Name: c.name})
		}
		for _, s := range p.sets {
			keep[s.name] = true
			tx.Add(d.affinity(s))
		}
		for _, c := range p.counters {
			keep[c] = true
			tx.Add(&knftables.Counter{Name: c})
		}
		for _, e := range p.elements {
			wantedElements[e] = true
		}
		for _, x := range p.pairs {
			pairs[x]++
			wantedElements[x.element()] = true
		}
	}
	for _, c := range shared {
		addRules(tx, c)
	}
	for _, h := range hooks {
		tx.Add(&knftables.Rule{Chain: h.name, Rule: h.rule})
	}
	for _, k := range keys {
		for _, c := range d.render(next[k].port).chains {
			addRules(tx, c)
		}
	}
	for _, e := range slices.SortedFunc(maps.Keys(found.elements), compare) {
		if !wantedElements[e] {
			tx.Delete(e.object())
		}
	}
	for _, e := range slices.SortedFunc(maps.Keys(wantedElements), compare) {
		if !found.elements[e] {
			tx.Add(e.object())
		}
	}
	w.removeStale(tx, found.names, keep)
	return pairs
}

// removeStale deletes chains, maps and sets that an earlier life of this table left.
func (w *Writer) removeStale(tx *knftables.Transaction, found map[string][]string, keep map[string]bool) {
	stale := func(kind string) []string {
		out := slices.DeleteFunc(slices.Clone(found[kind]), func(name string) bool { return keep[name] })
		slices.Sort(out)
		return out
	}
	chains := stale("chain")
	for _, name := range chains {
		tx.Flush(&knftables.Chain{Name: name})
	}
	for _, name := range stale("map") {
		tx.Delete(&knftables.Map{Name: name})
	}
	for _, name := range chains {
		tx.Delete(&knftables.Chain{Name: name})
	}
	for _, name := range stale("set") {
		tx.Delete(&knftables.Set{Name: name})
	}
	for _, name := range stale("counter") {
		tx.Delete(&knftables.Counter{Name: name})
	}
}

// maxLeft is how many elements of endpoints that are gone may stay in the hairpin set, which they do no harm.
const maxLeft = 1000

// update writes what differs from what was applied. It returns how many more or fewer ports then have each pair, and which
// pairs it removed. An endpoint that goes leaves its element until others are written as well: nft reads all maps before it
// changes an element, which takes 0.2 s with 1,000 Services, and an endpoint that flaps is soon back.
func (w *Writer) update(tx *knftables.Transaction, next map[string]*wanted, r *Result) (pairs map[pair]int32, removed []pair) {
	var keys []string // of the ports that change, in order
	for k, p := range w.ports {
		if next[k] != p {
			keys = append(keys, k)
		}
	}
	for k := range next {
		if w.ports[k] == nil {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		return nil, nil
	}
	slices.Sort(keys)
	r.Changed = len(keys)
	pairs = make(map[pair]int32)
	before, after := make(map[element]bool), make(map[element]bool)
	oldChains, newChains := make(map[string]chain), make(map[string]chain)
	oldSets, newSets := make(map[string]affinitySet), make(map[string]affinitySet)
	oldCounters, newCounters := make(map[string]bool), make(map[string]bool)
	for _, k := range keys {
		if p := w.ports[k]; p != nil {
			old := w.d.render(p.port)
			for _, x := range old.pairs {
				pairs[x]--
			}
			collect(&old, before, oldChains, oldSets, oldCounters)
		}
		if p := next[k]; p != nil {
			now := w.d.render(p.port)
			for _, x := range now.pairs {
				pairs[x]++
			}
			collect(&now, after, newChains, newSets, newCounters)
		}
	}
	for x, n := range pairs {
		switch old, there := w.pairs[x]; {
		case !there && n > 0:
			after[x.element()] = true
		case there && old+n == 0:
			removed = append(removed, x)
		}
	}
	for x := range w.left {
		if _, changes := pairs[x]; !changes {
			removed = append(removed, x)
		}
	}
	if len(removed) > maxLeft || !maps.Equal(before, after) {
		for _, x := range removed {
			before[x.element()] = true
		}
	} else {
		removed = nil
	}
	for _, e := range slices.SortedFunc(maps.Keys(before), compare) {
		if !after[e] {
			tx.Delete(e.object())
		}
	}
	for _, name := range slices.Sorted(maps.Keys(newSets)) {
		if _, ok := oldSets[name]; !ok {
			tx.Add(w.d.affinity(newSets[name]))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(newCounters)) {
		if !oldCounters[name] {
			tx.Add(&knftables.Counter{Name: name})
		}
	}
	var changed []chain
	for _, name := range slices.Sorted(maps.Keys(newChains)) {
		c := newChains[name]
		old, ok := oldChains[name]
		if ok && slices.Equal(old.rules, c.rules) {
			continue
		}
		if !ok {
			tx.Add(&knftables.Chain{Name: name})
		} else {
			tx.Flush(&knftables.Chain{Name: name})
		}
		changed = append(changed, c)
	}
	for _, c := range changed {
		addRules(tx, c)
	}
	for _, e := range slices.SortedFunc(maps.Keys(after), compare) {
		if !before[e] {
			tx.Add(e.object())
		}
	}
	gone := func(name string) bool { _, ok := newChains[name]; return !ok }
	for _, name := range slices.Sorted(maps.Keys(oldChains)) {
		if gone(name) {
			tx.Flush(&knftables.Chain{Name: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(oldChains)) {
		if gone(name) {
			tx.Delete(&knftables.Chain{Name: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(oldSets)) {
		if _, ok := newSets[name]; !ok {
			tx.Delete(&knftables.Set{Name: name})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(oldCounters)) {
		if !newCounters[name] {
			tx.Delete(&knftables.Counter{Name: name})
		}
	}
	return pairs, removed
}

func collect(p *rendering, elements map[element]bool, chains map[string]chain, sets map[string]affinitySet, counters map[string]bool) {
	for _, e := range p.elements {
		elements[e] = true
	}
	for _, c := range p.counters {
		counters[c] = true
	}
	for _, c := range p.chains {
		chains[c.name] = c
	}
	for _, s := range p.sets {
		sets[s.name] = s
	}
}

func addRules(tx *knftables.Transaction, c chain) {
	for _, r := range c.rules {
		tx.Add(&knftables.Rule{Chain: c.name, Rule: r})
	}
}

func (d *dialect) affinity(s affinitySet) *knftables.Set {
	return &knftables.Set{Name: s.name, Type: d.addr, Flags: []knftables.SetFlag{knftables.DynamicFlag, knftables.TimeoutFlag},
		Timeout: &s.timeout, Size: new(uint64(affinityClients))}
}

// affinityClients bounds how many clients an endpoint remembers, as the kernel wants for sets that packets fill.
const affinityClients = 65_536

func nameOf(o knftables.Object) string {
	switch o := o.(type) {
	case *knftables.Map:
		return o.Name
	case *knftables.Set:
		return o.Name
	}
	return ""
}

func (e element) object() *knftables.Element {
	o := &knftables.Element{Key: strings.Split(e.key, " . ")}
	if e.value == "" {
		o.Set = e.in
	} else {
		o.Map, o.Value = e.in, []string{e.value}
	}
	return o
}

func compare(a, b element) int {
	return cmp.Or(cmp.Compare(a.in, b.in), cmp.Compare(a.key, b.key), cmp.Compare(a.value, b.value))
}
