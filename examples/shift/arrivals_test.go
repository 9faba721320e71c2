package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
	"github.com/leastwatt/leastwatt/k8s/shift"
)

// arrivals has a controller write what it learns of the work that comes, and one that is started after it go on with that.
func arrivals(ctx context.Context, t *testing.T, cluster *controlplane.Cluster, client kubernetes.Interface, began time.Time) error {
	dir := t.TempDir()
	policies, file := filepath.Join(dir, "policies.yaml"), filepath.Join(dir, "arrivals.json")
	if err := os.WriteFile(policies, []byte("default: {zone: DE}\ncores: {DE: 50}\n"), 0o600); err != nil {
		return err
	}
	type memory struct {
		Until time.Time `json:"until"`
		Zones map[string]struct {
			Begun int64 `json:"begun"`
			Kinds []any `json:"kinds"`
		} `json:"zones"`
	}
	read := func() (m memory, err error) {
		text, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			return m, nil
		}
		if err != nil {
			return m, err
		}
		return m, json.Unmarshal(text, &m)
	}
	at := &clock{now: time.Now().UTC()}
	start := func() (stop func()) {
		ctx, cancel := context.WithCancel(ctx)
		var wg sync.WaitGroup
		wg.Go(func() {
			o := &options{source: &valley{began: began}, now: at.read, policies: policies, arrivals: file, interval: 50 * time.Millisecond, metricsAddr: "0", healthAddr: "0", registered: true}
			if err := run(ctx, o, user(cluster.RESTConfig()), slog.New(slog.DiscardHandler)); err != nil {
				t.Errorf("controller: %v", err)
			}
		})
		return func() { cancel(); wg.Wait() }
	}
	stop := start()
	defer func() { stop() }()
	if err := until(ctx, func() (bool, error) { m, err := read(); return m.Zones["DE"].Begun != 0, err }); err != nil {
		return fmt.Errorf("waiting for the first file: %w", err)
	}
	first, err := read()
	if err != nil {
		return err
	}
	// Kubernetes tells when an object came by full seconds, and what came before the controller is not counted.
	if err := until(ctx, func() (bool, error) { return time.Since(first.Until) > 2*time.Second, nil }); err != nil {
		return err
	}
	p := &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "lab", Name: "counted"}, Spec: v1.PodSpec{SchedulingGates: []v1.PodSchedulingGate{{Name: shift.Gate}}, Containers: []v1.Container{{Name: "c", Image: "none"}}}}
	if _, err := client.CoreV1().Pods("lab").Create(ctx, p, metav1.CreateOptions{}); err != nil {
		return err
	}
	if err := until(ctx, func() (bool, error) {
		p, err := client.CoreV1().Pods("lab").Get(ctx, "counted", metav1.GetOptions{})
		return err == nil && p.Annotations[shift.ReleaseByAnnotation] != "", err
	}); err != nil {
		return fmt.Errorf("waiting for the plan: %w", err)
	}
	at.set(at.read().Add(30 * time.Minute)) // the rest of a slot, which counts for none, and a whole one have passed
	if err := until(ctx, func() (bool, error) {
		m, err := read()
		return m.Until.After(first.Until) && len(m.Zones["DE"].Kinds) > 0, err
	}); err != nil {
		return fmt.Errorf("waiting for what came until the first whole slot had passed: %w", err)
	}
	stop()
	second, err := read()
	if err != nil {
		return err
	}
	at.set(at.read().Add(20 * time.Minute))
	stop = start()
	if err := until(ctx, func() (bool, error) { m, err := read(); return m.Until.After(second.Until), err }); err != nil {
		return fmt.Errorf("waiting for the file of the second controller: %w", err)
	}
	if m, err := read(); err != nil || m.Zones["DE"].Begun != first.Zones["DE"].Begun || len(m.Zones["DE"].Kinds) == 0 {
		t.Errorf("the second controller has learned anew: %+v after %+v, %v", m, second, err)
	}
	return nil
}
