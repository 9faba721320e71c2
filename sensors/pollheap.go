package sensors

import (
	"container/heap"
	"time"
)

// taskHeap is ordered by when tasks are due.
type taskHeap []*pollTask

func (h taskHeap) ready(now time.Time) bool { return len(h) > 0 && !h[0].due.After(now) }

func (h taskHeap) Len() int           { return len(h) }
func (h taskHeap) Less(i, j int) bool { return h[i].due.Before(h[j].due) }
func (h taskHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

// Push implements [heap.Interface].
func (h *taskHeap) Push(x any) {
	t := x.(*pollTask)
	t.heap, t.index = h, len(*h)
	*h = append(*h, t)
}

// Pop implements [heap.Interface].
func (h *taskHeap) Pop() any {
	t := (*h)[len(*h)-1]
	(*h)[len(*h)-1] = nil
	*h = (*h)[:len(*h)-1]
	t.heap = nil
	return t
}

func (l *pollLoop) put(t *pollTask) {
	if t.failures > 0 {
		heap.Push(&l.suspect, t)
	} else {
		heap.Push(&l.due, t)
	}
}
