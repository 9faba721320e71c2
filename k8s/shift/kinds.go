package shift

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// gated tells whether a pod carries our gate.
func gated(p *v1.Pod) bool {
	return p.DeletionTimestamp == nil && slices.ContainsFunc(p.Spec.SchedulingGates, func(g v1.PodSchedulingGate) bool { return g.Name == Gate })
}

// released tells whether an object was released before: then somebody else suspended it, and it is left alone.
func released(o client.Object) bool {
	_, ok := o.GetAnnotations()[ReleasedAnnotation]
	return ok || o.GetDeletionTimestamp() != nil
}

// A tally is all that waits, and what was released and may still run. What a Job, a CronJob or a Workload has made and is counted by itself does not count with it
// again.
type tally struct {
	items, running []*item
	pods           map[types.UID]float64 // cores of the pods that count by themselves, by the Job that made them
	whole          map[types.UID]bool    // Jobs that count
}

// add counts an item that stands for the pods of Jobs, of a pod for none.
func (t *tally) add(i *item, waits bool, jobs ...types.UID) {
	seen, cores := false, i.cores
	for _, uid := range jobs {
		seen = seen || t.whole[uid]
		cores -= t.pods[uid]
		t.whole[uid] = true
	}
	if waits {
		t.items = append(t.items, i)
		return
	}
	if seen || cores < i.cores && cores < leastCores {
		return
	}
	x := *i
	x.cores = cores
	if at, err := time.Parse(time.RFC3339, i.object.GetAnnotations()[ReleasedAnnotation]); err == nil && i.began.IsZero() {
		x.began = at
	}
	t.running = append(t.running, &x)
}

// work lists all that waits, and what was released and may still run.
func (c *Controller) work(ctx context.Context, p *Policies) (items []*item, running []*item, err error) {
	t := &tally{pods: make(map[types.UID]float64), whole: make(map[types.UID]bool)}
	// What one kind's API fails to tell must not hold the others. What is made comes before what makes it.
	err = errors.Join(c.pods(ctx, p, t), c.jobs(ctx, p, t), c.cronJobs(ctx, p, t), c.workloads(ctx, p, t))
	return t.items, t.running, err
}

func (c *Controller) pods(ctx context.Context, p *Policies, t *tally) error {
	var pods v1.PodList
	if err := c.client.List(ctx, &pods); err != nil {
		return fmt.Errorf("pods: %w", err)
	}
	for k := range pods.Items {
		o := &pods.Items[k]
		waits := gated(o)
		if !waits && (o.Annotations[ReleasedAnnotation] == "" || o.Status.Phase == v1.PodSucceeded || o.Status.Phase == v1.PodFailed) {
			continue
		}
		i := newItem("Pod", o, p.Of(o.Namespace), requests(&o.Spec), seconds(o.Spec.ActiveDeadlineSeconds), nil)
		i.release = func(o client.Object) {
			p := o.(*v1.Pod)
			p.Spec.SchedulingGates = slices.DeleteFunc(p.Spec.SchedulingGates, func(g v1.PodSchedulingGate) bool { return g.Name == Gate })
		}
		t.add(i, waits)
		if owner := metav1.GetControllerOf(o); owner != nil {
			t.pods[owner.UID] += i.cores
		}
	}
	return nil
}

func (c *Controller) jobs(ctx context.Context, p *Policies, t *tally) error {
	var jobs batchv1.JobList
	if err := c.client.List(ctx, &jobs, client.MatchingLabels{Label: "true"}); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	for k := range jobs.Items {
		o := &jobs.Items[k]
		waits := o.Spec.Suspend != nil && *o.Spec.Suspend && !released(o)
		if !waits && (o.Annotations[ReleasedAnnotation] == "" || o.Spec.Suspend != nil && *o.Spec.Suspend || ended(o)) {
			continue
		}
		i := jobItem("Job", o, p.Of(o.Namespace), &o.Spec)
		i.release = func(o client.Object) { o.(*batchv1.Job).Spec.Suspend = new(false) }
		t.add(i, waits, o.UID)
	}
	return nil
}

// ended tells whether a Job has ended. One without pods may not have got them yet.
func ended(o *batchv1.Job) bool {
	return o.Status.CompletionTime != nil || slices.ContainsFunc(o.Status.Conditions, func(c batchv1.JobCondition) bool {
		return (c.Type == batchv1.JobComplete || c.Type == batchv1.JobFailed) && c.Status == v1.ConditionTrue
	})
}

func (c *Controller) cronJobs(ctx context.Context, p *Policies, t *tally) error {
	var crons batchv1.CronJobList
	if err := c.client.List(ctx, &crons, client.MatchingLabels{Label: "true"}); err != nil {
		return fmt.Errorf("cronjobs: %w", err)
	}
	for k := range crons.Items {
		o := &crons.Items[k]
		waits := o.Spec.Suspend != nil && *o.Spec.Suspend && !released(o)
		if !waits && o.Annotations[ReleasedAnnotation] == "" {
			continue
		}
		i := jobItem("CronJob", o, p.Of(o.Namespace), &o.Spec.JobTemplate.Spec)
		i.release = func(o client.Object) { o.(*batchv1.CronJob).Spec.Suspend = new(false) }
		if waits {
			t.add(i, true)
			continue
		}
		// Its Jobs run, whatever they are labelled.
		if o.Status.LastScheduleTime != nil {
			i.began = o.Status.LastScheduleTime.Time
		}
		for _, job := range o.Status.Active {
			t.add(i, false, job.UID)
		}
	}
	return nil
}

func jobItem(kind string, o client.Object, p Policy, s *batchv1.JobSpec) *item {
	n := 1.0
	if s.Parallelism != nil {
		n = float64(*s.Parallelism)
	}
	return newItem(kind, o, p, n*requests(&s.Template.Spec), seconds(s.ActiveDeadlineSeconds), s.Template.Annotations)
}

func seconds(s *int64) time.Duration {
	const most = 365 * 24 * 3600
	if s == nil || *s <= 0 || *s > most {
		return 0
	}
	return time.Duration(*s) * time.Second
}
