package main

// A countKey is what decisions are counted by.
type countKey struct {
	strategy string
	action   Action
}

// A count sums up decisions since the program began.
type count struct {
	decisions  int
	kWh, grams float64 // predicted, of those whose carbon is known
}

type counts map[countKey]*count

func (c counts) add(d *Decision) {
	k := countKey{d.Strategy, d.Action}
	n := c[k]
	if n == nil {
		n = new(count)
		c[k] = n
	}
	n.decisions++
	if d.Score != nil {
		n.kWh += d.KWh
		n.grams += *d.Score
	}
}

// counted returns what was decided so far.
func (e *Engine) counted() map[countKey]count {
	e.mu.Lock()
	defer e.mu.Unlock()
	out := make(map[countKey]count, len(e.counts))
	for k, n := range e.counts {
		out[k] = *n
	}
	return out
}
