package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// An intensityMap tells others the forecast of a zone, in the ConfigMap of Azure's carbon intensity exporter.
type intensityMap struct {
	zone, object string
	every        time.Duration

	source grid.Source
	last   []grid.Point // of the last answer
}

// add has the manager's leader write it.
func (t *intensityMap) add(m ctrl.Manager, source grid.Source, log *slog.Logger, now func() time.Time) error {
	if namespace, name, ok := strings.Cut(t.object, "/"); !ok || namespace == "" || name == "" {
		return fmt.Errorf("-tell-configmap %q: want NAMESPACE/NAME", t.object)
	}
	if t.every = cmp.Or(t.every, 15*time.Minute); t.every < 0 || source == nil {
		return fmt.Errorf("-tell-zone %s: want a source (-grid), and an interval above 0", t.zone)
	}
	t.source = source
	if now == nil {
		now = time.Now
	}
	return m.Add(manager.RunnableFunc(func(ctx context.Context) error {
		tick := time.NewTicker(t.every)
		defer tick.Stop()
		for {
			if err := t.write(ctx, m.GetClient(), m.GetAPIReader(), now()); err != nil && ctx.Err() == nil {
				log.Warn("telling the intensity", "error", err)
			}
			select {
			case <-ctx.Done():
				return nil
			case <-tick.C:
			}
		}
	}))
}

// write asks the source and replaces the ConfigMap, which is immutable as the exporter's is. Of an outage it keeps the last points, as far as they reach, and
// tells it.
func (t *intensityMap) write(ctx context.Context, c client.Client, r client.Reader, now time.Time) error {
	const ahead, piece = 24 * time.Hour, 5 * time.Minute // as the exporter
	asking, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	points, asked := grid.Forecast(asking, t.source, t.zone, now.Truncate(piece), now.Add(ahead))
	message := ""
	if asked != nil || len(points) == 0 {
		points, message = t.last, "the forecast is old: the provider did not answer"
		asked = cmp.Or(asked, grid.ErrUnknown)
	}
	t.last = points
	cut, err := grid.Split(points, piece)
	if err != nil {
		return errors.Join(asked, err)
	}
	for len(cut) > 0 && !cut[0].End.After(now) {
		cut = cut[1:]
	}
	data, binary, err := grid.ConfigMap(cut, message, now)
	if err != nil {
		return errors.Join(asked, err)
	}
	namespace, name, _ := strings.Cut(t.object, "/")
	next := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}, Data: data, BinaryData: binary, Immutable: new(true)}
	var old v1.ConfigMap
	switch err := r.Get(ctx, client.ObjectKeyFromObject(next), &old); {
	case apierrors.IsNotFound(err):
	case err != nil:
		return errors.Join(asked, err)
	default:
		if err := c.Delete(ctx, &old, client.Preconditions{UID: &old.UID}); client.IgnoreNotFound(err) != nil {
			return errors.Join(asked, err)
		}
	}
	return errors.Join(asked, c.Create(ctx, next))
}
