package controllers

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
)

func (s *sweeper) powerModels(ctx context.Context) error {
	var list v1alpha1.PowerModelList
	if err := s.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	var changes []change
	reports := s.provider.Models()
	for i := range list.Items {
		old := &list.Items[i]
		r, ok := reports[old.Name]
		if !ok {
			continue
		}
		now := old.DeepCopy()
		now.Status.ObservedGeneration, now.Status.Model, now.Status.Nodes = old.Generation, r.Model, int32(r.Nodes)
		condition(&now.Status.Conditions, old.Generation, r.Err, "Readable", "Invalid")
		if r.Err == nil && len(r.Before) > 0 {
			fits := r.Nodes
			for _, n := range r.Before {
				fits += n
			}
			meta.FindStatusCondition(now.Status.Conditions, Ready).Message = cut(goBefore(fits, "have PowerModel", r.Before))
		}
		if !equality.Semantic.DeepEqual(old.Status, now.Status) {
			changes = append(changes, change{now, old.DeepCopy()})
		}
	}
	return s.write(ctx, changes)
}

func (s *sweeper) templates(ctx context.Context) error {
	var list v1alpha1.NodeProfileTemplateList
	if err := s.client.List(ctx, &list, client.UnsafeDisableDeepCopy); err != nil || len(list.Items) == 0 {
		return err
	}
	var nodes v1.NodeList
	var have v1alpha1.NodeProfileList
	if err := s.client.List(ctx, &nodes, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	if err := s.client.List(ctx, &have, client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	count := make(map[string]int32)
	made := make(map[string]string, len(have.Items)) // by node
	for i := range have.Items {
		by := have.Items[i].Annotations[MadeBy]
		made[have.Items[i].Name] = by
		count[by]++
	}
	var changes []change
	for i := range list.Items {
		old := &list.Items[i]
		now := old.DeepCopy()
		by := byTemplate(old)
		now.Status.ObservedGeneration, now.Status.Profiles, now.Status.Matching = old.Generation, count[by], 0
		others := make(map[string]int) // templates that go before it, and of how many of its nodes
		chosen, err := selector(old)
		if err == nil {
			for j := range nodes.Items {
				if !chosen.Matches(labels.Set(nodes.Items[j].Labels)) {
					continue
				}
				now.Status.Matching++
				if other := made[nodes.Items[j].Name]; other != by && kindOf(other) == kindOf(by) {
					others[other]++
				}
			}
			err = s.problems.of(by)
		}
		condition(&now.Status.Conditions, old.Generation, err, "Applied", "Failed")
		if err == nil && len(others) > 0 {
			meta.FindStatusCondition(now.Status.Conditions, Ready).Message = cut(goBefore(int(now.Status.Matching), "have the profile of", others))
		}
		if !equality.Semantic.DeepEqual(old.Status, now.Status) {
			changes = append(changes, change{now, old.DeepCopy()})
		}
	}
	return s.write(ctx, changes)
}

// goBefore tells which others have the nodes that something fits too.
func goBefore(fits int, have string, others map[string]int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "of %d nodes that fit, ", fits)
	for i, by := range slices.Sorted(maps.Keys(others)) {
		if i == 0 {
			fmt.Fprintf(&b, "%d %s %s", others[by], have, by)
		} else {
			fmt.Fprintf(&b, ", %d %s", others[by], by)
		}
	}
	return b.String()
}
