package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	dto "github.com/prometheus/client_model/go"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// A contest compares one profile of the scheduler without and with the plugin.
type contest struct {
	name          string
	without, with contender
}

// A pass is what one scheduler did with all pods, by its own metrics.
type pass struct {
	millis  float64 // of its algorithm, for each pod
	wall    float64 // milliseconds from the first pod that had a node to the last, for each pod
	cpu     float64 // milliseconds of CPU of its whole process, sensors included, for each pod
	scored  float64 // cycles in which the plugin gave scores
	batched float64 // pods that reused the scores of the pod before
}

// profiledFor is longer than any pass takes on a machine that does nothing else.
const profiledFor = 20 * time.Second

// runBench measures how long a scheduler takes to choose a node for a pod, with all nodes scored: in the
// default profile and in one whose pods can be batched, each without and with the plugin. All pods wait
// before the scheduler starts to lead, so that creating them does not disturb it.
func runBench(ctx context.Context, o options, out io.Writer) error {
	fleet, err := newFleet(o.nodes, o.seed)
	if err != nil {
		return err
	}
	sizes := make([]int64, o.pods)
	for i := range sizes {
		sizes[i] = 500 // all alike, as batching needs it
	}
	builder := controlplane.Builder{Scheduler: controlplane.SchedulerPackage, Progress: out}
	bin, err := builder.Build(ctx)
	if err != nil {
		return err
	}
	plant := newPlant(fleet, o.seed)
	hardware, stop, err := startElsewhere(ctx, o)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintln(out, "starting the control plane")
	return controlplane.Run(ctx, bin, controlplane.Options{Progress: out}, func(ctx context.Context, c *controlplane.Cluster) error {
		p := &place{cluster: c, plant: plant, hardware: hardware, sizes: sizes, progress: out}
		if err := p.prepare(ctx); err != nil {
			return err
		}
		contests, err := contests(p)
		if err != nil {
			return err
		}
		results := make([][2][]pass, len(contests))
		for n := range o.repetitions {
			for i, k := range contests {
				pair := []contender{k.without, k.with}
				order := []int{0, 1}
				if n%2 == 1 {
					order = []int{1, 0} // so that neither always goes first
				}
				for _, side := range order {
					profile := ""
					if o.profiles != "" {
						profile = filepath.Join(o.profiles, fmt.Sprintf("%s-%s-%d.pb.gz", k.name, pair[side].name, n+1))
					}
					r, err := p.measure(ctx, pair[side], profile)
					if err != nil {
						return fmt.Errorf("%s, %s: %w", k.name, pair[side].name, err)
					}
					results[i][side] = append(results[i][side], r)
					fmt.Fprintf(out, "  %-10s %-18s %6.3f ms a pod (%.3f ms until the next pod, %.3f ms of CPU in all), %4.0f cycles with scores, %4.0f pods batched\n",
						k.name, pair[side].name, r.millis, r.wall, r.cpu, r.scored, r.batched)
				}
			}
		}
		return writeBench(out, o, contests, results)
	})
}

func writeBench(out io.Writer, o options, contests []contest, results [][2][]pass) error {
	fmt.Fprintf(out, "\nMilliseconds a pod: %d nodes, %d pods, all nodes scored, %d repetitions in turn.\n", o.nodes, o.pods, o.repetitions)
	fmt.Fprintln(out, `"algorithm" is scheduler_scheduling_algorithm_duration_seconds, which the targets are about: a ratio of at most 1.05 in the`)
	fmt.Fprintln(out, `default profile and 1.25 in the batchable one. "pod to pod" has etcd and the API server in it, "CPU of all" the reading of sensors.`)
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\t\twithout\t\twith plugin\t\tratio\t\tbatched\t\t")
	fmt.Fprintln(w, "profile\tmeasured\tbest\tmedian\tbest\tmedian\tbest\tmedian\twithout\twith\t")
	for i, k := range contests {
		without, with := results[i][0], results[i][1]
		for _, m := range []struct {
			name string
			of   func(pass) float64
		}{
			{"algorithm", func(r pass) float64 { return r.millis }},
			{"pod to pod", func(r pass) float64 { return r.wall }},
			{"CPU of all", func(r pass) float64 { return r.cpu }},
		} {
			a, b := collect(without, m.of), collect(with, m.of)
			fmt.Fprintf(w, "%s\t%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.1f %%\t%.1f %%\t\n", k.name, m.name,
				a[0], median(a), b[0], median(b), b[0]/a[0], median(b)/median(a),
				batchedShare(without, o.pods), batchedShare(with, o.pods))
		}
	}
	return w.Flush()
}

