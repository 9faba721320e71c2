package shift

import (
	"context"
	"sync/atomic"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// SetupWithManager has a manager call Round: soon after work has come, and when a start is due. All of it is one key in the queue, since the
// plan is one.
func (c *Controller) SetupWithManager(m ctrl.Manager) error {
	one := handler.EnqueueRequestsFromMapFunc(func(context.Context, client.Object) []reconcile.Request {
		return []reconcile.Request{{NamespacedName: types.NamespacedName{Name: "plan"}}}
	})
	ours := predicate.NewPredicateFuncs(func(o client.Object) bool {
		if p, ok := o.(*v1.Pod); ok {
			return gated(p)
		}
		return o.GetLabels()[Label] == "true"
	})
	o := c.options()
	loop := o.Reconciler
	o.Reconciler = nil // the builder takes it from Complete
	b := ctrl.NewControllerManagedBy(m).Named("leastwatt-shift").WithOptions(o).
		Watches(&v1.Pod{}, one).Watches(&batchv1.Job{}, one).Watches(&batchv1.CronJob{}, one)
	built, err := b.WithEventFilter(ours).Build(loop)
	if err != nil || !c.opts.Kueue {
		return err
	}
	d, err := discovery.NewDiscoveryClientForConfigAndClient(m.GetConfig(), m.GetHTTPClient())
	if err != nil {
		return err
	}
	c.followed.Store(&kinds{})
	return m.Add(&follower{discovery: d, cache: m.GetCache(), read: &c.followed, every: min(max(c.opts.Interval, time.Second), 30*time.Second), log: c.opts.Logger,
		watch: func(o client.Object) error { return built.Watch(source.Kind(m.GetCache(), o, one)) }})
}

// options are of the loop that calls Round.
func (c *Controller) options() controller.Options {
	again := &pause{TypedRateLimiter: workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]()}
	return controller.Options{MaxConcurrentReconciles: 1, SkipNameValidation: new(true), RateLimiter: again,
		Reconciler: reconcile.Func(func(ctx context.Context, _ reconcile.Request) (reconcile.Result, error) {
			next, err := c.Round(ctx)
			again.most.Store(int64(next))
			if err != nil {
				return reconcile.Result{}, err // again after a pause
			}
			return reconcile.Result{RequeueAfter: next}, nil
		})}
}

// pause grows while rounds fail, but never beyond the time when the next is due: what fails of one object or namespace must not hold the others.
type pause struct {
	workqueue.TypedRateLimiter[reconcile.Request]
	most atomic.Int64 // a [time.Duration]
}

func (p *pause) When(r reconcile.Request) time.Duration {
	return min(p.TypedRateLimiter.When(r), time.Duration(p.most.Load()))
}
