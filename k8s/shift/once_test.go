package shift

import (
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// A pod that carries our gate, the Job that made it, the CronJob that made that, and Kueue's Workload of it count once against the cores of a zone, whether the pod runs
// or waits; two pods of one Job count twice.
func TestWhatWasMadeCountsOnce(t *testing.T) {
	released := map[string]string{ReleasedAnnotation: night.Add(-time.Minute).Format(time.RFC3339), DurationAnnotation: "1h"}
	made := func(kind, name string) []metav1.OwnerReference {
		return []metav1.OwnerReference{{Kind: kind, Name: name, UID: suspended(name, noon, nil).UID, Controller: new(true)}}
	}
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "c", UID: "u-c", Annotations: released, Labels: map[string]string{Label: "true"}},
		Spec: batchv1.CronJobSpec{Suspend: new(false), JobTemplate: batchv1.JobTemplateSpec{Spec: suspended("c", noon, nil).Spec}}}
	cron.Status.LastScheduleTime = &metav1.Time{Time: night.Add(-time.Minute)}
	cron.Status.Active = []v1.ObjectReference{{Kind: "Job", Name: "j", UID: "u-j"}}
	job := suspended("j", noon, released)
	job.OwnerReferences, job.Spec.Suspend = made("CronJob", "c"), new(false)
	held := job.DeepCopy()
	held.Spec.Suspend, held.Annotations = new(true), map[string]string{DurationAnnotation: "1h", MaxDelayAnnotation: "14h"}
	runs := pod("j-1", noon, released)
	runs.OwnerReferences, runs.Spec.SchedulingGates = made("Job", "j"), nil
	another := runs.DeepCopy()
	another.Name, another.UID = "j-2", "u-j-2"
	waits := pod("j-1", noon, map[string]string{DurationAnnotation: "1h", MaxDelayAnnotation: "14h"})
	waits.OwnerReferences = made("Job", "j")
	sets := []any{map[string]any{"count": int64(1), "template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "2"}}}}}}}}
	load := kueueObject(workload.WithVersion("v1beta2"), "batch", "w", map[string]any{"podSets": sets}, map[string]any{"admissionChecks": []any{map[string]any{"name": "clean", "state": "Ready"}},
		"conditions": []any{map[string]any{"type": "QuotaReserved", "status": "True"}}})
	load.SetAnnotations(released)
	load.SetOwnerReferences(made("Job", "j"))
	for name, c := range map[string]struct {
		there []client.Object
		holds bool // the pod of two cores that would start now, where four may be in use
	}{
		"a CronJob and its pod":                        {[]client.Object{cron, runs}, false},
		"a CronJob and its pod that waits":             {[]client.Object{cron, waits}, false},
		"a Job and its pod":                            {[]client.Object{job, runs}, false},
		"a Job and its pod that waits":                 {[]client.Object{job, waits}, false},
		"a CronJob and its Job":                        {[]client.Object{cron, job}, false},
		"a CronJob and its Job that waits":             {[]client.Object{cron, held}, false},
		"a CronJob, its Job and its pod":               {[]client.Object{cron, job, runs}, false},
		"a Workload and its pod":                       {[]client.Object{load, runs}, false},
		"a CronJob, its Job, its Workload and its pod": {[]client.Object{cron, job, load, runs}, false},
		"a Job and two pods":                           {[]client.Object{job, runs, another}, true},
		"a CronJob and two pods of its Job":            {[]client.Object{cron, runs, another}, true},
	} {
		var there []client.Object
		for _, o := range c.there {
			there = append(there, o.DeepCopyObject().(client.Object))
		}
		if got := holdsBeside(t, "default: {zone: DE}\ncores: {DE: 4}\n", there...); got != c.holds {
			t.Errorf("beside %s: held %v, want %v", name, got, c.holds)
		}
	}
}
