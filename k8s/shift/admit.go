package shift

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
)

// Admit is a validating webhook for pods, Jobs and CronJobs: where a namespace's budget is used up it denies new shifted work if the policy
// says "refuse", and else admits it with a warning that tells what will happen to it. What it cannot tell it admits. Work that was admitted is
// never refused later, nor is what a controller makes of it: the pods of a Job, the Jobs of a CronJob. It needs no leadership and waits for no
// round, so that every replica may serve it.
func (c *Controller) Admit(ctx context.Context, r admission.Request) admission.Response {
	if r.Operation != "CREATE" {
		return admission.Allowed("")
	}
	var o struct {
		Metadata struct {
			Labels map[string]string       `json:"labels"`
			Owners []metav1.OwnerReference `json:"ownerReferences"`
		} `json:"metadata"`
		Spec struct {
			Gates []v1.PodSchedulingGate `json:"schedulingGates"`
		} `json:"spec"`
	}
	if err := json.Unmarshal(r.Object.Raw, &o); err != nil {
		return admission.Errored(http.StatusBadRequest, err)
	}
	ours := o.Metadata.Labels[Label] == "true" && r.Kind.Kind != "Pod" // a pod is shifted by its gate
	for _, g := range o.Spec.Gates {
		ours = ours || g.Name == Gate
	}
	if !ours {
		return admission.Allowed("")
	}
	policies, err := c.current()
	if err != nil {
		c.opts.Logger.Warn("policies, when asked to admit", "error", err)
	}
	p := policies.Of(r.Namespace)
	if p.Budget == nil || *p.DryRun {
		return admission.Allowed("")
	}
	l, err := readLedger(ctx, c.opts.Reader, r.Namespace, c.now())
	if err != nil {
		return admission.Allowed("").WithWarnings("the budget could not be read: " + err.Error())
	}
	if !l.spent(p.Budget) {
		c.metrics.admission(r.Namespace, "admitted")
		return admission.Allowed("")
	}
	what := fmt.Sprintf("namespace %q has used up the day's budget (%s)", r.Namespace, l)
	owned := slices.ContainsFunc(o.Metadata.Owners, func(x metav1.OwnerReference) bool { return x.Controller != nil && *x.Controller })
	switch {
	case p.Budget.Over == Refuse && !owned:
		c.metrics.admission(r.Namespace, "refused")
		return admission.Denied(what + ": try again tomorrow (UTC)")
	case p.Budget.Over == Warn:
		what += ": it will be started all the same"
	default:
		what += ": it will be held until tomorrow (UTC), or its latest start"
	}
	c.metrics.admission(r.Namespace, "warned")
	return admission.Allowed("").WithWarnings(what)
}
