package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/k8s/metrics"
	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	"github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
	"github.com/leastwatt/leastwatt/sensors/kepler"
)

// A site is the cluster's servers, and what keeps them current until ctx ends.
type site struct {
	metrics.Site
	run   func(ctx context.Context) error
	ready func() error // nil is always
}

// newSite returns a site of a file, of the cluster's NodeProfiles and PowerModels, or of both; a nil c is no file.
func (f *flags) newSite(c *config.Config, cluster *rest.Config, pods *kepler.Pods) (*site, error) {
	client, err := kubernetes.NewForConfig(cluster)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	log := slog.New(logr.ToSlogHandler(klog.Background()))
	types := []sensorsconfig.Type{metricsserver.Type(func() (*rest.Config, error) { return cluster, nil })}
	if !f.profiles {
		s, err := c.NewSite(config.SiteOptions{Logger: log, Registerer: legacyregistry.Registerer(), Pods: pods, Types: types})
		if err != nil {
			return nil, err
		}
		return &site{Site: s, run: func(ctx context.Context) error {
			return together(ctx, s.Run, func(ctx context.Context) error { return endpoints.WatchNodes(ctx, client, s) })
		}}, nil
	}
	o := profiles.Options{Config: c, Logger: log, Registerer: legacyregistry.Registerer(), Pods: pods, Types: types}
	if f.namespace != "" {
		o.Secrets = profiles.SecretsOf(client, f.namespace)
	}
	if f.metricsServer {
		s, err := metricsserver.New(cluster, metricsserver.Options{})
		if err != nil {
			return nil, err
		}
		o.Sources = []sensors.SensorSource{s}
	}
	p, err := profiles.New(o)
	if err != nil {
		return nil, err
	}
	out := &site{Site: p, run: func(ctx context.Context) error { return follow(ctx, cluster, p) }}
	if c == nil { // without profiles there is nothing to tell
		out.ready = p.Followed
	}
	return out, nil
}

// follow runs a provider that follows the cluster's nodes, and its NodeProfiles and PowerModels once it has such resources.
func follow(ctx context.Context, cluster *rest.Config, p *profiles.Provider) error {
	scheme := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(scheme); err != nil {
		return err
	}
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	objects, err := cache.New(cluster, cache.Options{Scheme: scheme, DefaultTransform: profiles.Slim})
	if err != nil {
		return err
	}
	if err := p.FollowNodes(ctx, objects); err != nil {
		return err
	}
	return together(ctx, objects.Start, p.Run, func(ctx context.Context) error {
		p.FollowLater(ctx, objects)
		return nil
	})
}

// together runs functions until ctx ends or one of them does, and returns the first error after all have ended.
func together(ctx context.Context, all ...func(context.Context) error) error {
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	errs := make(chan error, len(all))
	for _, f := range all {
		wg.Go(func() {
			defer cancel()
			if err := f(inner); err != nil && ctx.Err() == nil {
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	return <-errs
}
