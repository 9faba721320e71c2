package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	listers "k8s.io/client-go/listers/core/v1"
	"k8s.io/client-go/tools/cache"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

const namespace = "workload"

// A contender is one scheduler that places the pods.
type contender struct {
	name   string   // of the profile, which pods ask for
	config string   // the rest of its KubeSchedulerConfiguration
	args   []string // its flags

	// ready returns nil when the scheduler knows what it decides by; nil means at once.
	ready func(ctx context.Context, s *controlplane.Scheduler) error
}

// A place is the cluster in which the same pods are placed again and again.
type place struct {
	cluster  *controlplane.Cluster
	plant    *plant
	hardware *hardware
	sizes    []int64 // of the pods, in thousandths of a core
	progress io.Writer

	client  *kubernetes.Clientset
	pods    listers.PodLister
	current *controlplane.Scheduler
}

// prepare creates the servers' nodes and lets the plant watch the pods.
func (p *place) prepare(ctx context.Context) error {
	var err error
	if p.client, err = p.cluster.Client(); err != nil {
		return err
	}
	ns := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
	if _, err := p.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := several(ctx, len(p.plant.fleet), func(ctx context.Context, i int) error {
		if _, err := p.client.CoreV1().Nodes().Create(ctx, p.plant.fleet[i].node(), metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("node %s: %w", p.plant.fleet[i].name, err)
		}
		return nil
	}); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactoryWithOptions(p.client, 0, informers.WithNamespace(namespace))
	informer := factory.Core().V1().Pods().Informer()
	p.pods = factory.Core().V1().Pods().Lister()
	registration, err := informer.AddEventHandler(p.plant.handler())
	if err != nil {
		return err
	}
	factory.Start(ctx.Done())
	if !cache.WaitForCacheSync(ctx.Done(), registration.HasSynced) {
		return context.Cause(ctx)
	}
	return nil
}

// run starts a scheduler, lets it place all pods and accounts for what the servers then draw. The
// scheduler and the pods stay until clear.
func (p *place) run(ctx context.Context, s contender) (profile, error) {
	start := time.Now()
	var err error
	p.current, err = p.cluster.StartScheduler(ctx, controlplane.SchedulerOptions{Name: "scheduler-" + s.name, Config: s.config, Args: s.args})
	if err != nil {
		return profile{}, err
	}
	if s.ready != nil {
		if err := poll(ctx, time.Minute, func(ctx context.Context) error { return s.ready(ctx, p.current) }); err != nil {
			return profile{}, err
		}
	}
	fmt.Fprintf(p.progress, "  %-42s ready after %.1f s\n", s.name, time.Since(start).Seconds())

	start = time.Now()
	// One after the other: the order of arrival is part of the workload.
	for i, size := range p.sizes {
		pod := newPod(namespace, fmt.Sprintf("pod-%05d", i), s.name, size)
		if _, err := p.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return profile{}, fmt.Errorf("pod %d: %w", i, err)
		}
	}
	const patience = 30 * time.Second
	n, err := p.await(ctx, len(p.sizes), patience)
	if err != nil {
		return profile{}, err
	}
	fmt.Fprintf(p.progress, "  %-42s %d of %d pods run after %.1f s\n", "", n, len(p.sizes), time.Since(start).Seconds())
	result := profile{Name: s.name, accounts: p.plant.accounts()}
	if result.ScheduleMillisPerPod, err = algorithmMillis(ctx, p.current); err != nil {
		return profile{}, err
	}
	result.ScheduleMillisPerPod = round(result.ScheduleMillisPerPod, 3)
	return result, result.settle(p.plant.fleet)
}

// clear stops the scheduler and deletes its pods.
func (p *place) clear(ctx context.Context) error {
	p.current.Stop()
	if err := p.deletePods(ctx); err != nil {
		return fmt.Errorf("deleting the pods: %w", err)
	}
	return poll(ctx, time.Minute+time.Duration(len(p.sizes))*10*time.Millisecond, func(context.Context) error {
		pods, err := p.pods.List(labels.Everything())
		if err == nil && len(pods) > 0 {
			err = fmt.Errorf("%d deleted pods are still there", len(pods))
		}
		if n, _ := p.plant.watch(); err == nil && n > 0 {
			err = fmt.Errorf("%d deleted pods still run", n)
		}
		return err
	})
}

// deletePods deletes the pods, some hundreds a call: of 10,000 at once the API server is not done before its own deadline.
func (p *place) deletePods(ctx context.Context) error {
	pods := p.client.CoreV1().Pods(namespace)
	now := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}
	for {
		left, err := pods.List(ctx, metav1.ListOptions{Limit: 1})
		if err != nil || len(left.Items) == 0 {
			return err
		}
		if err := pods.DeleteCollection(ctx, now, metav1.ListOptions{Limit: 500}); err != nil {
			return err
		}
	}
}

// await returns when want pods run, or when their number has not changed for as long as patience.
func (p *place) await(ctx context.Context, want int, patience time.Duration) (int, error) {
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		n, moved := p.plant.watch()
		if n == want {
			return n, nil
		}
		timer.Reset(patience)
		select {
		case <-ctx.Done():
			return n, context.Cause(ctx)
		case <-timer.C:
			return n, nil
		case <-moved:
		}
	}
}

// poll asks until there is no error, or returns the last one when the time is over.
func poll(ctx context.Context, within time.Duration, ask func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ask(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return fmt.Errorf("after %v: %w", within, err)
			}
			return context.Cause(ctx)
		}
	}
}

// algorithmMillis is the mean time in which the scheduler chose a node for a pod, by its own metrics.
func algorithmMillis(ctx context.Context, s *controlplane.Scheduler) (float64, error) {
	const name = "scheduler_scheduling_algorithm_duration_seconds"
	metrics, err := s.Metrics(ctx)
	if err != nil {
		return 0, err
	}
	family := metrics[name]
	if family == nil || len(family.GetMetric()) != 1 {
		return 0, fmt.Errorf("the scheduler does not expose %s", name)
	}
	h := family.GetMetric()[0].GetHistogram()
	if h.GetSampleCount() == 0 {
		return 0, nil
	}
	return 1000 * h.GetSampleSum() / float64(h.GetSampleCount()), nil
}
