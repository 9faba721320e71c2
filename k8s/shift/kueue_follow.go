package shift

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// kinds are those of Kueue's that can be read, in the version that is read.
type kinds map[schema.GroupKind]schema.GroupVersionKind

// A follower keeps up with the versions in which the API server serves Kueue's kinds: Kueue may be installed, upgraded or removed while the
// program runs, and no other work waits for it.
type follower struct {
	discovery discovery.ServerResourcesInterface
	cache     cache.Cache
	watch     func(client.Object) error // has a round made when one of the kind changes
	read      *atomic.Pointer[kinds]
	every     time.Duration
	log       *slog.Logger

	old []schema.GroupVersionKind // no longer read, to be taken out of the cache
}

// patience is how long the objects of one kind are waited for. What may not be read never comes.
const patience = 30 * time.Second

// Start looks again and again, until ctx is done.
func (f *follower) Start(ctx context.Context) error {
	t := time.NewTicker(f.every)
	defer t.Stop()
	for {
		if err := f.look(ctx); err != nil && ctx.Err() == nil {
			f.log.Error("Kueue is not followed", "err", err)
		}
		select {
		case <-t.C:
		case <-ctx.Done():
			return nil
		}
	}
}

// look has read what is served now. While the API server does not tell, all stays as it is.
func (f *follower) look(ctx context.Context) error {
	var errs []error
	for _, version := range f.old { // a round that still read them has ended
		errs = append(errs, f.cache.RemoveInformer(ctx, object(version)))
	}
	f.old = nil
	want, err := f.served()
	if err != nil {
		return errors.Join(append(errs, err)...)
	}
	was := *f.read.Load()
	if maps.Equal(was, want) {
		return errors.Join(errs...)
	}
	now := make(kinds)
	for kind, version := range want {
		if was[kind] != version {
			if err := f.known(ctx, version); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", version, err))
				continue
			}
		}
		now[kind] = version
	}
	f.read.Store(&now)
	for kind, version := range now {
		if was[kind] != version {
			errs = append(errs, f.watch(object(version))) // makes a round at once, by what was stored
		}
	}
	for kind, version := range was {
		if now[kind] != version {
			f.old = append(f.old, version)
		}
	}
	if !maps.Equal(was, now) {
		f.log.Info("Kueue is followed", "workloads", now[workload].Version, "admissionChecks", now[check].Version)
	}
	return errors.Join(errs...)
}

// served returns the newest version known here in which each kind is served.
func (f *follower) served() (kinds, error) {
	all := make(kinds)
	for _, v := range kueueVersions {
		group := schema.GroupVersion{Group: kueueGroup, Version: v}
		list, err := f.discovery.ServerResourcesForGroupVersion(group.String())
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, r := range list.APIResources {
			kind := schema.GroupKind{Group: kueueGroup, Kind: r.Kind}
			if _, ok := all[kind]; !ok && (kind == workload || kind == check) {
				all[kind] = group.WithKind(r.Kind)
			}
		}
	}
	return all, nil
}

// known waits until the objects of a kind are in the cache.
func (f *follower) known(ctx context.Context, kind schema.GroupVersionKind) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	_, err := f.cache.GetInformer(ctx, object(kind))
	return err
}

func object(kind schema.GroupVersionKind) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	return o
}
