package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	goruntime "runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes/fake"
	"k8s.io/client-go/tools/events"
	"k8s.io/klog/v2"
	fwk "k8s.io/kube-scheduler/framework"
	kubescheduler "k8s.io/kubernetes/pkg/scheduler"
	schedulerconfig "k8s.io/kubernetes/pkg/scheduler/apis/config"
	configscheme "k8s.io/kubernetes/pkg/scheduler/apis/config/scheme"
	"k8s.io/kubernetes/pkg/scheduler/backend/cache"
	"k8s.io/kubernetes/pkg/scheduler/framework"
	frameworkruntime "k8s.io/kubernetes/pkg/scheduler/framework/runtime"

	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// The profiles of BenchmarkAlgorithm; what follows the first differs by what its plugins section says.
var algorithmProfiles = []struct{ name, plugins string }{
	{"without", ""},
	{"constant", "multiPoint: {enabled: [{name: Constant}]}"},
	{"leastwatt", "multiPoint: {enabled: [{name: LeastWatt, weight: 10}]}"},
	{"installed", "multiPoint: {enabled: [{name: LeastWatt, weight: 10}]}, score: {disabled: [{name: NodeResourcesFit}, {name: NodeResourcesBalancedAllocation}]}"},
}

// BenchmarkAlgorithm is how long kube-scheduler takes to choose a node for a pod, all nodes scored and nothing else done:
// in the default profile; with a plugin that gives every node the same score, below which no plugin that scores can be;
// with LeastWatt; and with LeastWatt in the place of the two scores that spread, as the README and the chart have it.
// They take turns, each with a heap that has just been collected, and the CPU of the whole process counts as well, garbage
// collection included; the ratios are medians over the rounds, so that they hold on a machine that does other things. No
// sensors are read.
func BenchmarkAlgorithm(b *testing.B) {
	for _, n := range []int{500, 5000} {
		b.Run(fmt.Sprintf("nodes=%d", n), func(b *testing.B) {
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			r := newAlgorithmRig(ctx, b, n)
			var took [4]time.Duration           // beside algorithmProfiles
			var ratios, usedRatios [4][]float64 // of one round each
			const turn = 48
			for side := range algorithmProfiles { // the first pods make what the others find
				r.schedule(ctx, b, side, turn)
			}
			for b.Loop() {
				var d, cpu [4]time.Duration
				for _, side := range r.rng.Perm(len(algorithmProfiles)) {
					d[side], cpu[side] = r.schedule(ctx, b, side, turn)
				}
				for side := range d {
					took[side] += d[side]
					ratios[side] = append(ratios[side], d[side].Seconds()/d[0].Seconds())
					usedRatios[side] = append(usedRatios[side], cpu[side].Seconds()/cpu[0].Seconds())
				}
			}
			for side, p := range algorithmProfiles {
				b.ReportMetric(float64(took[side].Microseconds())/1000/float64(b.N*turn), p.name+"-ms/pod")
				if side > 0 {
					b.ReportMetric(median(ratios[side]), p.name+"-ratio")
					b.ReportMetric(median(usedRatios[side]), p.name+"-cpu-ratio")
				}
			}
		})
	}
}

// median returns the middle one of some numbers, which it sorts.
func median(of []float64) float64 {
	slices.Sort(of)
	return (of[(len(of)-1)/2] + of[len(of)/2]) / 2
}

// constant is the least that a plugin which scores can be.
type constant struct{}

func (constant) Name() string { return "Constant" }

func (constant) Score(context.Context, fwk.CycleState, *v1.Pod, fwk.NodeInfo) (int64, *fwk.Status) {
	return 1, nil
}

func (constant) ScoreExtensions() fwk.ScoreExtensions { return nil }

func (constant) SignPod(context.Context, *v1.Pod) ([]fwk.SignFragment, *fwk.Status) { return nil, nil }

// stillReadings never change.
type stillReadings struct{ snap *sensors.Snapshot }

func (stillReadings) SetNodes([]string)             {}
func (r stillReadings) Snapshot() *sensors.Snapshot { return r.snap }
func (stillReadings) Run(ctx context.Context) error { <-ctx.Done(); return nil }

// An algorithmRig is a scheduler that is asked pod by pod, and binds none.
type algorithmRig struct {
	sched *kubescheduler.Scheduler
	snap  *cache.Snapshot
	log   klog.Logger
	rng   *rand.Rand
	made  int
}

