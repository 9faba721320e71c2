package main

import (
	"context"
	_ "embed" // stress-ng.yaml
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"sigs.k8s.io/yaml"

	"github.com/leastwatt/leastwatt/power"
)

//go:embed stress-ng.yaml
var stressNG []byte

// managed is the label of the Jobs that this program made; its value is the job's ID.
const managed = "leastwatt.github.io/job"

// kubeDispatcher runs jobs as Kubernetes Jobs of one namespace. The Job's name tells its job, so that making it twice is found out,
// and a Job that survived a crash of this program is taken over.
//
// A job that may be suspended is suspended by its Job's spec.suspend: Kubernetes then ends its pods, and starts new ones when it is resumed, on
// the node of the new decision. What the job has done it must keep itself, when its pod is told to end; LEASTWATT_SECONDS tells a new pod
// what is left.
//
// It needs the verbs create, get, list, watch and patch on jobs.batch in its namespace, and list and watch on nodes.
type kubeDispatcher struct {
	client    kubernetes.Interface
	namespace string
	template  *batchv1.Job
	log       *slog.Logger
}

// newKubeDispatcher returns a dispatcher with a template of a batch/v1 Job in YAML.
func newKubeDispatcher(client kubernetes.Interface, namespace string, template []byte, log *slog.Logger) (*kubeDispatcher, error) {
	var j batchv1.Job
	if err := yaml.UnmarshalStrict(template, &j); err != nil {
		return nil, fmt.Errorf("template of a Job: %w", err)
	}
	if j.Kind != "Job" || j.APIVersion != "batch/v1" || len(j.Spec.Template.Spec.Containers) == 0 {
		return nil, fmt.Errorf("template: want kind Job of apiVersion batch/v1 with a container, got kind %q of %q", j.Kind, j.APIVersion)
	}
	return &kubeDispatcher{client: client, namespace: namespace, template: &j, log: log}, nil
}

// object is the Kubernetes Job of a job.
func (d *kubeDispatcher) object(j *Job) *batchv1.Job {
	o := d.template.DeepCopy()
	o.Name, o.Namespace = "lw-"+j.ID, d.namespace
	mark := func(m map[string]string) map[string]string {
		if m == nil {
			m = make(map[string]string)
		}
		m[managed] = j.ID
		return m
	}
	o.Labels, o.Spec.Template.Labels = mark(o.Labels), mark(o.Spec.Template.Labels)
	if o.Annotations == nil {
		o.Annotations = make(map[string]string)
	}
	o.Annotations["leastwatt.github.io/strategy"] = j.Strategy
	s := &o.Spec.Template.Spec
	place(&o.Spec.Template, j)
	c := &s.Containers[0]
	if c.Resources.Requests == nil {
		c.Resources.Requests = make(v1.ResourceList)
	}
	c.Resources.Requests[v1.ResourceCPU] = *resource.NewMilliQuantity(int64(math.Ceil(j.CPU*1000)), resource.DecimalSI)
	if j.Memory > 0 {
		c.Resources.Requests[v1.ResourceMemory] = *resource.NewQuantity(int64(j.Memory), resource.BinarySI)
	}
	seconds := v1.EnvVar{Name: "LEASTWATT_SECONDS", Value: strconv.Itoa(int(j.Duration.Seconds()))}
	if j.Suspendable { // of a Job that has started annotations alone may be changed
		seconds.Value, seconds.ValueFrom = "", &v1.EnvVarSource{FieldRef: &v1.ObjectFieldSelector{FieldPath: "metadata.annotations['" + secondsLeft + "']"}}
	}
	c.Env = append([]v1.EnvVar{
		{Name: "LEASTWATT_CPU", Value: strconv.Itoa(int(math.Ceil(j.CPU)))},
		seconds,
		{Name: "LEASTWATT_TAG", Value: j.Tag},
		{Name: "LEASTWATT_ID", Value: j.ID},
	}, c.Env...)
	return o
}

// Start implements [Dispatcher].
func (d *kubeDispatcher) Start(ctx context.Context, j Job) error {
	if len(j.Ran) > 0 {
		return d.resume(ctx, &j)
	}
	_, err := d.client.BatchV1().Jobs(d.namespace).Create(ctx, d.object(&j), metav1.CreateOptions{})
	switch {
	case apierrors.IsAlreadyExists(err): // made before a crash, or before an answer was lost
		_, err := d.own(ctx, &j)
		return err
	case apierrors.IsInvalid(err):
		return &refused{fmt.Errorf("job %q: %w", j.ID, err)}
	}
	return err
}

