package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/scoring"
)

// gateway writes the weights of annotated HTTPRoutes until ctx ends, while it holds the lease.
func gateway(ctx context.Context, f proxyFlags, weigher balancing.Weigher, rest *rest.Config, client *cluster, view func() *scoring.View, registry prometheus.Registerer, log *slog.Logger) error {
	dyn, err := dynamic.NewForConfig(rest)
	if err != nil {
		return fmt.Errorf("reach the cluster: %w", err)
	}
	broadcaster := events.NewBroadcaster(&events.EventSinkImpl{Interface: client.events})
	defer broadcaster.Shutdown()
	if err := broadcaster.StartRecordingToSinkWithContext(ctx); err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	o := endpoints.RouteOptions{View: view, Weigher: weigher, Refresh: f.refresh, Registerer: registry, Log: log, Events: broadcaster.NewRecorder(scheme.Scheme, "leastwatt-endpoint-selector")}
	routes, err := endpoints.NewRoutes(dyn, o)
	if err != nil {
		return err
	}
	id, err := os.Hostname()
	if err != nil {
		return err
	}
	id = fmt.Sprintf("%s-%d", id, os.Getpid())
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	defer wg.Wait()
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: &resourcelock.LeaseLock{LeaseMeta: metav1.ObjectMeta{Name: f.lease, Namespace: f.namespace}, Client: client.coordination,
			LockConfig: resourcelock.ResourceLockConfig{Identity: id}},
		LeaseDuration: 15 * time.Second, RenewDeadline: 10 * time.Second, RetryPeriod: 2 * time.Second, ReleaseOnCancel: true, Name: f.lease,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(ctx context.Context) { wg.Go(func() { _ = routes.Run(ctx, client) }) },
			OnStoppedLeading: func() {},
		},
	})
	if err != nil {
		return fmt.Errorf("lease %s/%s: %w", f.namespace, f.lease, err)
	}
	elector.Run(ctx)
	if ctx.Err() == nil {
		return errors.New("the lease is lost: ending, so that another process or a restart takes over")
	}
	return nil
}
