package main

import (
	"context"
	"errors"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	clusterprofiles "github.com/leastwatt/leastwatt/k8s/profiles"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
	"github.com/leastwatt/leastwatt/sensors"
	sensorsconfig "github.com/leastwatt/leastwatt/sensors/config"
)

// profileOptions say how the cluster's NodeProfiles and PowerModels are used.
type profileOptions struct {
	use           bool
	namespace     string
	metricsServer bool
	kube          kube

	opened []opened // what the plugins were given, one after the other
}

// An opened is a file and its site, which is one of both.
type opened struct {
	config   *config.Config
	site     *scoring.Site
	profiles *clusterprofiles.Provider
}

// kube is the client configuration that the scheduler has, which is known after its plugins were made.
type kube struct {
	ready  chan struct{}
	config *rest.Config // to be read after ready
}

func (k *kube) set(c *rest.Config) {
	k.config = c
	close(k.ready)
}

func (k *kube) wait(ctx context.Context) (*rest.Config, error) {
	select {
	case <-k.ready:
		return k.config, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// A clusterSite is a provider that follows the cluster while it runs.
type clusterSite struct {
	*clusterprofiles.Provider
	kube *kube
}

// newSite returns a site of the cluster's NodeProfiles and PowerModels, and of a file for what they do not say; nil is
// no file. The provider with, where it is one, reads the sensors.
func (o *profileOptions) newSite(c *config.Config, log *slog.Logger, r prometheus.Registerer, with *clusterprofiles.Provider) (*clusterSite, error) {
	p := clusterprofiles.Options{Config: c, With: with, Logger: log, Registerer: r, Types: []sensorsconfig.Type{metricsserver.Type(cluster)}}
	if o.namespace != "" {
		p.Secrets = later{o}
	}
	if o.metricsServer {
		p.Sources = []sensors.SensorSource{&lateMetrics{kube: &o.kube}}
	}
	provider, err := clusterprofiles.New(p)
	if err != nil {
		return nil, err
	}
	return &clusterSite{provider, &o.kube}, nil
}

// Run implements the plugin's Site.
func (s *clusterSite) Run(ctx context.Context) error {
	c, err := s.kube.wait(ctx)
	if err != nil {
		return nil // it ended before it began
	}
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return err
	}
	objects, err := cache.New(c, cache.Options{Scheme: scheme, DefaultTransform: clusterprofiles.Slim})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	followed, ended := make(chan struct{}), make(chan error, 1)
	go func() {
		defer close(followed)
		s.FollowLater(ctx, objects)
	}()
	go func() { ended <- objects.Start(ctx) }()
	err = s.Provider.Run(ctx)
	cancel()
	<-followed
	return errors.Join(err, <-ended)
}

// later reads Secrets with the client that is known later.
type later struct{ *profileOptions }

// Secret implements [clusterprofiles.Secrets].
func (l later) Secret(ctx context.Context, name string) (*v1.Secret, error) {
	c, err := l.kube.wait(ctx)
	if err != nil {
		return nil, err
	}
	client, err := kubernetes.NewForConfig(c)
	if err != nil {
		return nil, err
	}
	return clusterprofiles.SecretsOf(client, l.namespace).Secret(ctx, name)
}
