package controllers

import (
	"context"
	"errors"

	"k8s.io/apimachinery/pkg/api/equality"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
)

// A ModelSource is PowerModels that another system's objects stand for.
type ModelSource interface {
	// Name is what [MadeBy] says of them.
	Name() string

	// PowerModels returns all of them, with name and spec, which are not to be changed. An error leaves those that there are.
	PowerModels(ctx context.Context) ([]v1alpha1.PowerModel, error)
}

// foreign makes the cluster's PowerModels those of other systems' objects. Models that somebody else made stay.
func (s *sweeper) foreign(ctx context.Context) error {
	var errs []error
	for _, m := range s.models {
		list, err := m.PowerModels(ctx)
		again := err == nil && !s.read[m.Name()] // as a maker of profiles it may have had nothing to say until now
		s.read[m.Name()] = err == nil
		if err == nil {
			err = s.keep(ctx, m.Name(), list)
		}
		if again {
			askAgain(s.again)
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (s *sweeper) keep(ctx context.Context, by string, list []v1alpha1.PowerModel) error {
	var there v1alpha1.PowerModelList
	if err := s.client.List(ctx, &there, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	have := make(map[string]*v1alpha1.PowerModel)
	for i := range there.Items {
		have[there.Items[i].Name] = &there.Items[i]
	}
	var errs []error
	wrote := false
	wanted := make(map[string]bool)
	for i := range list {
		m := &list[i]
		wanted[m.Name] = true
		switch old := have[m.Name]; {
		case old == nil:
			wrote = true
			fresh := &v1alpha1.PowerModel{Spec: *m.Spec.DeepCopy()}
			fresh.Name, fresh.Annotations = m.Name, map[string]string{MadeBy: by}
			if err := s.client.Create(ctx, fresh); !apierrors.IsAlreadyExists(err) {
				errs = append(errs, err)
			}
		case old.Annotations[MadeBy] == by && !equality.Semantic.DeepEqual(old.Spec, m.Spec):
			wrote = true
			now := old.DeepCopy()
			m.Spec.DeepCopyInto(&now.Spec)
			if err := s.client.Update(ctx, now); !apierrors.IsConflict(err) {
				errs = append(errs, err)
			}
		}
	}
	for name, old := range have {
		if old.Annotations[MadeBy] == by && !wanted[name] && old.DeletionTimestamp == nil {
			wrote = true
			errs = append(errs, client.IgnoreNotFound(s.client.Delete(ctx, old.DeepCopy())))
		}
	}
	if wrote { // a source may be a maker of profiles too
		askAgain(s.again)
	}
	return errors.Join(errs...)
}
