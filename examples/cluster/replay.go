package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

// replayTolerance is how far the simulator may be off.
const replayTolerance = 0.02

// replayPoll is how often the plugin reads the sensors during a replay. A step begins when it has read them again.
const replayPoll = 500 * time.Millisecond

// A replayed trace: what one scheduler's placement drew, and what the simulator had said.
type replayed struct {
	Scheduler   string  `json:"scheduler"`
	MeasuredWh  float64 `json:"measuredWh"`
	SimulatedWh float64 `json:"simulatedWh"`
	BoundWh     float64 `json:"boundWh"`
	Error       float64 `json:"error"` // of the simulator, as a share of what was measured
	Pods        int     `json:"pods"`
	Waited      int     `json:"waited"` // pods that did not run within their step
}

// runReplay lets pods come and go as in a trace, once under the real scheduler with the plugin and once in the simulator, and
// fails if their energies differ by more than the tolerance.
func runReplay(ctx context.Context, o options, out, progress io.Writer) error {
	fleet, err := newFleet(o.nodes, o.seed)
	if err != nil {
		return err
	}
	visits, err := readVisits(o, fleet)
	if err != nil {
		return err
	}
	r, err := predict(ctx, fleet, visits, o.steps)
	if err != nil {
		return err
	}
	bin, err := controlplane.Builder{Scheduler: controlplane.SchedulerPackage, Progress: progress}.Build(ctx)
	if err != nil {
		return err
	}
	plant := newPlant(fleet, o.seed)
	hardware, err := startHardware(plant)
	if err != nil {
		return err
	}
	defer hardware.Close()
	err = controlplane.Run(ctx, bin, controlplane.Options{Kwok: true, Progress: progress}, func(ctx context.Context, c *controlplane.Cluster) error {
		p := &place{cluster: c, plant: plant, hardware: hardware, progress: progress}
		if err := p.prepare(ctx); err != nil {
			return err
		}
		s, err := hardware.leastwattScheduler(c.Folder())
		if err != nil {
			return err
		}
		if _, err := hardware.writeConfig(c.Folder(), replayPoll); err != nil {
			return err
		}
		return p.replay(ctx, s, visits, o.steps, r)
	})
	if err != nil {
		return err
	}
	return r.report(out, o.json)
}

// predict asks the simulator: the true servers as physics, the published curves as what the strategy believes, and the scorer that the
// plugin uses.
func predict(ctx context.Context, fleet []server, visits []visit, steps int) (*replayed, error) {
	nodes := make([]simulate.Node, len(fleet))
	believed := make(map[string]*power.Piecewise, len(fleet))
	for i := range fleet {
		s := &fleet[i]
		watts := make([]power.Watts, 101)
		for k := range watts {
			watts[k] = s.watts(float64(k) / 100)
		}
		truth, err := power.EvenPiecewise(watts...)
		if err != nil {
			return nil, err
		}
		warm, err := power.NewInlet(s.curve, power.PublishedInletResponse())
		if err != nil {
			return nil, err
		}
		// The plugin sees the inlet as it is; here it is that of a server half busy.
		if believed[s.name], err = power.Tabulate(ctx, warm, power.State{Node: s.name, InletTemp: new(s.inletAt(0.5))}, 20); err != nil {
			return nil, err
		}
		nodes[i].Node = batch.Node{
			Node:        scoring.Node{Name: s.name, Capacity: power.Capacity{Cores: s.cores()}, Predictor: truth},
			Allocatable: batch.Resources{CPU: s.cores(), Memory: s.cores() * memoryPerServerCore},
		}
	}
	res, err := simulate.Run(ctx, simulate.Config{
		Nodes: nodes, Strategy: batch.FromScorer("leastwatt", scoring.EnvelopePower{}), To: time.Duration(steps) * stepTime, Bound: true,
		Lifetimes: simulate.Hidden, Uses: simulate.Told,
		Believe: func(node string, _ *power.Piecewise) *power.Piecewise { return believed[node] },
	}, simulate.Jobs(simulated(visits)))
	if err != nil {
		return nil, err
	}
	if res.Unplaced > 0 {
		return nil, fmt.Errorf("%d pods fit on no server: raise -nodes or lower -load", res.Unplaced)
	}
	return &replayed{Scheduler: "leastwatt", SimulatedWh: 1000 * res.Energy.KilowattHours(), BoundWh: 1000 * res.Bound.KilowattHours(), Pods: len(visits)}, nil
}

