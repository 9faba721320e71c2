package scheduler

import (
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
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

	// Annotate says that each pod gets the annotation leastwatt.github.io/decision that tells the same: one
	// request to the API server a pod, after it is bound. Default false.
	Annotate bool `json:"annotate"`

	Usage

	// KeepDecisions is how many of the last decisions are kept in memory for explanations, 0 to 10000.
	// Default 128.
	KeepDecisions int `json:"keepDecisions"`

	// ExplainCandidates is how many of the best candidates each kept decision explains, and how many of those
	// that are unknown; 1 to 100, and times keepDecisions at most 50000, the most of all profiles counting. Default 5.
	ExplainCandidates int `json:"explainCandidates"`
}

// DecodeArgs returns the arguments that a plugin factory was given: nil, or the raw JSON that
// kube-scheduler hands to plugins which it has no type for. Decoding is strict: an unknown field, a
// field given twice, another case of letters and a value out of range are errors that name it.
func DecodeArgs(obj runtime.Object) (Args, error) {
	a := Args{Mode: "decide", Usage: defaultUsage(), KeepDecisions: 128, ExplainCandidates: 5}
	if err := decode(Name, obj, &a); err != nil {
		return Args{}, err
	}
	return a, nil
}

func (a *Args) validate() error {
	if a.Mode != "decide" && a.Mode != "shadow" {
		return fmt.Errorf("mode is %q: want decide or shadow", a.Mode)
	}
	if err := a.Usage.validate(); err != nil {
		return err
	}
	if a.KeepDecisions < 0 || a.KeepDecisions > 10000 {
		return fmt.Errorf("keepDecisions is %d: want 0 to 10000", a.KeepDecisions)
	}
	if a.KeepDecisions == 0 && (a.Events || a.Annotate) {
		return fmt.Errorf("keepDecisions is 0: events and annotate want 1 or more, to tell of")
	}
	if a.ExplainCandidates < 1 || a.ExplainCandidates > 100 {
		return fmt.Errorf("explainCandidates is %d: want 1 to 100", a.ExplainCandidates)
	}
	if a.KeepDecisions*a.ExplainCandidates > maxKept {
		return errKept(a.KeepDecisions, a.ExplainCandidates)
	}
	return nil
}
