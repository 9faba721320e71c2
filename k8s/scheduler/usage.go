package scheduler

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
	resourcehelper "k8s.io/component-helpers/resource"
	fwk "k8s.io/kube-scheduler/framework"
	"sigs.k8s.io/json"

	"github.com/leastwatt/leastwatt/scoring"
)

// Usage are the arguments by which plugins tell what pods use.
type Usage struct {
	// PodUsageAssumption is the CPU that a pod is expected to use over the CPU that it requests, for the
	// pod that is being placed and for pods that no measurement shows yet. More than 0, at most 10.
	// Default 1: what the request says. Many clusters use less; WAO assumes 0.5.
	PodUsageAssumption float64 `json:"podUsageAssumption"`

	// DefaultPodCPU is the CPU that a pod without a request for CPU is expected to use, a quantity above
	// 0. Default "100m", which is what kube-scheduler assumes of a container.
	DefaultPodCPU string `json:"defaultPodCPU"`

	// Utilization is where the load of a node is known from, in order: "sensors", which section sensors of the
	// site's file lists in an order of its own (metrics.k8s.io, Prometheus, Kepler and so on), and "requests", what
	// the pods on the node are expected to use. Default ["sensors"]: a node that is not measured is not
	// known, and does not win. ["sensors", "requests"] takes the requests of such nodes; ["requests"] needs no
	// sensors.
	Utilization []string `json:"utilization"`

	// GPUResources are the names of resources of which one is one GPU or, of NVIDIA's MIG profiles such as
	// nvidia.com/mig-3g.20gb, the share of one that its compute slices are. Default ["nvidia.com/gpu"].
	GPUResources []string `json:"gpuResources"`

	// GPUUsageAssumption is how busy a pod is expected to keep each GPU that it requests. More than 0, at most 1.
	// Default 1.
	GPUUsageAssumption float64 `json:"gpuUsageAssumption"`

	gpuShares  []float64       // beside GPUResources: how much of a GPU one is
	defaultCPU float64         // DefaultPodCPU in cores
	sources    utilizationFrom // Utilization
}

// utilizationFrom is where the load of a node is known from.
type utilizationFrom uint8

const (
	fromSensors utilizationFrom = iota
	fromSensorsThenRequests
	fromRequests
)

func defaultUsage() Usage {
	return Usage{PodUsageAssumption: 1, DefaultPodCPU: "100m", Utilization: []string{"sensors"},
		GPUResources: []string{"nvidia.com/gpu"}, GPUUsageAssumption: 1}
}

func (u *Usage) validate() error {
	if !(u.PodUsageAssumption > 0 && u.PodUsageAssumption <= 10) {
		return fmt.Errorf("podUsageAssumption is %v: want more than 0, at most 10", u.PodUsageAssumption)
	}
	q, err := resource.ParseQuantity(u.DefaultPodCPU)
	if err != nil {
		return fmt.Errorf("defaultPodCPU is %q: want a quantity of CPU such as 100m: %w", u.DefaultPodCPU, err)
	}
	if u.defaultCPU = q.AsApproximateFloat64(); !(u.defaultCPU > 0 && u.defaultCPU <= math.MaxInt32) {
		return fmt.Errorf("defaultPodCPU is %q: want more than 0", u.DefaultPodCPU)
	}
	switch {
	case slices.Equal(u.Utilization, []string{"sensors"}):
		u.sources = fromSensors
	case slices.Equal(u.Utilization, []string{"sensors", "requests"}):
		u.sources = fromSensorsThenRequests
	case slices.Equal(u.Utilization, []string{"requests"}):
		u.sources = fromRequests
	default:
		return fmt.Errorf(`utilization is %q: want ["sensors"], ["sensors", "requests"] or ["requests"]: requests are always known, so nothing comes after them`, u.Utilization)
	}
	u.gpuShares = nil
	for i, name := range u.GPUResources {
		u.gpuShares = append(u.gpuShares, gpuShare(name))
		if wrong := validation.IsQualifiedName(name); len(wrong) > 0 || !strings.Contains(name, "/") || slices.Contains(u.GPUResources[:i], name) {
			return fmt.Errorf("gpuResources[%d] is %q: want distinct names of extended resources, such as nvidia.com/gpu", i, name)
		}
	}
	if !(u.GPUUsageAssumption > 0 && u.GPUUsageAssumption <= 1) {
		return fmt.Errorf("gpuUsageAssumption is %v: want more than 0, at most 1", u.GPUUsageAssumption)
	}
	return nil
}

