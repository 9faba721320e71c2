package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"text/tabwriter"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/shift"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// demoPolicies hold the work of one namespace back by a budget.
const demoPolicies = `default: {zone: DE, duration: 2h}
namespaces:
  frugal: {budget: {kWhPerDay: 0.1, over: delay}, wattsPerCore: 10}
`

// demo runs the controller on a real API server, with a clock that runs fast and an intensity that is least half a day after the start.
func demo(ctx context.Context, o *options, out io.Writer, log *slog.Logger) error {
	if !(o.speed >= 1 && o.speed <= 10_000) {
		return fmt.Errorf("-speed %v: want 1 to 10000", o.speed)
	}
	bin, err := controlplane.Builder{Progress: os.Stderr}.Build(ctx)
	if err != nil {
		return err
	}
	return controlplane.Run(ctx, bin, controlplane.Options{Kwok: true}, func(ctx context.Context, c *controlplane.Cluster) error {
		client, err := c.Client()
		if err != nil {
			return err
		}
		began := time.Now().UTC().Truncate(time.Second)
		o.now = func() time.Time { return began.Add(time.Duration(float64(time.Since(began)) * o.speed)) }
		o.source = &valley{began: began}
		o.policies = filepath.Join(c.Folder(), "policies.yaml")
		if err := os.WriteFile(o.policies, []byte(demoPolicies), 0o600); err != nil {
			return err
		}
		o.interval, o.elect, o.metricsAddr, o.healthAddr = 200*time.Millisecond, false, "0", "0"
		if err := demoWork(ctx, client, began); err != nil {
			return err
		}
		running, stop := context.WithCancel(ctx)
		var wg sync.WaitGroup
		defer wg.Wait()
		defer stop()
		ended := make(chan error, 1)
		wg.Go(func() {
			ended <- run(running, o, c.RESTConfig(), slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})))
		})
		for {
			rows, held, err := look(ctx, client)
			if err != nil {
				return err
			}
			if !held {
				return print(out, rows, began, o.source.(*valley))
			}
			select {
			case err := <-ended:
				return err
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(100 * time.Millisecond):
			}
		}
	})
}

// A valley is an intensity of 400 g/kWh that falls to 100 for four hours, ten hours after the start.
type valley struct{ began time.Time }

func (*valley) Signal() grid.Signal { return grid.AverageLifeCycle }

func (v *valley) at(t time.Time) float64 {
	switch h := t.Sub(v.began).Hours(); {
	case h >= 10 && h < 14, h >= 34 && h < 38:
		return 100
	case h >= 5 && h < 10:
		return 300
	}
	return 400
}

func (v *valley) Current(context.Context, string) (grid.Point, error) {
	return grid.Point{}, grid.ErrUnknown
}

// Forecast implements [grid.ForecastSource].
func (v *valley) Forecast(_ context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if zone != "DE" {
		return nil, fmt.Errorf("zone %q: %w", zone, grid.ErrUnknownZone)
	}
	var ps []grid.Point
	for t := v.began.Add(from.Sub(v.began).Truncate(time.Hour)); t.Before(until); t = t.Add(time.Hour) {
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.AverageLifeCycle, Start: t, End: t.Add(time.Hour), Value: v.at(t), Forecast: true, Source: "made up"})
	}
	return ps, nil
}

