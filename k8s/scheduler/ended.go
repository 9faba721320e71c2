package scheduler

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	fwk "k8s.io/kube-scheduler/framework"
)

// ended remembers pods for a while after they have ended, or were resized in place: a sample of their node that is older
// still shows what they used. It begins anew with the scheduler, which costs at most what one sample is old.
type ended struct {
	changes atomic.Uint64 // how many pods have ended or were resized

	mu     sync.Mutex
	byNode map[string][]endedPod // guarded by mu
	log    []string              // guarded by mu: the nodes of the last changes, oldest first
}

// An endedPod used what pods like it use, between two times in Unix nanoseconds.
type endedPod struct {
	uid         types.UID
	from, until int64
	pod         *v1.Pod // nil where it goes on with other resources

	before, after int64 // thousandths of a core that a pod which goes on had and has
}

const (
	rememberEnded = 10 * time.Minute // samples that old are not used
	maxEnded      = 512              // of one node
	maxEndedLog   = 4096
)

// add remembers a pod that has ended by now.
func (e *ended) add(pod *v1.Pod, now time.Time) {
	if pod.Spec.NodeName == "" {
		return
	}
	from, until := ran(pod)
	if until == 0 {
		if pod.Status.Phase != v1.PodRunning {
			return // it never ran, or ended who knows when
		}
		until = now.UnixNano()
	}
	e.remember(pod.Spec.NodeName, endedPod{uid: pod.UID, from: from, until: until, pod: pod}, now)
}

// resize remembers what a pod had before it was resized in place, if it was, by now.
func (e *ended) resize(before, after *v1.Pod, now time.Time) {
	if before.Status.Phase != v1.PodRunning || after.Status.Phase != v1.PodRunning {
		return
	}
	had, has := held(before), held(after)
	if had-has <= rounding && has-had <= rounding {
		return
	}
	e.remember(after.Spec.NodeName, endedPod{uid: after.UID, from: seenFrom(after), until: now.UnixNano(), before: had, after: has}, now)
}

func (e *ended) remember(node string, p endedPod, now time.Time) {
	old := now.Add(-rememberEnded).UnixNano()
	if p.from == never || p.until < old {
		return
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.byNode == nil {
		e.byNode = make(map[string][]endedPod)
	}
	pods := slices.DeleteFunc(e.byNode[node], func(p endedPod) bool { return p.until < old })
	if p.pod != nil && slices.ContainsFunc(pods, func(q endedPod) bool { return q.pod != nil && q.uid == p.uid }) {
		return
	}
	if len(pods) == maxEnded {
		pods = slices.Delete(pods, 0, 1)
	}
	e.byNode[node] = append(pods, p)
	e.log = append(e.log, node)
	if len(e.log) > maxEndedLog {
		e.log = slices.Delete(e.log, 0, maxEndedLog/2)
		for n, pods := range e.byNode { // of nodes on which nothing ends any more
			if pods[len(pods)-1].until < old {
				delete(e.byNode, n)
			}
		}
	}
	e.changes.Add(1)
}

// on returns the pods that have ended on a node, or were resized. They are not to be changed.
func (e *ended) on(node string) []endedPod {
	if e.changes.Load() == 0 {
		return nil
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.byNode[node])
}

// since calls each with the nodes on which that was since a number of changes, and returns the number now;
// it tells with false that it has forgotten some of them.
func (e *ended) since(seen uint64, each func(node string)) (now uint64, all bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now = e.changes.Load()
	n := now - seen
	if n > uint64(len(e.log)) {
		return now, false
	}
	for _, node := range e.log[uint64(len(e.log))-n:] {
		each(node)
	}
	return now, true
}

// follow remembers pods as they end or are resized, until ctx ends.
func (e *ended) follow(ctx context.Context, h fwk.Handle) error {
	informer := h.SharedInformerFactory().Core().V1().Pods().Informer()
	reg, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(old, obj any) {
			before, _ := old.(*v1.Pod)
			if p, ok := obj.(*v1.Pod); ok && terminal(p) {
				e.add(p, time.Now())
			} else if ok && before != nil {
				e.resize(before, p, time.Now())
			}
		},
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			if p, ok := obj.(*v1.Pod); ok {
				e.add(p, time.Now())
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = informer.RemoveEventHandler(reg) })
	return nil
}

func terminal(p *v1.Pod) bool {
	return p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed
}

// ran returns from when on samples showed a pod that has ended, and until when; 0 is not known.
func ran(pod *v1.Pod) (from, until int64) {
	if !terminal(pod) {
		return seenFrom(pod), 0
	}
	from = never
	for i := range pod.Status.ContainerStatuses {
		t := pod.Status.ContainerStatuses[i].State.Terminated
		if t == nil || t.StartedAt.IsZero() || t.FinishedAt.IsZero() {
			continue
		}
		from = min(from, t.StartedAt.Add(time.Second).UnixNano())
		until = max(until, t.FinishedAt.UnixNano())
	}
	return from, until
}
