package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
)

// MadeBy, an annotation of a NodeProfile, says what it was made from: "NodeProfileTemplate/NAME", or an object of
// another system. A profile without it is its author's: no controller changes it. Taking the annotation and the owner
// reference away makes a profile one's own.
const MadeBy = "leastwatt.github.io/made-by"

// MadeLabels, an annotation of a NodeProfile, is the names of the labels that a template put on it, divided by commas: they go when the
// template has them no more. Labels that others put on it stay.
const MadeLabels = "leastwatt.github.io/made-labels"

// A Wanted is the profile that something in the cluster asks for of a node.
type Wanted struct {
	By      string // what asks, as in [MadeBy]
	Owner   *metav1.OwnerReference
	Profile v1alpha1.ProfileTemplate
	Err     error // why there is no profile; it stands in the way of what comes after
	Lacks   error // what is asked for beside and cannot be had; the profile is made without it
}

// A Maker asks for profiles of nodes. Want returns nil where it asks for none.
type Maker interface {
	Want(ctx context.Context, c client.Reader, n *v1.Node) (*Wanted, error)
}

// templates is the maker of NodeProfileTemplates.
type templates struct{}

// Want implements [Maker]: the template of the highest priority that fits, the first by name among equals.
func (templates) Want(ctx context.Context, c client.Reader, n *v1.Node) (*Wanted, error) {
	var list v1alpha1.NodeProfileTemplateList
	if err := c.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return nil, err
	}
	var best *v1alpha1.NodeProfileTemplate
	var unreadable error // the selector of the best
	for i := range list.Items {
		t := &list.Items[i]
		if t.DeletionTimestamp != nil {
			continue
		}
		s, wrong := selector(t)
		fits := wrong == nil && s.Matches(labels.Set(n.Labels))
		if wrong != nil { // it may have fitted before somebody mistyped it
			var err error
			if fits, err = Made(ctx, c, byTemplate(t), n); err != nil {
				return nil, err
			}
		}
		if fits && (best == nil || cmp.Or(cmp.Compare(t.Spec.Priority, best.Spec.Priority), strings.Compare(best.Name, t.Name)) > 0) {
			best, unreadable = t, wrong
		}
	}
	if best == nil {
		return nil, nil
	}
	w := &Wanted{By: byTemplate(best), Owner: metav1.NewControllerRef(best, v1alpha1.SchemeGroupVersion.WithKind("NodeProfileTemplate")), Err: unreadable}
	if unreadable == nil {
		w.Profile, w.Err = Render(&best.Spec.Template, n)
	}
	return w, nil
}

func byTemplate(t *v1alpha1.NodeProfileTemplate) string { return "NodeProfileTemplate/" + t.Name }

// selector returns what chooses a template's nodes.
func selector(t *v1alpha1.NodeProfileTemplate) (labels.Selector, error) {
	s, err := metav1.LabelSelectorAsSelector(&t.Spec.NodeSelector)
	if err != nil {
		return nil, fmt.Errorf("spec.nodeSelector: %w", err)
	}
	return s, nil
}

// Made tells whether the profile that a node has was made by something, as [MadeBy] says it.
func Made(ctx context.Context, c client.Reader, by string, n *v1.Node) (bool, error) {
	var have v1alpha1.NodeProfile
	if err := c.Get(ctx, types.NamespacedName{Name: n.Name}, &have); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return have.Annotations[MadeBy] == by, nil
}

// ErrTaken says that a node has a profile that somebody else made.
var ErrTaken = errors.New("has a NodeProfile that is not ours, which stays as it is")

// profiler reconciles the profile of one node, which the request names.
type profiler struct {
	client   client.Client
	makers   []Maker
	problems *problems
	count    func(action string)

	mu      sync.Mutex
	written map[string]write // guarded by mu: by node
}

// A write is the last profile that was written of a node.
type write struct {
	profile v1alpha1.ProfileTemplate
	at      time.Time
	again   int // how often it had to be written although we had
}

// Reconcile implements reconcile.Reconciler.
func (r *profiler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	r.count("look")
	res, err := r.reconcile(ctx, req.Name)
	if apierrors.IsConflict(err) || apierrors.IsAlreadyExists(err) { // our cache is behind: look again when it is not
		return ctrl.Result{RequeueAfter: 50*time.Millisecond + rand.N(100*time.Millisecond)}, nil
	}
	if err = client.IgnoreNotFound(err); err != nil {
		r.count("error")
	}
	return res, err
}

