package scheduler

import (
	"context"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
)

// maxRetried bounds how many pods are tried again at once.
const maxRetried = 500

// retry has pods that were rejected tried again, until ctx ends. Those that are bound or gone by now are left
// alone by the scheduler; those that are rejected again come back.
func (p *PowerCap) retry(ctx context.Context) {
	tick := time.NewTicker(p.args.retry)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		pods := make(map[string]*v1.Pod)
		p.rejected.Range(func(uid, pod any) bool {
			p.rejected.Delete(uid)
			x := pod.(*v1.Pod)
			pods[x.Namespace+"/"+x.Name] = x
			return len(pods) < maxRetried
		})
		if len(pods) > 0 {
			p.activate(klog.FromContext(ctx), pods)
		}
	}
}

// EventsToRegister implements the framework's EnqueueExtensions: a pod that ends or shrinks, on whichever node of a group, a node that joins or
// leaves, and labels that move a node to another group may make room.
func (p *PowerCap) EventsToRegister(context.Context) ([]fwk.ClusterEventWithHint, error) {
	return []fwk.ClusterEventWithHint{
		{Event: fwk.ClusterEvent{Resource: fwk.AssignedPod, ActionType: fwk.Delete | fwk.UpdatePodScaleDown}},
		{Event: fwk.ClusterEvent{Resource: fwk.Node, ActionType: fwk.Add | fwk.Delete | fwk.UpdateNodeLabel}, QueueingHintFn: p.roomOnNode},
	}, nil
}

// roomOnNode tells whether a node that has changed, joined or left may make room for a pod: whether the groups that it is in are others.
func (p *PowerCap) roomOnNode(_ klog.Logger, _ *v1.Pod, before, after any) (fwk.QueueingHint, error) {
	b, ok := before.(*v1.Node)
	a, still := after.(*v1.Node)
	if !ok || b == nil {
		return fwk.Queue, nil
	}
	if !still || a == nil { // what it drew is left to the others of its groups
		for i := range p.args.Caps {
			if _, _, about := p.args.Caps[i].group(b); about && p.args.Caps[i].Label != "" {
				return fwk.Queue, nil
			}
		}
		return fwk.QueueSkip, nil
	}
	for i := range p.args.Caps {
		was, limit, about := p.args.Caps[i].group(b)
		if is, now, still := p.args.Caps[i].group(a); is != was || now != limit || still != about {
			return fwk.Queue, nil
		}
	}
	return fwk.QueueSkip, nil
}
