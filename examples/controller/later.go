package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/compat"
	"github.com/leastwatt/leastwatt/k8s/controllers"
)

// later adds the controllers as soon as the cluster has the resources that they are about and the program may read them: those may be
// installed after the program, as kubectl apply of the rendered chart may, and so may its rights. A group of WAO's that comes later still, or that the program may read only later, is read
// from then on.
type later struct {
	mapper meta.RESTMapper
	wao    *compat.WAO                                       // nil where WAO's objects are not read; its groups are set before add
	read   func(context.Context, ...controllers.Watch) error // tries to read objects, and returns why it cannot
	log    *slog.Logger
	add    func(context.Context) (*controllers.Added, error)

	refused map[schema.GroupVersion]string // what the log was told last of a group that cannot be read

	mu  sync.Mutex
	why error // guarded by mu: why it waits
}

func newLater(m meta.RESTMapper, wao *compat.WAO, read func(context.Context, ...controllers.Watch) error, log *slog.Logger, add func(context.Context) (*controllers.Added, error)) *later {
	return &later{mapper: m, wao: wao, read: read, log: log, add: add, refused: make(map[schema.GroupVersion]string), why: errors.New("the cluster's resources are not looked at yet")}
}

// again is how long to wait before the cluster is asked again for resources that it did not have, and further before it is asked for
// a group of WAO's while the other one is read, which most clusters never get, or one that it may not read.
const (
	again   = 5 * time.Second
	further = 20 * time.Second
)

// Start implements manager.Runnable.
func (l *later) Start(ctx context.Context) error {
	told := ""
	for {
		err := l.look(ctx)
		if err == nil {
			break
		}
		l.set(err)
		if text := err.Error(); text != told {
			told = text
			l.log.ErrorContext(ctx, "the controllers wait", "err", err)
		}
		if !pause(ctx, again) {
			return nil
		}
	}
	added, err := l.add(ctx)
	if err != nil {
		return err
	}
	l.set(nil)
	if l.wao == nil {
		return nil
	}
	return l.more(ctx, added)
}

// more reads the groups of WAO's that the cluster gets from now on.
func (l *later) more(ctx context.Context, added *controllers.Added) error {
	missing := slices.DeleteFunc(slices.Clone(compat.WAOGroups), func(g schema.GroupVersion) bool { return slices.Contains(l.wao.Groups, g) })
	for len(missing) > 0 && pause(ctx, further) {
		var still []schema.GroupVersion
		for _, g := range missing {
			if lacks, err := l.lacks(g, "NodeConfig", "NodeConfigTemplate"); lacks != "" || err != nil { // asked again
				still = append(still, g)
				continue
			}
			if !l.readable(ctx, g) {
				still = append(still, g)
				continue
			}
			err := added.Watch(ctx, func() { l.wao.Add(g) }, compat.WatchesOf(g)...)
			switch {
			case ctx.Err() != nil:
				return nil
			case err != nil:
				return err
			}
			l.log.InfoContext(ctx, "WAO's objects of one more group are read", "group", g.Group)
		}
		missing = still
	}
	return nil
}

// readable tells whether the objects of a group of WAO's can be read. Those that cannot stand in nobody's way, and the log says which right
// is missing: a controller that watched them would wait for them for ever, or end.
func (l *later) readable(ctx context.Context, g schema.GroupVersion) bool {
	err := l.read(ctx, compat.WatchesOf(g)...)
	if err == nil {
		return true
	}
	l.wao.Deny(g, err)
	if text := err.Error(); text != l.refused[g] && ctx.Err() == nil {
		l.refused[g] = text
		l.log.ErrorContext(ctx, "WAO's objects of a group cannot be read: profiles made of them stay as they are until they can", "group", g.Group, "err", err)
	}
	return false
}

// reader returns what tries to read objects as a cache does: it lists one of a kind, and begins to watch.
func reader(c client.WithWatch) func(context.Context, ...controllers.Watch) error {
	return func(ctx context.Context, all ...controllers.Watch) error {
		ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		var errs []error
		for _, w := range all {
			kind := w.Object.GetObjectKind().GroupVersionKind()
			list := new(unstructured.UnstructuredList)
			list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
			if err := c.List(ctx, list, client.Limit(1)); err != nil {
				errs = append(errs, err)
				continue
			}
			changes, err := c.Watch(ctx, list, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.GetResourceVersion()}})
			if err != nil {
				errs = append(errs, err)
				continue
			}
			changes.Stop()
		}
		return errors.Join(errs...)
	}
}

// pause waits, and returns false when ctx has ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: who waits to lead has its caches filled.
func (*later) NeedLeaderElection() bool { return false }

// ready is a check of readiness: it returns why the controllers wait, or nil.
func (l *later) ready(*http.Request) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.why
}

func (l *later) set(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.why = why
}

// own returns what the controllers go by whatever they are told.
func own() (all []controllers.Watch) {
	for _, kind := range []schema.GroupVersionKind{v1.SchemeGroupVersion.WithKind("Node"), v1alpha1.SchemeGroupVersion.WithKind("NodeProfile"),
		v1alpha1.SchemeGroupVersion.WithKind("NodeProfileTemplate"), v1alpha1.SchemeGroupVersion.WithKind("PowerModel")} {
		o := new(unstructured.Unstructured)
		o.SetGroupVersionKind(kind)
		all = append(all, controllers.Watch{Object: o})
	}
	return all
}

// look returns which resources the cluster lacks, or may not be read. Of WAO's groups one is enough, and those that there are and can be read count.
func (l *later) look(ctx context.Context) error {
	missing, err := l.lacks(v1alpha1.SchemeGroupVersion, "NodeProfile", "NodeProfileTemplate", "PowerModel")
	if err != nil {
		return err
	}
	if missing != "" {
		return fmt.Errorf("the cluster has no %s: install the CustomResourceDefinitions (k8s/chart/crds)", missing)
	}
	if err := l.read(ctx, own()...); err != nil { // a controller that watched them would wait for them for two minutes, and end
		return fmt.Errorf("what the controllers go by cannot be read, which needs list and watch (k8s/chart/templates/controller-rbac.yaml): %w", err)
	}
	if l.wao == nil {
		return nil
	}
	l.wao.Groups = nil // nobody reads them before add
	there := false
	for _, g := range compat.WAOGroups {
		if missing, err = l.lacks(g, "NodeConfig", "NodeConfigTemplate"); err != nil {
			return err
		}
		if missing != "" {
			continue
		}
		if there = true; l.readable(ctx, g) {
			l.wao.Groups = append(l.wao.Groups, g)
		}
	}
	if !there {
		return fmt.Errorf("--wao: the cluster has no NodeConfigs and NodeConfigTemplates of %s: install WAO's CustomResourceDefinitions, or leave the flag out", groups(compat.WAOGroups))
	}
	return nil
}

// lacks returns which kinds of a group the cluster does not have, for people to read.
func (l *later) lacks(g schema.GroupVersion, kinds ...string) (string, error) {
	var missing []string
	for _, k := range kinds {
		switch _, err := l.mapper.RESTMapping(g.WithKind(k).GroupKind(), g.Version); {
		case meta.IsNoMatchError(err):
			missing = append(missing, k+"s")
		case err != nil:
			return "", fmt.Errorf("ask the cluster for its resources: %w", err)
		}
	}
	if missing == nil {
		return "", nil
	}
	return strings.Join(missing, ", ") + " of " + g.String(), nil
}
