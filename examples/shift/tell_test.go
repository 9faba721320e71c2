package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// flaky is a valley whose provider is away where told.
type flaky struct {
	valley
	away atomic.Bool
}

func (f *flaky) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if f.away.Load() {
		return nil, errors.New("connection refused")
	}
	return f.valley.Forecast(ctx, zone, from, until)
}

// told looks that others are told the forecast in the exporter's ConfigMap, anew at an interval, and of an outage the last one.
func told(ctx context.Context, t *testing.T, config *rest.Config, client kubernetes.Interface, began time.Time) error {
	if _, err := client.RbacV1().Roles(grid.ConfigMapNamespace).Create(ctx, &rbacv1.Role{ObjectMeta: metav1.ObjectMeta{Name: "shift-tells"}, Rules: []rbacv1.PolicyRule{
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, Verbs: []string{"create"}},
		{APIGroups: []string{""}, Resources: []string{"configmaps"}, ResourceNames: []string{grid.ConfigMapName}, Verbs: []string{"get", "delete"}}}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	if _, err := client.RbacV1().RoleBindings(grid.ConfigMapNamespace).Create(ctx, &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{Name: "shift-tells"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: "shift-tells"},
		Subjects: []rbacv1.Subject{{Kind: "User", APIGroup: rbacv1.GroupName, Name: "shift"}}}, metav1.CreateOptions{}); err != nil {
		return err
	}
	began = began.Truncate(time.Hour) // pieces of five minutes
	source := &flaky{valley: valley{began: began}}
	at := &clock{now: began.Add(9*time.Hour + 58*time.Minute)}
	o := &options{source: source, now: at.read, interval: time.Minute, metricsAddr: "0", healthAddr: "0", registered: true,
		tells: intensityMap{zone: "DE", object: grid.ConfigMapNamespace + "/" + grid.ConfigMapName, every: 100 * time.Millisecond}}
	ctx, cancel := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() {
		if err := run(ctx, o, user(config), slog.New(slog.DiscardHandler)); err != nil && ctx.Err() == nil {
			t.Errorf("controller: %v", err)
		}
	})
	type datum struct {
		Location  string
		Timestamp time.Time
		Duration  int
		Value     float64
	}
	var first []datum
	if err := until(ctx, func() (bool, error) {
		m, err := client.CoreV1().ConfigMaps(grid.ConfigMapNamespace).Get(ctx, grid.ConfigMapName, metav1.GetOptions{})
		if err != nil {
			return false, nil //nolint:nilerr // not yet, or just being replaced
		}
		if n, err := strconv.Atoi(m.Data["numOfRecords"]); err != nil || n < 24*12 || m.Data["message"] != "" || m.Immutable == nil || !*m.Immutable {
			t.Errorf("data %v, immutable %v", m.Data, m.Immutable)
		}
		return true, json.Unmarshal(m.BinaryData["data"], &first)
	}); err != nil {
		return fmt.Errorf("waiting for the ConfigMap: %w", err)
	}
	now := at.read()
	if d := first[0]; d.Location != "DE" || d.Duration != 5 || d.Value != 300 || d.Timestamp.After(now) || !d.Timestamp.Add(5*time.Minute).After(now) {
		t.Errorf("the first of %d points is %+v", len(first), d)
	}
	source.away.Store(true)
	at.set(now.Add(30 * time.Minute))
	if err := until(ctx, func() (bool, error) {
		m, err := client.CoreV1().ConfigMaps(grid.ConfigMapNamespace).Get(ctx, grid.ConfigMapName, metav1.GetOptions{})
		if err != nil || m.Data["message"] == "" {
			return false, nil //nolint:nilerr // not yet, or just being replaced
		}
		var list []datum
		if err := json.Unmarshal(m.BinaryData["data"], &list); err != nil {
			return false, err
		}
		if len(list) != len(first)-6 || list[0].Value != 100 {
			t.Errorf("during an outage: %d points, the first %+v; before there were %d", len(list), list[0], len(first))
		}
		return true, nil
	}); err != nil {
		return fmt.Errorf("waiting for the outage to be told: %w", err)
	}
	return nil
}
