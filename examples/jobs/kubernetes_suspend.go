package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// secondsLeft is the annotation of the pods of a Job that may be suspended: the seconds of work that are left.
const secondsLeft = "leastwatt.github.io/seconds"

// place says on which node a Job's pods run, and for how long.
func place(t *v1.PodTemplateSpec, j *Job) {
	if t.Spec.Affinity == nil {
		t.Spec.Affinity = &v1.Affinity{}
	}
	t.Spec.Affinity.NodeAffinity = &v1.NodeAffinity{RequiredDuringSchedulingIgnoredDuringExecution: &v1.NodeSelector{NodeSelectorTerms: []v1.NodeSelectorTerm{{
		MatchFields: []v1.NodeSelectorRequirement{{Key: "metadata.name", Operator: v1.NodeSelectorOpIn, Values: []string{j.Node}}},
	}}}}
	if j.Suspendable {
		if t.Annotations == nil {
			t.Annotations = make(map[string]string)
		}
		t.Annotations[secondsLeft] = strconv.Itoa(int(math.Ceil(j.rest().Seconds())))
	}
}

// Suspend implements [Dispatcher]. It returns once Kubernetes has ended the pods; until then it is an error, and called again.
func (d *kubeDispatcher) Suspend(ctx context.Context, j Job) error {
	o, err := d.own(ctx, &j)
	if err != nil || ended(o) {
		return err
	}
	if o.Spec.Suspend == nil || !*o.Spec.Suspend {
		if o, err = d.patch(ctx, o, map[string]any{"suspend": true}); err != nil {
			return err
		}
	}
	if !stopped(o) {
		return errStopping
	}
	return nil
}

// errStopping says that a Job's pods have not ended yet.
var errStopping = errors.New("its pods have not ended yet")

// stopped tells whether Kubernetes has suspended a Job and its pods are gone. One that was told to end is not active any more, but runs on for as
// long as it is given to end.
func stopped(o *batchv1.Job) bool {
	ending := o.Status.Terminating != nil && *o.Status.Terminating > 0
	return o.Status.Active == 0 && !ending && slices.ContainsFunc(o.Status.Conditions, func(c batchv1.JobCondition) bool {
		return c.Type == batchv1.JobSuspended && c.Status == v1.ConditionTrue
	})
}

func ended(o *batchv1.Job) bool {
	return slices.ContainsFunc(o.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == v1.ConditionTrue
	})
}

// resume lets a suspended Job go on, on the node that was decided on.
func (d *kubeDispatcher) resume(ctx context.Context, j *Job) error {
	o, err := d.own(ctx, j)
	if err != nil || ended(o) || o.Spec.Suspend == nil || !*o.Spec.Suspend {
		return err
	}
	var t v1.PodTemplateSpec
	place(&t, j)
	template := map[string]any{"spec": map[string]any{"affinity": map[string]any{"nodeAffinity": t.Spec.Affinity.NodeAffinity}}}
	if j.Suspendable {
		template["metadata"] = map[string]any{"annotations": t.Annotations}
	}
	_, err = d.patch(ctx, o, map[string]any{"suspend": false, "template": template})
	if apierrors.IsInvalid(err) && stopped(o) && j.Suspendable { // a Kubernetes before 1.36, where a Job that has started keeps its template
		d.log.Warn("the Job keeps its node and its whole duration", "job", j.ID, "error", err)
		_, err = d.patch(ctx, o, map[string]any{"suspend": false})
	}
	return err
}

// patch changes a Job if nobody else has in the meantime.
func (d *kubeDispatcher) patch(ctx context.Context, o *batchv1.Job, spec map[string]any) (*batchv1.Job, error) {
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": o.ResourceVersion, "uid": o.UID}, "spec": spec})
	if err != nil {
		return nil, err
	}
	return d.client.BatchV1().Jobs(d.namespace).Patch(ctx, o.Name, types.MergePatchType, text, metav1.PatchOptions{})
}

// own returns a job's Job.
func (d *kubeDispatcher) own(ctx context.Context, j *Job) (*batchv1.Job, error) {
	o, err := d.client.BatchV1().Jobs(d.namespace).Get(ctx, "lw-"+j.ID, metav1.GetOptions{})
	switch {
	case apierrors.IsNotFound(err):
		return nil, &refused{fmt.Errorf("job %q: its Job is gone", j.ID)}
	case err != nil:
		return nil, err
	case o.Labels[managed] != j.ID:
		return nil, &refused{fmt.Errorf("job %q: namespace %s has a Job %q of somebody else", j.ID, d.namespace, o.Name)}
	}
	return o, nil
}
