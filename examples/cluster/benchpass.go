package main

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	dto "github.com/prometheus/client_model/go"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// A pass is what one scheduler did with all pods, by its own metrics.
type pass struct {
	millis  float64 // of its algorithm, for each pod
	wall    float64 // milliseconds from the first pod that had a node to the last, for each pod
	cpu     float64 // milliseconds of CPU of its whole process, sensors included, for each pod
	scored  float64 // cycles in which the plugin gave scores
	batched float64 // pods that reused the scores of the pod before
	heap    float64 // megabytes of heap in use after a garbage collection, with all pods placed
	rss     float64 // megabytes of resident memory then
}

// profiledFor is longer than a pass of 2,000 pods on 500 nodes takes on a machine that does nothing else.
const profiledFor = 20 * time.Second

// settleIn creates pods that run already, one a node in turn, and stay for all passes.
func (p *place) settleIn(ctx context.Context, n int) error {
	if n == 0 {
		return nil
	}
	ns := &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: initNamespace}}
	if _, err := p.client.CoreV1().Namespaces().Create(ctx, ns, metav1.CreateOptions{}); err != nil {
		return err
	}
	return several(ctx, n, func(ctx context.Context, i int) error {
		pod := newPod(initNamespace, fmt.Sprintf("init-%05d", i), v1.DefaultSchedulerName, benchPod)
		pod.Spec.NodeName = p.plant.fleet[i*len(p.plant.fleet)/max(n, len(p.plant.fleet))%len(p.plant.fleet)].name
		if _, err := p.client.CoreV1().Pods(initNamespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("pod %s: %w", pod.Name, err)
		}
		return nil
	})
}

const initNamespace = "settled"

// measure creates all pods, lets a warm scheduler place them and deletes them again.
// Where a file is named for it, the scheduler's CPU profile of that goes there, and what is on its heap then beside it.
func (p *place) measure(ctx context.Context, s contender, profile string) (pass, error) {
	var err error
	p.current, err = p.cluster.StartScheduler(ctx, controlplane.SchedulerOptions{Name: "scheduler-" + s.name, Config: s.config, Args: s.args, Standby: true})
	if err != nil {
		return pass{}, err
	}
	if err := p.createAll(ctx, s.name); err != nil {
		return pass{}, err
	}
	if s.ready != nil {
		if err := poll(ctx, 3*time.Minute, func(ctx context.Context) error { return s.ready(ctx, p.current) }); err != nil {
			return pass{}, err
		}
	}
	before, err := p.current.Metrics(ctx)
	if err != nil {
		return pass{}, err
	}
	if err := p.current.Lead(ctx); err != nil {
		return pass{}, err
	}
	profiled := make(chan error, 1)
	if profile != "" {
		go func() { profiled <- p.current.Profile(ctx, profiledFor, profile) }()
	} else {
		profiled <- nil
	}
	took, err := p.awaitBound(ctx)
	if err != nil {
		return pass{}, err
	}
	after, err := p.current.Metrics(ctx)
	if err != nil {
		return pass{}, err
	}
	if err := <-profiled; err != nil {
		return pass{}, err
	}
	r := pass{wall: 1000 * took.Seconds() / float64(len(p.sizes))}
	if r.millis, err = algorithmMillis(ctx, p.current); err != nil {
		return pass{}, err
	}
	r.cpu = 1000 * (total(after["process_cpu_seconds_total"]) - total(before["process_cpu_seconds_total"])) / float64(len(p.sizes))
	r.scored = counted(after["leastwatt_decisions_total"], "result", "scored")
	r.batched = counted(after["scheduler_batch_attempts_total"], "result", "hint_used")
	heap := ""
	if profile != "" {
		heap = strings.TrimSuffix(profile, ".pb.gz") + "-heap.pb.gz"
	}
	if err := p.current.CollectGarbage(ctx, heap); err != nil {
		return pass{}, err
	}
	collected, err := p.current.Metrics(ctx)
	if err != nil {
		return pass{}, err
	}
	r.heap = total(collected["go_memstats_heap_inuse_bytes"]) / 1e6
	r.rss = total(collected["process_resident_memory_bytes"]) / 1e6
	return r, p.clear(ctx)
}

// total sums the values of a family.
func total(family *dto.MetricFamily) float64 {
	sum := 0.0
	for _, m := range family.GetMetric() {
		sum += m.GetCounter().GetValue() + m.GetGauge().GetValue()
	}
	return sum
}

// createAll creates the pods a few at a time: they are alike, so their order does not matter.
func (p *place) createAll(ctx context.Context, scheduler string) error {
	return several(ctx, len(p.sizes), func(ctx context.Context, i int) error {
		pod := newPod(namespace, fmt.Sprintf("pod-%05d", i), scheduler, p.sizes[i])
		if _, err := p.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
			return fmt.Errorf("pod %d: %w", i, err)
		}
		return nil
	})
}

// several does something n times, a few at once, until one fails.
func several(ctx context.Context, n int, do func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range next {
				if err := do(ctx, i); err != nil {
					cancel(err)
				}
			}
		})
	}
	for i := range n {
		if ctx.Err() != nil {
			break
		}
		next <- i
	}
	close(next)
	wg.Wait()
	return context.Cause(ctx)
}

// awaitBound returns when every pod has a node, as the informer has it, and how long that took from when the first had.
func (p *place) awaitBound(ctx context.Context) (time.Duration, error) {
	var first time.Time
	patience := 5*time.Minute + time.Duration(len(p.sizes))*100*time.Millisecond
	err := poll(ctx, patience, func(context.Context) error {
		pods, err := p.pods.List(labels.Everything())
		if err != nil {
			return err
		}
		if len(pods) != len(p.sizes) {
			return fmt.Errorf("%d of %d pods are known", len(pods), len(p.sizes))
		}
		var waiting *v1.Pod
		for _, pod := range pods {
			switch {
			case pod.Spec.NodeName == "":
				waiting = pod
			case first.IsZero():
				first = time.Now()
			}
		}
		if waiting != nil {
			return fmt.Errorf("pod %s has no node: %s", waiting.Name, reason(waiting))
		}
		return nil
	})
	return time.Since(first), err
}

// reason is why the scheduler has not placed a pod.
func reason(pod *v1.Pod) string {
	for _, c := range pod.Status.Conditions {
		if c.Type == v1.PodScheduled && c.Message != "" {
			return c.Message
		}
	}
	return "the scheduler has not said why"
}

// counted sums the counters whose label has a value.
func counted(family *dto.MetricFamily, label, value string) float64 {
	sum := 0.0
	for _, m := range family.GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == label && l.GetValue() == value {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
