package scheduler

import (
	"context"
	"math"
	"time"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"
)

// never is later than every sample.
const never = math.MaxInt64

// seenFrom returns from when on (in Unix nanoseconds) a sample of the node's utilization shows the pod's
// use, by the times in the pod's status alone, so that the answer is the same after a restart: the pod was
// bound and its containers had started. A pod that is only assumed to be bound, or has not started, is not
// seen yet. The times have whole seconds, cut off, so a second is added.
func seenFrom(pod *v1.Pod) int64 {
	if pod.Status.Phase == v1.PodSucceeded || pod.Status.Phase == v1.PodFailed {
		return 0 // uses nothing any more
	}
	var at time.Time
	for i := range pod.Status.Conditions {
		if c := &pod.Status.Conditions[i]; c.Type == v1.PodScheduled && c.Status == v1.ConditionTrue {
			at = c.LastTransitionTime.Time
		}
	}
	if at.IsZero() || pod.Status.Phase != v1.PodRunning {
		return never
	}
	for i := range pod.Status.ContainerStatuses {
		// A container that was restarted has been seen before.
		c := &pod.Status.ContainerStatuses[i]
		if r := c.State.Running; r != nil && c.RestartCount == 0 && r.StartedAt.After(at) {
			at = r.StartedAt.Time
		}
	}
	return at.Add(time.Second).UnixNano()
}

// SignPod implements the framework's SignPlugin: a score depends on the pod by its request for CPU alone,
// so pods that ask for the same may share scores, and opportunistic batching stays on. GPUs count too.
func (p *Plugin) SignPod(_ context.Context, pod *v1.Pod) ([]fwk.SignFragment, *fwk.Status) {
	return p.args.sign(pod), nil
}

func (u *Usage) sign(pod *v1.Pod) []fwk.SignFragment {
	w := u.wants(pod)
	sign := []fwk.SignFragment{{Key: "leastwatt.milliCPU()", Value: w.milliCPU}}
	if w.gpus > 0 {
		sign = append(sign, fwk.SignFragment{Key: "leastwatt.gpus()", Value: w.gpus})
	}
	return sign
}
