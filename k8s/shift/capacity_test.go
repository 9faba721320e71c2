package shift

import (
	"fmt"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// No more cores than allowed are planned at once.
func TestCapacity(t *testing.T) {
	var objects []client.Object
	for i := range 6 { // 2 cores for two hours each: of the six clean hours, three rounds of one pod fit into 2 cores
		objects = append(objects, pod(fmt.Sprint("p", i), noon, map[string]string{DurationAnnotation: "2h", MaxDelayAnnotation: "40h"}))
	}
	l := newLab(t, "default: {zone: DE}\ncores: {DE: 2}\n", objects...)
	running := make(map[string]time.Time)
	for range 6 * 44 {
		l.round()
		busy := 0
		for i := range 6 {
			name := fmt.Sprint("p", i)
			p := l.pod(name)
			if gated(p) {
				continue
			}
			if running[name].IsZero() {
				running[name] = l.now
			}
			if l.now.Before(running[name].Add(2 * time.Hour)) {
				busy++
			} else if p.Status.Phase != v1.PodSucceeded {
				p.Status.Phase = v1.PodSucceeded
				if err := l.c.Status().Update(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
		}
		if busy > 1 {
			t.Fatalf("%d pods run at %v, 2 cores allow one", busy, l.now)
		}
		l.now = l.now.Add(10 * time.Minute)
	}
	if len(running) != 6 {
		t.Errorf("%d of 6 pods ran", len(running))
	}
}

// What starts whatever the plan says takes room in it at once: what must start, and what a dry run lets start; and so does what runs of
// Jobs, CronJobs and Kueue's Workloads that were released, until it ends.
func TestWhatRunsTakesRoom(t *testing.T) {
	released := map[string]string{ReleasedAnnotation: noon.Format(time.RFC3339), DurationAnnotation: "1h"}
	cron := func(ago time.Duration, active int) *batchv1.CronJob {
		o := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "c", Annotations: released, Labels: map[string]string{Label: "true"}},
			Spec: batchv1.CronJobSpec{Suspend: new(false), JobTemplate: batchv1.JobTemplateSpec{Spec: suspended("c", noon, nil).Spec}}}
		o.Status.LastScheduleTime = &metav1.Time{Time: night.Add(-ago)}
		for i := range active {
			o.Status.Active = append(o.Status.Active, v1.ObjectReference{Kind: "Job", Name: fmt.Sprint("c-", i)})
		}
		return o
	}
	job := func(suspend bool, conditions ...batchv1.JobConditionType) *batchv1.Job {
		o := suspended("j", noon, map[string]string{ReleasedAnnotation: night.Add(-time.Minute).Format(time.RFC3339), DurationAnnotation: "1h"})
		o.Spec.Suspend = &suspend
		for _, c := range conditions {
			o.Status.Conditions = append(o.Status.Conditions, batchv1.JobCondition{Type: c, Status: v1.ConditionTrue})
		}
		return o
	}
	load := func(state, finished string) client.Object {
		pods := map[string]any{"count": int64(1), "template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "2"}}}}}}}
		o := kueueObject(workload.WithVersion("v1beta2"), "batch", "w", map[string]any{"podSets": []any{pods}}, map[string]any{"admissionChecks": []any{map[string]any{"name": "clean", "state": state}},
			"conditions": []any{map[string]any{"type": "QuotaReserved", "status": "True"}, map[string]any{"type": "Finished", "status": finished}}})
		a := map[string]string{ReleasedAnnotation: night.Add(-time.Minute).Format(time.RFC3339), DurationAnnotation: "1h"}
		o.SetAnnotations(a)
		return o
	}
	elsewhere := pod("other", noon, map[string]string{DurationAnnotation: "1h", MaxDelayAnnotation: "1s"})
	dry := pod("other", noon, map[string]string{DurationAnnotation: "1h"})
	dry.Namespace = "dry"
	for name, c := range map[string]struct {
		other client.Object
		holds bool // the pod that would start now
	}{
		"nothing":                   {nil, false},
		"a pod that must start":     {elsewhere, true},
		"a dry run":                 {dry, true},
		"a CronJob that runs":       {cron(10*time.Minute, 1), true},
		"a CronJob that does not":   {cron(10*time.Minute, 0), false},
		"a Job without pods yet":    {job(false), true},
		"a Job that failed":         {job(false, batchv1.JobFailed), false},
		"a Job somebody suspended":  {job(true), false},
		"a Workload that runs":      {load("Ready", "False"), true},
		"a Workload that has ended": {load("Ready", "True"), false},
	} {
		var there []client.Object
		if c.other != nil {
			there = append(there, c.other)
		}
		if got := holdsBeside(t, "default: {zone: DE}\nnamespaces: {dry: {dryRun: true}}\ncores: {DE: 2}\n", there...); got != c.holds {
			t.Errorf("beside %s: held %v, want %v", name, got, c.holds)
		}
	}
}

// In a dry run of everything what would have been saved counts the room that there would have been.
func TestDryRunHasRoomInItsOwnPlan(t *testing.T) {
	var objects []client.Object
	for i := range 2 { // of the six clean hours there is room for one
		objects = append(objects, pod(fmt.Sprint("p", i), noon, map[string]string{DurationAnnotation: "6h", MaxDelayAnnotation: "11h"}))
	}
	l := newLab(t, "default: {zone: DE, dryRun: true}\ncores: {DE: 2}\n", objects...)
	l.round()
	one := 0.016 * 6 * (500 - 100)
	if got := counter(t, l.metrics.would.WithLabelValues("batch")); !(got >= one-1e-9 && got < 1.5*one) {
		t.Errorf("%v g would have been saved, want those of one pod, %v", got, one)
	}
}
