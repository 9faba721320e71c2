package simulate

// What can happen, in the order in which it happens at one instant: what ends makes room for what begins.
const (
	evRepair uint8 = iota
	evEnd
	evUse
	evReady
	evFail
	evMoved // a node is ready for a job that runs elsewhere
	evSample
	evRebalance
	evRelease // of a job that its strategy held
	evPlan
	evOff
)

// An event happens to one job or node. gen tells an event that has been overtaken.
type event struct {
	at    int64  // nanoseconds
	order uint64 // at one instant: the kind, then when it was pushed
	gen   uint32
	who   int32
}

const orderKind = 56 // bits below the kind

func (e *event) kind() uint8 { return uint8(e.order >> orderKind) }

func (e *event) before(o *event) bool {
	return e.at < o.at || e.at == o.at && e.order < o.order
}

// A heap with four children a node: half as deep as a binary one, and the children share a cache line.
type eventHeap struct {
	events []event
	pushed uint64
}

func (h *eventHeap) push(at int64, kind uint8, who int32, gen uint32) {
	h.pushed++
	e := event{at: at, order: uint64(kind)<<orderKind | h.pushed, gen: gen, who: who}
	h.events = append(h.events, e)
	k := len(h.events) - 1
	for k > 0 {
		up := (k - 1) / 4
		if !e.before(&h.events[up]) {
			break
		}
		h.events[k] = h.events[up]
		k = up
	}
	h.events[k] = e
}

func (h *eventHeap) pop() event {
	top := h.events[0]
	n := len(h.events) - 1
	e := h.events[n]
	h.events = h.events[:n]
	if n == 0 {
		return top
	}
	q, k := h.events, 0
	for 4*k+4 < n { // four children
		c := q[4*k+1 : 4*k+5 : 4*k+5]
		a, b := 0, 2
		if c[1].before(&c[0]) {
			a = 1
		}
		if c[3].before(&c[2]) {
			b = 3
		}
		if c[b].before(&c[a]) {
			a = b
		}
		if !c[a].before(&e) {
			q[k] = e
			return top
		}
		q[k] = c[a]
		k = 4*k + 1 + a
	}
	if first := 4*k + 1; first < n {
		least := first
		for c := first + 1; c < n; c++ {
			if q[c].before(&q[least]) {
				least = c
			}
		}
		if q[least].before(&e) {
			q[k] = q[least]
			k = least
		}
	}
	q[k] = e
	return top
}
