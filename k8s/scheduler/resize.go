package scheduler

import (
	"slices"

	v1 "k8s.io/api/core/v1"
	resourcehelper "k8s.io/component-helpers/resource"
)

// rounding is by how many thousandths of a core what a container has may differ from what was asked for although
// nobody resized it: kubelets read it from the kernel's shares.
const rounding = 10

// held returns the thousandths of a core that a pod on a node has by its status. While it is resized in place, that is
// not yet what Kubernetes counts, which is the larger of the two.
func held(pod *v1.Pod) int64 {
	r := resourcehelper.PodRequests(having(pod), resourcehelper.PodResourcesOptions{})
	cpu := r[v1.ResourceCPU]
	return cpu.MilliValue()
}

// having returns a pod that asks for the CPU that this one has by its status: itself where that is what it asks for, as
// nearly always, which costs next to nothing to see.
func having(pod *v1.Pod) *v1.Pod {
	containers := actual(pod.Spec.Containers, pod.Status.ContainerStatuses)
	inits := actual(pod.Spec.InitContainers, pod.Status.InitContainerStatuses)
	whole := pod.Spec.Resources
	if whole != nil && pod.Status.Resources != nil {
		if has := pod.Status.Resources.Requests; otherCPU(whole.Requests, has) {
			whole = &v1.ResourceRequirements{Requests: has}
		}
	}
	if containers == nil && inits == nil && whole == pod.Spec.Resources {
		return pod
	}
	has := &v1.Pod{Spec: pod.Spec}
	has.Spec.Resources = whole
	if containers != nil {
		has.Spec.Containers = containers
	}
	if inits != nil {
		has.Spec.InitContainers = inits
	}
	return has
}

// actual returns containers that ask for what these have by their status, or nil where it is what they ask for.
func actual(containers []v1.Container, statuses []v1.ContainerStatus) (out []v1.Container) {
	for i := range statuses {
		s := &statuses[i]
		has := s.AllocatedResources
		if s.Resources != nil && s.Resources.Requests != nil {
			has = s.Resources.Requests
		}
		if has == nil {
			continue
		}
		k := i
		if k >= len(containers) || containers[k].Name != s.Name {
			if k = slices.IndexFunc(containers, func(c v1.Container) bool { return c.Name == s.Name }); k < 0 {
				continue
			}
		}
		if otherCPU(containers[k].Resources.Requests, has) {
			if out == nil {
				out = slices.Clone(containers)
			}
			out[k].Resources.Requests = has
		}
	}
	return out
}

func otherCPU(a, b v1.ResourceList) bool {
	x, y := a[v1.ResourceCPU], b[v1.ResourceCPU]
	return x.Cmp(y) != 0
}