// replay lets the pods come and go in the cluster. The clock is that of the trace: a step counts for stepTime, however long it took.
func (p *place) replay(ctx context.Context, s contender, visits []visit, steps int, r *replayed) error {
	var err error
	if p.current, err = p.cluster.StartScheduler(ctx, controlplane.SchedulerOptions{Name: "scheduler-" + s.name, Config: s.config, Args: s.args}); err != nil {
		return err
	}
	defer p.current.Stop()
	if err := poll(ctx, time.Minute, func(ctx context.Context) error { return s.ready(ctx, p.current) }); err != nil {
		return err
	}
	live := 0
	var joules float64
	for step := range steps {
		var gone, came []int
		for i, v := range visits {
			if v.goes == step {
				gone = append(gone, i)
			}
			if v.comes == step {
				came = append(came, i)
			}
		}
		now := metav1.DeleteOptions{GracePeriodSeconds: new(int64(0))}
		for _, i := range gone {
			if err := p.client.CoreV1().Pods(namespace).Delete(ctx, podName(i), now); err != nil {
				return fmt.Errorf("step %d: %w", step, err)
			}
		}
		live -= len(gone)
		if _, err := p.await(ctx, live, 30*time.Second); err != nil {
			return err
		}
		if len(gone) > 0 {
			since := time.Now()
			if err := poll(ctx, time.Minute, func(ctx context.Context) error { return p.measuredSince(ctx, since) }); err != nil {
				return fmt.Errorf("step %d: %w", step, err)
			}
		}
		for _, i := range came {
			pod := newPod(namespace, podName(i), s.name, visits[i].milli)
			if _, err := p.client.CoreV1().Pods(namespace).Create(ctx, pod, metav1.CreateOptions{}); err != nil {
				return fmt.Errorf("step %d: %w", step, err)
			}
		}
		live += len(came)
		n, err := p.await(ctx, live, 30*time.Second)
		if err != nil {
			return err
		}
		r.Waited += live - n
		for _, a := range p.plant.accounts() {
			joules += float64(a.Watts) * stepTime.Seconds()
		}
		fmt.Fprintf(p.progress, "\r  step %d of %d: %d pods run ", step+1, steps, n)
	}
	fmt.Fprintln(p.progress)
	r.MeasuredWh = joules / 3600
	r.Error = r.SimulatedWh/r.MeasuredWh - 1
	return nil
}

// measuredSince returns nil when what the plugin knows of every server was measured after a time.
func (p *place) measuredSince(ctx context.Context, since time.Time) error {
	elapsed := time.Since(since).Seconds() // before the plugin is asked, whose answer is as of later
	metrics, err := p.current.Metrics(ctx)
	if err != nil {
		return err
	}
	for _, m := range metrics["leastwatt_utilization_age_seconds"].GetMetric() {
		for _, b := range m.GetHistogram().GetBucket() {
			if b.GetUpperBound() <= elapsed && int(b.GetCumulativeCount()) == len(p.hardware.Names) {
				return nil
			}
		}
	}
	return fmt.Errorf("%.1f s after pods ended, the plugin has older measurements of some servers", elapsed)
}

func podName(i int) string { return fmt.Sprintf("pod-%05d", i) }

// report prints both energies and returns an error if they are too far apart.
func (r *replayed) report(out io.Writer, asJSON bool) error {
	var err error
	if asJSON {
		e := json.NewEncoder(out)
		e.SetIndent("", "  ")
		err = e.Encode(r)
	} else {
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		fmt.Fprintf(w, "real kube-scheduler\t%.1f Wh\t%s over the bound\n", r.MeasuredWh, percent(r.MeasuredWh/r.BoundWh-1))
		fmt.Fprintf(w, "simulator\t%.1f Wh\t%s over the bound\n", r.SimulatedWh, percent(r.SimulatedWh/r.BoundWh-1))
		fmt.Fprintf(w, "difference\t%s\tallowed are %s; %d pods came and went, %d waited\n", percent(r.Error), percent(replayTolerance), r.Pods, r.Waited)
		err = w.Flush()
	}
	switch {
	case err != nil:
		return err
	case r.Waited > 0:
		return fmt.Errorf("%d pods did not run within their step, so the two runs did different work", r.Waited)
	case !(math.Abs(r.Error) <= replayTolerance):
		return fmt.Errorf("the simulator is %s off, more than %s", strings.TrimSpace(percent(r.Error)), percent(replayTolerance))
	}
	return nil
}

func percent(share float64) string { return fmt.Sprintf("%.2f %%", 100*share) }
