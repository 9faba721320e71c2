package scheduler

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	fwk "k8s.io/kube-scheduler/framework"
)

// resized is a pod that started long ago, asks for CPU, and has what its status says.
func resized(name, asks, has string, conditions ...v1.PodCondition) *v1.Pod {
	long := time.Unix(1_800_000_000, 0).Add(-time.Hour)
	p := started(pod(name, asks), long, long)
	p.Spec.NodeName = "n"
	p.Status.Conditions = append(p.Status.Conditions, conditions...)
	r := v1.ResourceList{v1.ResourceCPU: resource.MustParse(has)}
	p.Status.ContainerStatuses[0].AllocatedResources = r
	p.Status.ContainerStatuses[0].Resources = &v1.ResourceRequirements{Requests: r}
	return p
}

// What a pod gets or loses in place counts until a sample shows it: as soon as Kubernetes counts it, by what the containers
// have, and for a while after they have it.
func TestResizedPods(t *testing.T) {
	at := time.Unix(1_800_000_000, 0)
	pending := func(reason string) v1.PodCondition {
		return v1.PodCondition{Type: v1.PodResizePending, Status: v1.ConditionTrue, Reason: reason}
	}
	s := newSite(squared(t, "n"))
	p := s.start(t, "")
	s.refresh(t, at, 0.5)
	infos := []fwk.NodeInfo{&fakeNode{node: node("n", 10)}}
	now := func(what string, load float64, pods ...*v1.Pod) {
		t.Helper()
		n := infos[0].(*fakeNode)
		n.pods = nil
		for _, x := range pods {
			n.add(x)
		}
		raw, _ := cycle(t, p, pod("p", "1"), infos)
		wantLoad(t, what, s, raw, "n", load)
	}
	e := p.work.ended
	small, up, big := resized("a", "1", "1"), resized("a", "3", "1"), resized("a", "3", "3")
	now("before", 0.5, small)
	now("on its way up", 0.7, up)
	now("deferred, which Kubernetes counts", 0.7, resized("a", "3", "1", pending(v1.PodReasonDeferred)))
	now("infeasible, which it does not", 0.5, resized("a", "3", "1", pending(v1.PodReasonInfeasible)))
	e.resize(small, up, at.Add(time.Second))
	now("on its way, told", 0.7, up)
	s.now = at.Add(2 * time.Second)
	s.refresh(t, s.now, 0.5)
	raw, _ := cycle(t, p, pod("p", "1"), infos) // no generation has changed
	wantLoad(t, "on its way, after a new sample", s, raw, "n", 0.7)
	e.resize(up, big, s.now.Add(time.Second))
	now("there, though no sample shows it", 0.7, big)
	e.resize(big, big, s.now.Add(time.Second))
	now("told again", 0.7, big)
	s.now = s.now.Add(2 * time.Second)
	s.refresh(t, s.now, 0.7)
	now("a sample shows it", 0.7, big)

	down := resized("a", "1", "3")
	now("on its way down, while it has all", 0.7, down)
	e.resize(big, down, s.now.Add(time.Second))
	now("the same, told", 0.7, down)
	e.resize(down, small, s.now.Add(time.Second))
	now("down", 0.5, small)
	e.resize(small, resized("a", "1", "995m"), s.now.Add(time.Second)) // rounded by the kernel
	now("rounded", 0.5, resized("a", "1", "995m"))
	e.add(up, s.now.Add(2*time.Second))
	now("ended on its way up again: nothing but what it had at the sample", 0.4)
	e.resize(resized("b", "60", "60"), resized("b", "20", "20"), s.now.Add(time.Second))
	now("no more than its share", 0.7*20/(43+20), resized("b", "20", "20"))

	// A sample that shows nothing of a pod shows nothing of what it had before, either.
	s.now = s.now.Add(10 * time.Second)
	s.refresh(t, s.now, 0.5)
	young := func(x *v1.Pod) *v1.Pod {
		x.Status.Conditions[0].LastTransitionTime = metav1.NewTime(s.now)
		return x
	}
	e.resize(young(resized("c", "1", "1")), young(resized("c", "3", "3")), s.now.Add(2*time.Second))
	now("started after the sample", 0.8, young(resized("c", "3", "3")))
}

// What a pod has is counted with its sidecars, its overhead and the resources of the whole.
func TestHeld(t *testing.T) {
	cpu := func(s string) v1.ResourceList { return v1.ResourceList{v1.ResourceCPU: resource.MustParse(s)} }
	p := resized("p", "3", "1")
	if same := resized("p", "3", "3"); having(same) != same {
		t.Error("a pod that has what it asks for is taken for one that is resized")
	}
	p.Spec.Overhead = cpu("100m")
	p.Spec.InitContainers = []v1.Container{{Name: "proxy", RestartPolicy: new(v1.ContainerRestartPolicyAlways), Resources: v1.ResourceRequirements{Requests: cpu("2")}}}
	p.Status.InitContainerStatuses = []v1.ContainerStatus{{Name: "proxy", AllocatedResources: cpu("500m")}}
	p.Status.ContainerStatuses = append([]v1.ContainerStatus{{Name: "stranger", AllocatedResources: cpu("7")}}, p.Status.ContainerStatuses...)
	if got := held(p); got != 1600 {
		t.Errorf("it has %dm of a core, want 1 of main, 500m of proxy and 100m of overhead", got)
	}
	if asks := p.Spec.Containers[0].Resources.Requests.Cpu().MilliValue(); asks != 3000 {
		t.Errorf("the pod was changed: it asks for %dm", asks)
	}
	p.Spec.Resources = &v1.ResourceRequirements{Requests: cpu("6")}
	p.Status.Resources = &v1.ResourceRequirements{Requests: cpu("4")}
	if got := held(p); got != 4100 {
		t.Errorf("it has %dm of a core, want 4 of the whole pod and 100m of overhead", got)
	}
}

// The informer tells which pods are resized.
func TestFollowsPodsThatAreResized(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		h, e := newHandle(), new(ended)
		pods := h.client.CoreV1().Pods("default")
		if _, err := pods.Create(ctx, resized("p", "1", "1"), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
		if err := e.follow(ctx, h); err != nil {
			t.Fatal(err)
		}
		h.factory.Start(ctx.Done())
		h.factory.WaitForCacheSync(ctx.Done())
		synctest.Wait()
		for _, x := range []*v1.Pod{resized("p", "2", "1"), resized("p", "2", "2")} {
			if _, err := pods.Update(ctx, x, metav1.UpdateOptions{}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		if got := e.on("n"); len(got) != 1 || got[0].before != 1000 || got[0].after != 2000 {
			t.Errorf("resized on n: %+v, want one from 1 core to 2", got)
		}
		cancel()
		h.factory.Shutdown()
	})
}