// demoWork makes gated pods, suspended Jobs and a suspended CronJob.
func demoWork(ctx context.Context, client kubernetes.Interface, began time.Time) error {
	for _, name := range []string{"lab", "frugal"} {
		if _, err := client.CoreV1().Namespaces().Create(ctx, &v1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	spec := func(cores string) v1.PodSpec {
		return v1.PodSpec{RestartPolicy: v1.RestartPolicyNever, Containers: []v1.Container{{Name: "main", Image: "none", Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse(cores)}}}}}
	}
	meta := func(namespace, name string, annotations map[string]string) metav1.ObjectMeta {
		return metav1.ObjectMeta{Namespace: namespace, Name: name, Labels: map[string]string{shift.Label: "true"}, Annotations: annotations}
	}
	deadline := func(h time.Duration) map[string]string {
		return map[string]string{shift.DeadlineAnnotation: began.Add(h * time.Hour).Format(time.RFC3339)}
	}
	elsewhere := deadline(24)
	elsewhere[shift.ZoneAnnotation] = "XX"
	for name, a := range map[string]map[string]string{"train": deadline(24), "hurried": deadline(4), "too-late": deadline(-1)} {
		p := &v1.Pod{ObjectMeta: meta("lab", name, a), Spec: spec("8")}
		p.Spec.SchedulingGates = []v1.PodSchedulingGate{{Name: shift.Gate}}
		if _, err := client.CoreV1().Pods("lab").Create(ctx, p, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	for _, j := range []*batchv1.Job{
		{ObjectMeta: meta("lab", "report", deadline(20)), Spec: batchv1.JobSpec{Suspend: new(true), Template: v1.PodTemplateSpec{Spec: spec("8")}}},
		{ObjectMeta: meta("frugal", "batch-1", deadline(60)), Spec: batchv1.JobSpec{Suspend: new(true), Template: v1.PodTemplateSpec{Spec: spec("4")}}},
		{ObjectMeta: meta("frugal", "batch-2", deadline(60)), Spec: batchv1.JobSpec{Suspend: new(true), Template: v1.PodTemplateSpec{Spec: spec("4")}}},
		{ObjectMeta: meta("lab", "no-forecast", elsewhere), Spec: batchv1.JobSpec{Suspend: new(true), Template: v1.PodTemplateSpec{Spec: spec("1")}}},
	} {
		if _, err := client.BatchV1().Jobs(j.Namespace).Create(ctx, j, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	cron := &batchv1.CronJob{ObjectMeta: meta("lab", "backup", deadline(30)), Spec: batchv1.CronJobSpec{Schedule: "0 * * * *", Suspend: new(true), JobTemplate: batchv1.JobTemplateSpec{Spec: batchv1.JobSpec{Template: v1.PodTemplateSpec{Spec: spec("1")}}}}}
	_, err := client.BatchV1().CronJobs("lab").Create(ctx, cron, metav1.CreateOptions{})
	return err
}

// look lists the demonstration's objects, and tells whether any is held.
func look(ctx context.Context, client kubernetes.Interface) (rows []metav1.ObjectMeta, held bool, err error) {
	one := metav1.ListOptions{LabelSelector: shift.Label + "=true"}
	pods, err := client.CoreV1().Pods("").List(ctx, one)
	if err != nil {
		return nil, false, err
	}
	jobs, err := client.BatchV1().Jobs("").List(ctx, one)
	if err != nil {
		return nil, false, err
	}
	crons, err := client.BatchV1().CronJobs("").List(ctx, one)
	if err != nil {
		return nil, false, err
	}
	add := func(kind string, m metav1.ObjectMeta) {
		held = held || m.Annotations[shift.ReleasedAnnotation] == ""
		m.Name = kind + " " + m.Namespace + "/" + m.Name
		rows = append(rows, m)
	}
	for _, p := range pods.Items {
		add("Pod", p.ObjectMeta)
	}
	for _, j := range jobs.Items {
		add("Job", j.ObjectMeta)
	}
	for _, c := range crons.Items {
		add("CronJob", c.ObjectMeta)
	}
	return rows, held, nil
}

func print(out io.Writer, rows []metav1.ObjectMeta, began time.Time, v *valley) error {
	slices.SortFunc(rows, func(a, b metav1.ObjectMeta) int {
		return cmp.Or(cmp.Compare(a.Annotations[shift.ReleasedAnnotation], b.Annotations[shift.ReleasedAnnotation]), cmp.Compare(a.Name, b.Name))
	})
	after := func(text string) string {
		t, err := time.Parse(time.RFC3339, text)
		if err != nil {
			return "-"
		}
		return fmt.Sprintf("%+.1f h", t.Sub(began).Hours())
	}
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "object\tlatest start\tplanned\tstarted\tg/kWh\twhy")
	for _, r := range rows {
		a := r.Annotations
		at, err := time.Parse(time.RFC3339, a[shift.ReleasedAnnotation])
		if err != nil {
			return fmt.Errorf("%s: %w", r.Name, err)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%.0f\t%s\n", r.Name, after(a[shift.ReleaseByAnnotation]), after(a[shift.PlannedAnnotation]), after(a[shift.ReleasedAnnotation]), v.at(at), a[shift.ReasonAnnotation])
	}
	return w.Flush()
}
