package scheduler

import (
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"
)

// CapArgs are the arguments of the plugin PowerCap.
type CapArgs struct {
	// Config is the path of the file that describes sensors and models. Default: the one that the
	// program was started with.
	Config string `json:"config"`

	// Caps are the limits, all of which hold. At least one.
	Caps []Cap `json:"caps"`

	// Unknown is "allow", the default, or "reject": whether a pod may go to a node of which too little is known, or
	// into a group that has such a node. Allowed, an unknown node counts with what was measured of its power
	// last, and with nothing where that is not known either: a cap then holds for what is known.
	Unknown string `json:"unknown"`

	// Retry is how often pods that were rejected are tried again although no event of the cluster
	// suggests it, because power follows load: a duration of 1s or more. Default "15s".
	Retry string `json:"retry"`

	Usage

	retry time.Duration
}

// A Cap is a limit of the power that nodes, or groups of nodes, are predicted to draw.
type Cap struct {
	// Name is what explanations call it, such as "pdu". Required.
	Name string `json:"name"`

	// Label is the node label whose value names the group: a rack, a PDU, a breaker. Nodes without it are not
	// limited. Default "": each node is a group of its own.
	Label string `json:"label"`

	// NodeLabels are labels that the nodes have which the cap is about. Default: all nodes.
	NodeLabels map[string]string `json:"nodeLabels"`

	// Watts is the limit of a group, more than 0. Default 0: only the groups that are listed are limited.
	Watts float64 `json:"watts"`

	// Groups are limits of single groups (or nodes, by name), more than 0.
	Groups map[string]float64 `json:"groups"`
}

// DecodeCapArgs returns the arguments of a profile, as strictly as [DecodeArgs].
func DecodeCapArgs(obj runtime.Object) (CapArgs, error) {
	a := CapArgs{Unknown: "allow", Retry: "15s", Usage: defaultUsage()}
	if err := decode(CapName, obj, &a); err != nil {
		return CapArgs{}, err
	}
	return a, nil
}

func (a *CapArgs) validate() error {
	if err := a.Usage.validate(); err != nil {
		return err
	}
	if a.Unknown != "allow" && a.Unknown != "reject" {
		return fmt.Errorf("unknown is %q: want allow or reject", a.Unknown)
	}
	var err error
	if a.retry, err = time.ParseDuration(a.Retry); err != nil || a.retry < time.Second {
		return fmt.Errorf("retry is %q: want a duration of 1s or more", a.Retry)
	}
	if len(a.Caps) == 0 {
		return fmt.Errorf("caps is empty: want a limit, or leave the plugin out")
	}
	for i := range a.Caps {
		c := &a.Caps[i]
		fail := func(field, format string, args ...any) error {
			return fmt.Errorf("caps[%d].%s %w", i, field, fmt.Errorf(format, args...))
		}
		if c.Name == "" {
			return fail("name", "is missing")
		}
		if c.Label != "" {
			if wrong := validation.IsQualifiedName(c.Label); len(wrong) > 0 {
				return fail("label", "is %q: %s", c.Label, wrong[0])
			}
		}
		if !(c.Watts >= 0 && c.Watts <= 1e9) || c.Watts == 0 && len(c.Groups) == 0 {
			return fail("watts", "is %v: want more than 0, or groups", c.Watts)
		}
		for k, v := range c.NodeLabels {
			if wrong := append(validation.IsQualifiedName(k), validation.IsValidLabelValue(v)...); len(wrong) > 0 {
				return fail("nodeLabels", "has %q: %q, which no node has: %s", k, v, wrong[0])
			}
		}
		for g, w := range c.Groups {
			if g == "" {
				return fail("groups", "has one without a name: want a value of the label, or the name of a node")
			}
			if !(w > 0 && w <= 1e9) {
				return fail("groups", "of %q is %v: want more than 0", g, w)
			}
		}
	}
	return nil
}
