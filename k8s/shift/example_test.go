package shift_test

import (
	"context"
	"fmt"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/leastwatt/leastwatt/k8s/shift"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// A pod waits from noon for the night, in a zone whose intensity is a sine over the day.
func ExampleController() {
	noon := time.Date(2024, 6, 3, 12, 0, 0, 0, time.UTC)
	now := func() time.Time { return noon }
	sine, err := grid.ParseProfile("sine:300:-200:86400", grid.AverageLifeCycle, 1, now) // the least at 06:00
	if err != nil {
		fmt.Println(err)
		return
	}
	pod := &v1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "train", CreationTimestamp: metav1.Time{Time: noon},
			Annotations: map[string]string{shift.DurationAnnotation: "2h", shift.DeadlineAnnotation: "2024-06-04T12:00:00Z"}},
		Spec: v1.PodSpec{SchedulingGates: []v1.PodSchedulingGate{{Name: shift.Gate}}},
	}
	c := fake.NewClientBuilder().WithObjects(pod).Build()
	policies := func() (*shift.Policies, error) { return &shift.Policies{Default: shift.Policy{Zone: "DE"}}, nil }
	s, err := shift.New(c, sine, shift.Options{Policies: policies, Now: now})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := s.Round(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	if err := c.Get(context.Background(), client.ObjectKeyFromObject(pod), pod); err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(pod.Annotations[shift.PlannedAnnotation], "at the latest", pod.Annotations[shift.ReleaseByAnnotation])
	// Output: 2024-06-04T05:00:00Z at the latest 2024-06-04T09:36:00Z
}