// assume takes what pods request as the load of a server that is not measured, or of any where nothing else is
// asked for, and tells whether it did. The pods are still to be added.
func (u *Usage) assume(n *scoring.Node) bool {
	if u.sources == fromRequests && n.Err == nil && !n.Off {
		n.State.Utilization, n.Assumed = 0, "requests"
	}
	n.Assume(0, "requests")
	if n.Assumed != "" {
		n.GPUActivity = 0
	}
	return n.Assumed != ""
}

// wants are what a pod requests, counted as Kubernetes does: the larger of its containers (with sidecars) and
// its init containers, resources of the whole pod and resizes, and its overhead.
type wants struct {
	milliCPU int64
	gpus     float64
}

func (u *Usage) wants(pod *v1.Pod) wants {
	r := resourcehelper.PodRequests(pod, resourcehelper.PodResourcesOptions{UseStatusResources: true, InPlacePodLevelResourcesVerticalScalingEnabled: true})
	w := wants{milliCPU: r.Cpu().MilliValue()}
	for i, name := range u.GPUResources {
		if q, ok := r[v1.ResourceName(name)]; ok {
			w.gpus += float64(q.Value()) * u.gpuShares[i]
		}
	}
	return w
}

// summed returns what a pod on a node requests, by the scheduler's own sums, which were made when the pod came
// there: to add up the requests of all pods of a node that has changed, for every pod that is placed, costs more
// than all the rest of a prediction.
func (u *Usage) summed(pod fwk.PodInfo) wants {
	r := pod.CalculateResource().Resource
	w := wants{milliCPU: r.GetMilliCPU()}
	if scalars := r.GetScalarResources(); len(scalars) > 0 {
		for i, name := range u.GPUResources {
			w.gpus += float64(scalars[v1.ResourceName(name)]) * u.gpuShares[i]
		}
	}
	return w
}

// cpu returns the CPU in cores that a pod which requests so many thousandths is expected to use.
func (u *Usage) cpu(milli int64) float64 {
	if milli <= 0 {
		return u.defaultCPU
	}
	return float64(milli) / 1000 * u.PodUsageAssumption
}

// gpus returns how many GPUs a pod which requests so many is expected to keep busy.
func (u *Usage) gpus(n float64) float64 { return n * u.GPUUsageAssumption }

// demand returns what a pod is expected to use.
func (u *Usage) demand(pod *v1.Pod) scoring.Demand { return u.expected(u.wants(pod)) }

// expected returns what a pod is expected to use that requests so much.
func (u *Usage) expected(w wants) scoring.Demand {
	return scoring.Demand{CPU: u.cpu(w.milliCPU), GPUs: u.gpus(w.gpus)}
}

// decode reads the arguments of a plugin into what into points to: nil, or the raw JSON that kube-scheduler hands
// to plugins which it has no type for. Decoding is strict: an unknown field, a field given twice, another case
// of letters are errors that name it.
func decode(plugin string, obj runtime.Object, into interface{ validate() error }) error {
	switch o := obj.(type) {
	case nil:
	case *runtime.Unknown:
		if o != nil && len(o.Raw) > 0 {
			strict, err := json.UnmarshalStrict(o.Raw, into)
			if err := errors.Join(append([]error{err}, strict...)...); err != nil {
				return fmt.Errorf("arguments of plugin %s: %w", plugin, err)
			}
		}
	default:
		return fmt.Errorf("arguments of plugin %s: cannot use a %T: want the raw JSON of pluginConfig.args", plugin, obj)
	}
	if err := into.validate(); err != nil {
		return fmt.Errorf("arguments of plugin %s: %w", plugin, err)
	}
	return nil
}