// run watches Jobs and nodes and tells the engine, until ctx is done. machines completes what a Node does not tell of a machine; known is called
// when the engine has been told the nodes.
func (d *kubeDispatcher) run(ctx context.Context, e *Engine, machines func([]Machine) []Machine, known func()) error {
	list, err := d.nodes(ctx)
	if err != nil {
		return err
	}
	e.UpdateMachines(machines(machinesOf(list)))
	known()
	jobs := informers.NewSharedInformerFactoryWithOptions(d.client, 0, informers.WithNamespace(d.namespace), informers.WithTweakListOptions(func(o *metav1.ListOptions) { o.LabelSelector = managed }))
	jobInformer := jobs.Batch().V1().Jobs().Informer()
	if _, err := jobInformer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(o any) { reportJob(e, o) },
		UpdateFunc: func(_, o any) { reportJob(e, o) },
		DeleteFunc: func(o any) {
			if d, ok := o.(cache.DeletedFinalStateUnknown); ok {
				o = d.Obj
			}
			if j, ok := o.(*batchv1.Job); ok && !reportJob(e, j) {
				e.Report(j.Labels[managed], Failed, e.now(), "its Job was deleted")
			}
		},
	}); err != nil {
		return err
	}
	all := informers.NewSharedInformerFactory(d.client, 0)
	nodes := all.Core().V1().Nodes()
	changed := make(chan struct{}, 1)
	note := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	if _, err := nodes.Informer().AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc: func(any) { note() }, UpdateFunc: func(any, any) { note() }, DeleteFunc: func(any) { note() },
	}); err != nil {
		return err
	}
	jobs.Start(ctx.Done())
	all.Start(ctx.Done())
	defer jobs.Shutdown()
	defer all.Shutdown()
	if !cache.WaitForCacheSync(ctx.Done(), nodes.Informer().HasSynced) { // a part of the nodes would be taken for all
		return ctx.Err()
	}
	note()
	again := time.NewTicker(time.Minute)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-again.C: // a report may have come before the engine knew that it had started the job
			for _, o := range jobInformer.GetStore().List() {
				reportJob(e, o)
			}
		case <-changed:
			list, err := nodes.Lister().List(labels.Everything())
			if err != nil {
				return err
			}
			e.UpdateMachines(machines(machinesOf(list)))
		}
	}
}

// nodes lists the nodes. An API server that cannot be asked is asked again until ctx is done.
func (d *kubeDispatcher) nodes(ctx context.Context) ([]*v1.Node, error) {
	const longest = 15 * time.Second
	why := teller{log: d.log, fault: "the API server does not tell the nodes: jobs are accepted, and none is started, until it does", again: "the API server has told the nodes"}
	for wait := time.Second / 4; ; wait = min(2*wait, longest) {
		ask, cancel := context.WithTimeout(ctx, longest)
		list, err := d.client.CoreV1().Nodes().List(ask, metav1.ListOptions{})
		cancel()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if why.tell(err); err == nil {
			out := make([]*v1.Node, len(list.Items))
			for i := range list.Items {
				out[i] = &list.Items[i]
			}
			return out, nil
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// reportJob tells what a Job's conditions say, and whether it has ended.
func reportJob(e *Engine, o any) bool {
	j, ok := o.(*batchv1.Job)
	if !ok {
		return false
	}
	for _, c := range j.Status.Conditions {
		if c.Status != v1.ConditionTrue {
			continue
		}
		switch c.Type {
		case batchv1.JobComplete:
			at := c.LastTransitionTime.Time
			if j.Status.CompletionTime != nil {
				at = j.Status.CompletionTime.Time
			}
			e.Report(j.Labels[managed], Done, at, "")
			return true
		case batchv1.JobFailed:
			e.Report(j.Labels[managed], Failed, c.LastTransitionTime.Time, c.Reason+": "+c.Message)
			return true
		}
	}
	return false
}

// machinesOf reads what Nodes tell. The site is the topology's region, else its zone.
func machinesOf(nodes []*v1.Node) []Machine {
	var out []Machine
	for _, n := range nodes {
		m := Machine{Name: n.Name, Site: n.Labels[v1.LabelTopologyRegion], Cores: n.Status.Allocatable.Cpu().AsApproximateFloat64(),
			Memory: n.Status.Allocatable.Memory().AsApproximateFloat64(), Down: true}
		if m.Site == "" {
			m.Site = n.Labels[v1.LabelTopologyZone]
		}
		for _, c := range n.Status.Conditions {
			if c.Type == v1.NodeReady {
				m.Down = c.Status != v1.ConditionTrue
			}
		}
		m.Down = m.Down || n.Spec.Unschedulable
		out = append(out, m)
	}
	return out
}

// withModels gives machines the site and the model of the node file, and those that are not in it the given watts a core.
func withModels(file []Machine, idle, peak float64) func([]Machine) []Machine {
	byName := make(map[string]Machine)
	for _, m := range file {
		byName[m.Name] = m
	}
	return func(list []Machine) []Machine {
		for i := range list {
			m := &list[i]
			if f, ok := byName[m.Name]; ok {
				m.Site, m.Curve = f.Site, f.Curve
			}
			if m.Curve == nil && m.Cores > 0 && peak > 0 {
				m.Curve, _ = power.EvenPiecewise(power.Watts(idle*m.Cores), power.Watts(peak*m.Cores)) // both are checked flags
			}
		}
		return list
	}
}
