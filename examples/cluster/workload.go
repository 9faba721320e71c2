package main

import (
	"fmt"
	"math"
	"math/rand/v2"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// newWorkload draws the sizes of n pods in thousandths of a core: small and large ones mixed, in the order
// they arrive, together the share load of the capacity (as near as their step allows).
func newWorkload(n int, load, capacity float64, seed uint64) []int64 {
	rng := rand.New(rand.NewPCG(seed, 2))
	weights := [...]float64{1, 1, 2, 2, 4, 8} // sizes to each other
	share := make([]float64, n)
	sum := 0.0
	for i := range share {
		share[i] = weights[rng.IntN(len(weights))] * (0.8 + 0.4*rng.Float64())
		sum += share[i]
	}
	// Rounding the running total keeps the total of the rounded sizes.
	quanta := load * capacity * 1000 / quantum
	sizes := make([]int64, n)
	at, given := 0.0, int64(0)
	for i := range sizes {
		at += share[i]
		upTo := int64(math.Round(quanta * at / sum))
		sizes[i] = max(upTo-given, 1) * quantum
		given = upTo
	}
	return sizes
}

// fits tells whether each pod has room on some empty server.
func fits(sizes []int64, fleet []server) error {
	largest, room := int64(0), int64(0)
	for _, s := range sizes {
		largest = max(largest, s)
	}
	for i := range fleet {
		room = max(room, int64(fleet[i].hardware.Threads)*1000)
	}
	if largest > room {
		return fmt.Errorf("the largest pod would need %.1f cores and the largest server has %.0f: raise -pods or lower -load",
			float64(largest)/1000, float64(room)/1000)
	}
	return nil
}

func cores(sizes []int64) float64 {
	var sum int64
	for _, s := range sizes {
		sum += s
	}
	return float64(sum) / 1000
}

// Memory is there so that the default scheduler's scores see what they usually see; it never binds.
const (
	memoryPerPodCore    = 2 << 30 // bytes
	memoryPerServerCore = 4 << 30
)

func (s *server) node() *v1.Node {
	room := v1.ResourceList{
		v1.ResourceCPU:    *resource.NewQuantity(int64(s.hardware.Threads), resource.DecimalSI),
		v1.ResourceMemory: *resource.NewQuantity(int64(s.hardware.Threads)*memoryPerServerCore, resource.BinarySI),
		v1.ResourcePods:   resource.MustParse("500"),
	}
	return &v1.Node{
		ObjectMeta: metav1.ObjectMeta{
			Name:   s.name,
			Labels: map[string]string{v1.LabelHostname: s.name, hardwareLabel: labelValue(s.hardware.Name())},
		},
		Status: v1.NodeStatus{
			Capacity: room, Allocatable: room,
			Conditions: []v1.NodeCondition{{Type: v1.NodeReady, Status: v1.ConditionTrue, Reason: "Simulated"}},
		},
	}
}

func newPod(namespace, name, scheduler string, milliCPU int64) *v1.Pod {
	cpu := resource.NewMilliQuantity(milliCPU, resource.DecimalSI)
	memory := resource.NewQuantity(milliCPU*memoryPerPodCore/1000, resource.BinarySI)
	return &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace, Labels: map[string]string{"app": "workload"}},
		Spec: v1.PodSpec{
			SchedulerName:                 scheduler,
			TerminationGracePeriodSeconds: new(int64(0)),
			Containers: []v1.Container{{
				Name: "work", Image: "simulated",
				Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: *cpu, v1.ResourceMemory: *memory}},
			}},
		},
	}
}
