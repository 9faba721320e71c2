package shift

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"strconv"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// tell writes the plan on the object, if it differs from what stands there.
func (c *Controller) tell(ctx context.Context, i *item, d *decision) error {
	old := i.object.GetAnnotations()
	before, err := time.Parse(time.RFC3339, old[PlannedAnnotation])
	if err == nil && before.Sub(d.start).Abs() < slot && old[ReasonAnnotation] != "" {
		return nil // a plan that moves within a slot is the same plan
	}
	add := map[string]string{PlannedAnnotation: d.start.UTC().Format(time.RFC3339), ReasonAnnotation: d.reason}
	if _, ok := old[AtOnceAnnotation]; !ok && !math.IsNaN(d.atOnce) {
		add[AtOnceAnnotation] = strconv.FormatFloat(d.atOnce, 'f', 1, 64)
	}
	if err := c.annotate(ctx, i, add); err != nil {
		return err
	}
	c.event(i, v1.EventTypeNormal, "Planned", "planned to start at %s, at the latest at %s: %s", d.start.UTC().Format(time.RFC3339), i.latest.UTC().Format(time.RFC3339), d.reason)
	return nil
}

func (c *Controller) annotate(ctx context.Context, i *item, add map[string]string) error {
	next := i.object.DeepCopyObject().(client.Object)
	a := maps.Clone(next.GetAnnotations())
	if a == nil {
		a = make(map[string]string)
	}
	maps.Copy(a, add)
	next.SetAnnotations(a)
	err := c.client.Patch(ctx, next, client.MergeFromWithOptions(i.object, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		return nil // the object has changed: its new version is looked at in the next round, which the change brings about
	}
	if err != nil {
		return lost(i, err)
	}
	i.object = next
	return nil
}

// lost makes an error of a write, and none where the object is gone: there is nothing left to do.
func lost(i *item, err error) error {
	if err = client.IgnoreNotFound(err); err == nil {
		return nil
	}
	return fmt.Errorf("%v: %w", i, err)
}

// releaseNow lets the work start. Somebody else's change of the object in the meantime does not stop it.
func (c *Controller) releaseNow(ctx context.Context, i *item, d *decision, now time.Time) error {
	const attempts = 3
	for attempt := 1; ; attempt++ {
		err := c.release(ctx, i, d, now)
		if err == nil {
			break
		}
		if !apierrors.IsConflict(err) || attempt == attempts {
			return lost(i, err)
		}
		fresh := i.object.DeepCopyObject().(client.Object)
		if err := c.opts.Reader.Get(ctx, client.ObjectKeyFromObject(i.object), fresh); err != nil {
			return lost(i, err)
		}
		if released(fresh) && !i.status { // what Kueue has had retried was released before
			return nil // by another controller
		}
		i.object = fresh
	}
	c.metrics.released(i, d)
	kind := v1.EventTypeNormal
	if d.cause == "unreadable" {
		kind = v1.EventTypeWarning
	}
	c.event(i, kind, "Released", "%s", d.reason)
	return nil
}

func (c *Controller) release(ctx context.Context, i *item, d *decision, now time.Time) error {
	lock := client.MergeFromWithOptimisticLock{}
	if i.status { // the status first: without it the annotations would say what is not so
		next := i.object.DeepCopyObject().(client.Object)
		i.release(next)
		if err := c.client.Status().Patch(ctx, next, client.MergeFromWithOptions(i.object, lock)); err != nil {
			return err
		}
		i.object = next
	}
	next := i.object.DeepCopyObject().(client.Object)
	a := maps.Clone(next.GetAnnotations())
	if a == nil {
		a = make(map[string]string)
	}
	if before, err := strconv.ParseFloat(a[AtOnceAnnotation], 64); err == nil && !math.IsNaN(d.grams) && d.cause != "dry-run" && !strings.HasSuffix(d.reason, " at once") {
		d.reason += fmt.Sprintf("; %.3g g expected instead of %.3g g at once", d.grams, before)
	}
	a[ReleasedAnnotation], a[ReasonAnnotation] = now.UTC().Format(time.RFC3339), d.reason
	if i.bad == nil {
		a[ReleaseByAnnotation] = i.latest.UTC().Format(time.RFC3339)
	}
	next.SetAnnotations(a)
	if !i.status {
		i.release(next)
	}
	if err := c.client.Patch(ctx, next, client.MergeFromWithOptions(i.object, lock)); err != nil {
		return err
	}
	i.object = next
	return nil
}

func (c *Controller) event(i *item, kind, reason, note string, args ...any) {
	if c.opts.Events != nil {
		c.opts.Events.Eventf(i.object, nil, kind, reason, "Shift", note, args...)
	}
}

// ReleaseOverdue releases all work whose latest start has come, and nothing else. It needs no forecast, no policies but the defaults, and no
// running controller: it is for a CronJob beside one.
func ReleaseOverdue(ctx context.Context, c client.Client, kueue bool, now time.Time) (n int, err error) {
	s, err := New(c, nil, Options{Kueue: kueue, Now: func() time.Time { return now }})
	if err != nil {
		return 0, err
	}
	items, _, err := s.work(ctx, nil)
	errs := []error{err}
	for _, i := range items {
		// Without an own policy the default delay is not this namespace's: what tells no time is left to the controller.
		if !i.promised.IsZero() { // what is sooner by a deadline goes by the policy's margin
			i.latest = i.promised
		}
		if i.promised.IsZero() && i.bad == nil && i.object.GetAnnotations()[DeadlineAnnotation] == "" || i.bad == nil && i.latest.After(now) {
			continue
		}
		d := decision{start: now, reason: "its latest start has come", cause: "latest", grams: math.NaN(), atOnce: math.NaN()}
		if i.bad != nil {
			d.reason, d.cause = i.bad.Error(), "unreadable"
		}
		if err := s.releaseNow(ctx, i, &d, now); err != nil {
			errs = append(errs, err)
			continue
		}
		n++
	}
	return n, errors.Join(errs...)
}
