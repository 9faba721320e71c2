package simulate

// What can happen, in the order in which it happens at one instant: what ends makes room for what begins.
const (
	evRepair uint8 = iota
	evEnd
	evUse
	evReady
	evFail
	evMoved
	evSample
	evRebalance
	evRelease // of a job that its strategy held
	evPlan
	evOff
)

// An event happens to one job or node. gen tells an event that has been overtaken.
type event struct {
	at   int64 // nanoseconds
	seq  uint32
	gen  uint32
	who  int32
	kind uint8
}

func (e *event) before(o *event) bool {
	if e.at != o.at {
		return e.at < o.at
	}
	if e.kind != o.kind {
		return e.kind < o.kind
	}
	return e.seq < o.seq
}

// A heap with four children a node: half as deep as a binary one, and the children share a cache line.
type eventHeap struct {
	events []event
	seq    uint32
}

func (h *eventHeap) push(at int64, kind uint8, who int32, gen uint32) {
	h.seq++
	e := event{at: at, seq: h.seq, gen: gen, who: who, kind: kind}
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
	k := 0
	for {
		first := 4*k + 1
		if first >= n {
			break
		}
		least := first
		for c := first + 1; c < min(first+4, n); c++ {
			if h.events[c].before(&h.events[least]) {
				least = c
			}
		}
		if !h.events[least].before(&e) {
			break
		}
		h.events[k] = h.events[least]
		k = least
	}
	h.events[k] = e
	return top
}
