package balancing

import "maps"

// Past remembers the shares of one round by Service and endpoint, in little memory. The zero value remembers none. It is
// not safe for concurrent use.
type Past struct {
	rows  map[string]*PastRow
	round uint64
}

// A PastRow is what one Service's endpoints had. Nil is that of a Service that is not remembered.
type PastRow struct {
	ids    []string
	values []float64
	at     map[string]int // where an ID stands, made when it is needed
	round  uint64
	known  bool // most endpoints' servers were known, in that round or in one before
}

// Keep forgets the round before and remembers this one. It copies what it keeps.
func (p *Past) Keep(services []Service, shares [][]Share) {
	if p.rows == nil {
		p.rows = make(map[string]*PastRow, len(services))
	}
	p.round++
	for i := range services {
		s := &services[i]
		r := p.rows[s.Name]
		if n := len(s.Endpoints); r == nil || cap(r.ids) < n || cap(r.ids) > 2*n {
			r = &PastRow{ids: make([]string, 0, n), values: make([]float64, 0, n), known: r != nil && r.known}
			p.rows[s.Name] = r
		}
		r.ids, r.values, r.at, r.round, r.known = r.ids[:0], r.values[:0], nil, p.round, r.known || mostKnown(shares[i])
		for j := range s.Endpoints {
			r.ids, r.values = append(r.ids, s.Endpoints[j].ID), append(r.values, shares[i][j].Value)
		}
	}
	maps.DeleteFunc(p.rows, func(_ string, r *PastRow) bool { return r.round != p.round })
}

// Row returns what a Service's endpoints had.
func (p *Past) Row(service string) *PastRow { return p.rows[service] }

// Len returns how many endpoints the Service had.
func (r *PastRow) Len() int {
	if r == nil {
		return 0
	}
	return len(r.ids)
}

// Share returns what an endpoint had, and false if it was not there. It is quick where the endpoint still stands at index
// j of its Service.
func (r *PastRow) Share(j int, id string) (float64, bool) {
	if r == nil {
		return 0, false
	}
	if j < len(r.ids) && r.ids[j] == id {
		return r.values[j], true
	}
	if r.at == nil {
		r.at = make(map[string]int, len(r.ids))
		for k, id := range r.ids {
			r.at[id] = k
		}
	}
	k, ok := r.at[id]
	if !ok {
		return 0, false
	}
	return r.values[k], true
}