func newAlgorithmRig(ctx context.Context, b *testing.B, n int) *algorithmRig {
	r := &algorithmRig{snap: cache.NewEmptySnapshot(), log: klog.FromContext(ctx), rng: rand.New(rand.NewPCG(1, 2))}
	now := time.Now()
	readings := make(map[string]*sensors.NodeReadings, n)
	objs := make([]runtime.Object, n)
	for i := range objs {
		name := fmt.Sprintf("node-%04d", i)
		has := v1.ResourceList{v1.ResourceCPU: resource.MustParse("96"), v1.ResourceMemory: resource.MustParse("384Gi"), v1.ResourcePods: resource.MustParse("250")}
		objs[i] = &v1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{v1.LabelHostname: name}}, Status: v1.NodeStatus{Capacity: has, Allocatable: has}}
		readings[name] = &sensors.NodeReadings{Node: name, Tried: now, Good: now, Readings: []sensors.Reading{
			{Kind: sensors.CPUUtilization, Value: 0.4 * r.rng.Float64(), At: now, Source: "still"},
			{Kind: sensors.InletTemp, Value: 21 + 5*r.rng.Float64(), At: now, Source: "still"},
		}}
	}
	servers := power.Servers()
	site := scoring.NewSite(stillReadings{sensors.NewSnapshot(now, readings)}, func(m scoring.Machine) (scoring.Spec, error) {
		kind := int(m.Name[len(m.Name)-1] - '0') // one of ten
		p, err := power.NewInlet(servers[kind].Curve(), power.PublishedInletResponse())
		return scoring.Spec{Predictor: p, Model: "published"}, err
	}, scoring.SiteOptions{Fleet: scoring.FleetOptions{MaxAge: time.Hour}})
	plugin, err := scheduler.New(func(string) (scheduler.Setup, error) { return scheduler.Setup{Site: site}, nil }, scheduler.Options{})
	if err != nil {
		b.Fatal(err)
	}
	var config strings.Builder
	config.WriteString("apiVersion: kubescheduler.config.k8s.io/v1\nkind: KubeSchedulerConfiguration\nprofiles:\n")
	for _, p := range algorithmProfiles {
		fmt.Fprintf(&config, "- {schedulerName: %s, plugins: {%s}}\n", p.name, p.plugins)
	}
	c, _, err := configscheme.Codecs.UniversalDecoder().Decode([]byte(config.String()), nil, nil)
	if err != nil {
		b.Fatal(err)
	}
	client := fake.NewClientset(objs...)
	factory := informers.NewSharedInformerFactory(client, 0)
	r.sched, err = kubescheduler.New(ctx, client, factory, nil, func(string) events.EventRecorderLogger { return events.NewFakeRecorder(1) },
		kubescheduler.WithProfiles(c.(*schedulerconfig.KubeSchedulerConfiguration).Profiles...),
		kubescheduler.WithNodeInfoSnapshot(r.snap), kubescheduler.WithPercentageOfNodesToScore(new(int32(100))),
		kubescheduler.WithFrameworkOutOfTreeRegistry(frameworkruntime.Registry{
			scheduler.Name: plugin,
			"Constant":     func(context.Context, runtime.Object, fwk.Handle) (fwk.Plugin, error) { return constant{}, nil },
		}))
	if err != nil {
		b.Fatal(err)
	}
	factory.Start(ctx.Done())
	patient, cancel := context.WithTimeout(ctx, 3*time.Minute)
	defer cancel()
	factory.WaitForCacheSync(patient.Done())
	if err := r.sched.WaitForHandlersSync(patient); err != nil {
		b.Fatalf("the scheduler's handlers have not seen all %d nodes: %v", n, err)
	}
	if err := wait.PollUntilContextCancel(patient, 10*time.Millisecond, true, func(context.Context) (bool, error) {
		return r.sched.Cache.NodeCount() >= n && site.View().Len() >= n, nil
	}); err != nil {
		b.Fatalf("of %d nodes the scheduler has %d and the plugin's view %d: %v", n, r.sched.Cache.NodeCount(), site.View().Len(), err)
	}
	for node := range site.View().All {
		if node.Err != nil {
			b.Fatal(node.Err)
		}
	}
	return r
}

// schedule chooses nodes for some pods, one after the other, and forgets them again. It returns what that took.
func (r *algorithmRig) schedule(ctx context.Context, b *testing.B, side, pods int) (took, cpu time.Duration) {
	profile := r.sched.Profiles[algorithmProfiles[side].name]
	placed := make([]*v1.Pod, pods)
	goruntime.GC()
	start, began := time.Now(), cpuTime(b)
	for i := range placed {
		r.made++
		name := fmt.Sprint("pod-", r.made)
		pod := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: metav1.NamespaceDefault, UID: types.UID(name)},
			Spec: v1.PodSpec{Containers: []v1.Container{{Name: "c", Image: "registry.k8s.io/pause:3.10", Resources: v1.ResourceRequirements{
				Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("500m")}}}}}}
		info, err := framework.NewPodInfo(pod)
		if err != nil {
			b.Fatal(err)
		}
		state := framework.NewCycleState()
		state.SetRecordPluginMetrics(r.rng.IntN(10) == 0) // as kube-scheduler does
		if err := r.sched.Cache.UpdateSnapshot(r.log, r.snap); err != nil {
			b.Fatal(err)
		}
		result, err := r.sched.SchedulePod(ctx, profile, state, &framework.QueuedPodInfo{PodInfo: info})
		if err != nil {
			b.Fatal(err)
		}
		placed[i] = pod.DeepCopy()
		placed[i].Spec.NodeName = result.SuggestedHost
		if err := r.sched.Cache.AssumePod(r.log, placed[i]); err != nil {
			b.Fatal(err)
		}
	}
	took, cpu = time.Since(start), cpuTime(b)-began
	for _, p := range placed {
		if err := r.sched.Cache.ForgetPod(r.log, p); err != nil {
			b.Fatal(err)
		}
	}
	return took, cpu
}

// cpuTime is what this process has used.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
