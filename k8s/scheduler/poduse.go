package scheduler

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fwk "k8s.io/kube-scheduler/framework"
)

// A podUse is what a pod on a node is expected to use, and from when on a sample shows it: see seenFrom. Most pods
// of a node that has changed are as they were, and to look into each of a hundred again takes longer than all the rest
// of a prediction. Who watches pods gets another object for one that has changed.
type podUse struct {
	pod       *v1.Pod
	from      int64
	cpu, gpus float64
	held      float64 // of cpu: what it is expected to use of what it has while it is resized
	work      bool    // it is there to stay, and could be elsewhere
}

func (u *Usage) of(pi fwk.PodInfo, pod *v1.Pod) podUse {
	x := u.summed(pi)
	use := podUse{pod: pod, from: seenFrom(pod), cpu: u.cpu(x.milliCPU), gpus: u.gpus(x.gpus), work: works(pod)}
	use.held = use.cpu
	if pod.Status.Phase == v1.PodRunning && having(pod) != pod {
		if has := held(pod); x.milliCPU-has > rounding {
			use.held = u.cpu(has)
		}
	}
	return use
}

// uses returns what the pods on the i-th server use.
func (w *prepared) uses(info fwk.NodeInfo, i int) []podUse {
	infos, uses := info.GetPods(), w.pods[i]
	if n := len(infos); n > cap(uses) {
		uses = slices.Grow(uses, n-len(uses))
	} else if n < len(uses) {
		clear(uses[n:])
	}
	uses = uses[:len(infos)]
	for k, pi := range infos {
		if pod := pi.GetPod(); uses[k].pod != pod {
			uses[k] = w.usage.of(pi, pod)
		}
	}
	w.pods[i] = uses
	return uses
}

// count adds up what the pods use that the sample does not show, and takes off what those used that it shows
// although they have ended.
func (w *prepared) count(info fwk.NodeInfo, i int) {
	s := &w.seats[i]
	s.pending, s.newest, s.empty = 0, 0, w.wakes
	gpus := 0.0
	uses := w.uses(info, i)
	for k := range uses {
		x := &uses[k]
		s.newest = max(s.newest, x.from)
		if x.from > s.sampled {
			s.pending += x.cpu
			gpus += x.gpus
		} else if x.held != x.cpu {
			s.pending += x.cpu - x.held
			s.newest = never
		}
		if x.work {
			s.empty = false
		}
	}
	if w.ended != nil {
		cpu, gpu := w.gone(uses, i)
		s.pending -= cpu
		gpus -= gpu
	}
	if w.gpus != nil {
		w.gpus[i] = gpus
	}
}

// gone returns what the sample still shows of pods that have ended or have less by now: what they are expected to have
// used, but no more than their share of what was measured. Less than nothing is of pods that have more by now.
func (w *prepared) gone(uses []podUse, i int) (cpu, gpus float64) {
	s, u := &w.seats[i], w.usage
	more := 0.0
	for _, e := range w.ended.on(w.nodes[i].Name) {
		if e.from > s.sampled || e.until <= s.sampled {
			continue
		}
		s.newest = max(s.newest, e.until)
		if e.pod == nil {
			if less := u.cpu(e.before) - u.cpu(e.after); less > 0 {
				cpu += less
			} else {
				more -= less
			}
			continue
		}
		cpu += u.cpu(held(e.pod))
		gpus += u.gpus(u.wants(e.pod).gpus)
	}
	if cpu == 0 {
		return -more, 0
	}
	rest := 0.0
	for k := range uses {
		if x := &uses[k]; x.from <= s.sampled && !terminal(x.pod) {
			rest += x.held
		}
	}
	m := &w.view.Nodes()[i]
	return min(cpu, m.State.Utilization*m.Capacity.Work()*cpu/(cpu+rest)) - more, gpus
}

// works tells whether a pod is work that keeps its server on: it does not end, and belongs neither to a DaemonSet nor to the server itself,
// as what mirrors a static pod does.
func works(pod *v1.Pod) bool {
	if terminal(pod) || pod.DeletionTimestamp != nil {
		return false
	}
	c := metav1.GetControllerOfNoCopy(pod)
	return c == nil || c.Kind != "DaemonSet" && c.Kind != "Node"
}