// collect returns a number of every pass, ascending.
func collect(passes []pass, of func(pass) float64) []float64 {
	all := make([]float64, len(passes))
	for i, p := range passes {
		all[i] = of(p)
	}
	slices.Sort(all)
	return all
}

// median of sorted numbers; of an even number of them the mean of the two in the middle.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// batchedShare is the percentage of the pods that were batched, over all passes.
func batchedShare(passes []pass, pods int) float64 {
	sum := 0.0
	for _, r := range passes {
		sum += r.batched
	}
	return 100 * sum / float64(len(passes)*pods)
}

// measure creates all pods, lets a warm scheduler place them and deletes them again.
// Where a file is named for it, the scheduler's CPU profile of that goes there.
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
		if err := poll(ctx, time.Minute, func(ctx context.Context) error { return s.ready(ctx, p.current) }); err != nil {
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
	if err := <-profiled; err != nil {
		return pass{}, err
	}
	r := pass{wall: 1000 * took.Seconds() / float64(len(p.sizes))}
	if r.millis, err = algorithmMillis(ctx, p.current); err != nil {
		return pass{}, err
	}
	metrics, err := p.current.Metrics(ctx)
	if err != nil {
		return pass{}, err
	}
	r.cpu = 1000 * (cpuSeconds(metrics) - cpuSeconds(before)) / float64(len(p.sizes))
	r.scored = counted(metrics["leastwatt_decisions_total"], "result", "scored")
	r.batched = counted(metrics["scheduler_batch_attempts_total"], "result", "hint_used")
	return r, p.clear(ctx)
}

func cpuSeconds(metrics map[string]*dto.MetricFamily) float64 {
	sum := 0.0
	for _, m := range metrics["process_cpu_seconds_total"].GetMetric() {
		sum += m.GetCounter().GetValue()
	}
	return sum
}

// createAll creates the pods a few at a time: they are alike, so their order does not matter.
func (p *place) createAll(ctx context.Context, scheduler string) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	next := make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range next {
				pod := newPod(namespace, fmt.Sprintf("pod-%05d", i), scheduler, p.sizes[i])
				if _, err := p.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
					cancel(fmt.Errorf("pod %d: %w", i, err))
				}
			}
		})
	}
	for i := range p.sizes {
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
	err := poll(ctx, 5*time.Minute, func(context.Context) error {
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

// contests are the two profiles of the benchmark.
func contests(p *place) ([]contest, error) {
	// The spread that pods get by default depends on all pods of a Service or ReplicaSet, so pods with it
	// are never batched.
	const batchable = "  pluginConfig: [{name: PodTopologySpread, args: {defaultingType: List, defaultConstraints: []}}]\n"
	var all []contest
	for _, profile := range []struct{ name, pluginConfig string }{{"default", ""}, {"batchable", batchable}} {
		without := benchScheduler("without", profile.pluginConfig)
		with, err := p.hardware.withPlugin(p.cluster.Folder(), benchScheduler("with", profile.pluginConfig))
		if err != nil {
			return nil, err
		}
		all = append(all, contest{profile.name, without, with})
	}
	return all, nil
}
