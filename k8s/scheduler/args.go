package scheduler

import (
	"errors"
	"fmt"
	"math"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/json"
)

// Args are the plugin's arguments: pluginConfig[].args of a profile in a KubeSchedulerConfiguration. An
// argument that is left out has its default; one that does not exist is an error.
type Args struct {
	// Config is the path of the file that describes sensors and models. Default: the one that the
	// program was started with.
	Config string `json:"config"`

	// Mode is "decide", the default, or "shadow": the plugin predicts and counts what it would have chosen,
	// and has no part in the choice.
	Mode string `json:"mode"`

	// Events says that each pod gets an event that tells what its node was predicted to draw more, and why.
	// Default false.
	Events bool `json:"events"`

	// PodUsageAssumption is the CPU that a pod is expected to use over the CPU that it requests, for the
	// pod that is being placed and for pods that no measurement shows yet. More than 0, at most 10.
	// Default 1: what the request says. Many clusters use less; WAO assumes 0.5.
	PodUsageAssumption float64 `json:"podUsageAssumption"`

	// DefaultPodCPU is the CPU that a pod without a request for CPU is expected to use, a quantity above
	// 0. Default "100m", which is what kube-scheduler assumes of such pods.
	DefaultPodCPU string `json:"defaultPodCPU"`

	// KeepDecisions is how many of the last decisions are kept in memory for explanations, 0 to 10000.
	// Default 128.
	KeepDecisions int `json:"keepDecisions"`

	// ExplainCandidates is how many of the best candidates each kept decision explains, and how many of those
	// that are unknown; 1 to 100. Default 5.
	ExplainCandidates int `json:"explainCandidates"`

	defaultCPU float64 // DefaultPodCPU in cores
}

// DecodeArgs returns the arguments that a plugin factory was given: nil, or the raw JSON that
// kube-scheduler hands to plugins which it has no type for. Decoding is strict: an unknown field, a
// field given twice, another case of letters and a value out of range are errors that name it.
func DecodeArgs(obj runtime.Object) (Args, error) {
	a := Args{Mode: "decide", PodUsageAssumption: 1, DefaultPodCPU: "100m", KeepDecisions: 128, ExplainCandidates: 5}
	switch o := obj.(type) {
	case nil:
	case *runtime.Unknown:
		if o != nil && len(o.Raw) > 0 {
			strict, err := json.UnmarshalStrict(o.Raw, &a)
			if err := errors.Join(append([]error{err}, strict...)...); err != nil {
				return Args{}, fmt.Errorf("arguments of plugin %s: %w", Name, err)
			}
		}
	default:
		return Args{}, fmt.Errorf("arguments of plugin %s: cannot use a %T: want the raw JSON of pluginConfig.args", Name, obj)
	}
	if err := a.validate(); err != nil {
		return Args{}, fmt.Errorf("arguments of plugin %s: %w", Name, err)
	}
	return a, nil
}

func (a *Args) validate() error {
	if a.Mode != "decide" && a.Mode != "shadow" {
		return fmt.Errorf("mode is %q: want decide or shadow", a.Mode)
	}
	if !(a.PodUsageAssumption > 0 && a.PodUsageAssumption <= 10) {
		return fmt.Errorf("podUsageAssumption is %v: want more than 0, at most 10", a.PodUsageAssumption)
	}
	q, err := resource.ParseQuantity(a.DefaultPodCPU)
	if err != nil {
		return fmt.Errorf("defaultPodCPU is %q: want a quantity of CPU such as 100m: %w", a.DefaultPodCPU, err)
	}
	if a.defaultCPU = q.AsApproximateFloat64(); !(a.defaultCPU > 0 && a.defaultCPU <= math.MaxInt32) {
		return fmt.Errorf("defaultPodCPU is %q: want more than 0", a.DefaultPodCPU)
	}
	if a.KeepDecisions < 0 || a.KeepDecisions > 10000 {
		return fmt.Errorf("keepDecisions is %d: want 0 to 10000", a.KeepDecisions)
	}
	if a.ExplainCandidates < 1 || a.ExplainCandidates > 100 {
		return fmt.Errorf("explainCandidates is %d: want 1 to 100", a.ExplainCandidates)
	}
	return nil
}