func (r *profiler) reconcile(ctx context.Context, node string) (ctrl.Result, error) {
	w, err := r.want(ctx, node)
	if err != nil {
		return ctrl.Result{}, err
	}
	var have *v1alpha1.NodeProfile
	got := new(v1alpha1.NodeProfile)
	if err := r.client.Get(ctx, types.NamespacedName{Name: node}, got); err == nil {
		have = got
	} else if !apierrors.IsNotFound(err) {
		return ctrl.Result{}, err
	}
	ours := have != nil && have.Annotations[MadeBy] != ""
	switch {
	case w == nil && ours:
		r.problems.set(node, "", nil)
		r.forget(node)
		if have.DeletionTimestamp != nil {
			return ctrl.Result{}, nil
		}
		r.count("delete")
		return ctrl.Result{}, r.client.Delete(ctx, have, client.Preconditions{UID: &have.UID, ResourceVersion: &have.ResourceVersion})
	case w == nil:
		r.problems.set(node, "", nil)
		r.forget(node)
		return ctrl.Result{}, nil
	case have != nil && !ours:
		r.problems.set(node, w.By, ErrTaken)
		return ctrl.Result{}, nil
	case w.Err != nil: // what there is stays: it worked once
		r.problems.set(node, w.By, w.Err)
		return ctrl.Result{}, nil
	case have == nil:
		return r.create(ctx, node, w)
	}
	return r.update(ctx, have, w)
}

// want asks the makers in their order; the first that wants a profile counts. A node that is gone has none.
func (r *profiler) want(ctx context.Context, node string) (*Wanted, error) {
	n := new(v1.Node)
	if err := r.client.Get(ctx, types.NamespacedName{Name: node}, n); err != nil {
		return nil, client.IgnoreNotFound(err)
	}
	if n.DeletionTimestamp != nil {
		return nil, nil
	}
	for _, m := range r.makers {
		if w, err := m.Want(ctx, r.client, n); w != nil || err != nil {
			return w, err
		}
	}
	return nil, nil
}

func (w *Wanted) put(n *v1alpha1.NodeProfile) {
	if n.Annotations == nil {
		n.Annotations = make(map[string]string)
	}
	n.Annotations[MadeBy] = w.By
	for name := range strings.SplitSeq(n.Annotations[MadeLabels], ",") {
		delete(n.Labels, name)
	}
	delete(n.Annotations, MadeLabels)
	if len(w.Profile.Labels) > 0 {
		if n.Labels == nil {
			n.Labels = make(map[string]string)
		}
		maps.Copy(n.Labels, w.Profile.Labels)
		n.Annotations[MadeLabels] = strings.Join(slices.Sorted(maps.Keys(w.Profile.Labels)), ",")
	}
	n.OwnerReferences = slices.DeleteFunc(n.OwnerReferences, func(o metav1.OwnerReference) bool { return o.Controller != nil && *o.Controller })
	if w.Owner != nil {
		n.OwnerReferences = append(n.OwnerReferences, *w.Owner)
	}
	w.Profile.Spec.DeepCopyInto(&n.Spec)
}

func (r *profiler) create(ctx context.Context, node string, w *Wanted) (ctrl.Result, error) {
	if wait := r.patience(node, w); wait > 0 {
		r.problems.set(node, w.By, errors.New("something else removes the NodeProfile again and again"))
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	n := &v1alpha1.NodeProfile{}
	n.Name = node
	w.put(n)
	r.count("create")
	return ctrl.Result{}, r.wrote(node, w, r.client.Create(ctx, n))
}

func (r *profiler) update(ctx context.Context, have *v1alpha1.NodeProfile, w *Wanted) (ctrl.Result, error) {
	n := have.DeepCopy()
	w.put(n)
	if equality.Semantic.DeepEqual(n, have) {
		r.problems.set(n.Name, w.By, w.Lacks)
		return ctrl.Result{}, nil
	}
	if wait := r.patience(n.Name, w); wait > 0 {
		r.problems.set(n.Name, w.By, errors.New("something else changes the NodeProfile again and again"))
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	r.count("update")
	return ctrl.Result{}, r.wrote(n.Name, w, r.client.Update(ctx, n))
}

// patience returns how long to wait before what was written is written again: somebody else may want it otherwise,
// and two that write in turn would never end.
func (r *profiler) patience(node string, w *Wanted) time.Duration {
	r.mu.Lock()
	defer r.mu.Unlock()
	last, ok := r.written[node]
	if !ok || !equality.Semantic.DeepEqual(last.profile, w.Profile) {
		return 0
	}
	wait := time.Second << min(last.again, 9)
	return max(0, wait-time.Since(last.at))
}

func (r *profiler) wrote(node string, w *Wanted, err error) error {
	if apierrors.IsInvalid(err) { // trying again would not help
		r.problems.set(node, w.By, fmt.Errorf("the API server refuses what it makes: %w", err))
		return nil
	}
	if err != nil {
		return err
	}
	r.problems.set(node, w.By, w.Lacks)
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.written == nil {
		r.written = make(map[string]write)
	}
	last, ok := r.written[node]
	again := 0
	if ok && equality.Semantic.DeepEqual(last.profile, w.Profile) {
		again = last.again + 1
	}
	r.written[node] = write{profile: w.Profile, at: time.Now(), again: again}
	return nil
}

func (r *profiler) forget(node string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.written, node)
}
