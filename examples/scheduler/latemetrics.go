package main

import (
	"context"
	"sync"

	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	"github.com/leastwatt/leastwatt/sensors"
)

// lateMetrics is metrics.k8s.io behind the client that is known later.
type lateMetrics struct {
	kube *kube
	mu   sync.Mutex
	from *metricsserver.Source // guarded by mu: nil before the first read
}

// String names the source.
func (*lateMetrics) String() string { return "metrics.k8s.io" }

func (l *lateMetrics) source(ctx context.Context) (*metricsserver.Source, error) {
	c, err := l.kube.wait(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.from == nil {
		if l.from, err = metricsserver.New(c, metricsserver.Options{}); err != nil {
			return nil, err
		}
	}
	return l.from, nil
}

// Read implements [sensors.SensorSource].
func (l *lateMetrics) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	s, err := l.source(ctx)
	if err != nil {
		return nil, &sensors.Error{Source: l.String(), Node: node, Err: err}
	}
	return s.Read(ctx, node)
}

// ReadAll implements [sensors.BatchSource].
func (l *lateMetrics) ReadAll(ctx context.Context, nodes []string) (map[string][]sensors.Reading, map[string]error) {
	s, err := l.source(ctx)
	if err != nil {
		errs := make(map[string]error, len(nodes))
		for _, n := range nodes {
			errs[n] = &sensors.Error{Source: l.String(), Node: n, Err: err}
		}
		return nil, errs
	}
	return s.ReadAll(ctx, nodes)
}
