package shift

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/discovery"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// api is an API server that serves Kueue in some versions, and a cache of what it serves.
type api struct {
	discovery.ServerResourcesInterface
	cache.Cache
	versions []string
	away     error
	denied   string // a kind that may not be read
	removed  []string
}

func (a *api) ServerResourcesForGroupVersion(group string) (*metav1.APIResourceList, error) {
	if a.away != nil {
		return nil, a.away
	}
	if _, version, _ := strings.Cut(group, "/"); !slices.Contains(a.versions, version) {
		return nil, apierrors.NewNotFound(schema.GroupResource{}, group)
	}
	return &metav1.APIResourceList{APIResources: []metav1.APIResource{{Name: "workloads/status", Kind: "Workload"}, {Name: "localqueues", Kind: "LocalQueue"}, {Name: "workloads", Kind: "Workload"}, {Name: "admissionchecks", Kind: "AdmissionCheck"}}}, nil
}

func (a *api) GetInformer(_ context.Context, o client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	if o.GetObjectKind().GroupVersionKind().Kind == a.denied {
		return nil, errors.New("it was waited for in vain")
	}
	return nil, nil
}

func (a *api) RemoveInformer(_ context.Context, o client.Object) error {
	a.removed = append(a.removed, short(o))
	return nil
}

func short(o client.Object) string {
	k := o.GetObjectKind().GroupVersionKind()
	return k.Kind + "/" + k.Version
}

// Kueue is read in the newest version that is served, and watched from when that is so; what is read no more leaves the cache a look later; and what cannot
// be found out changes nothing.
func TestKueueIsFollowed(t *testing.T) {
	const one, two = "AdmissionCheck/v1beta1 Workload/v1beta1", "AdmissionCheck/v1beta2 Workload/v1beta2"
	a := new(api)
	var read atomic.Pointer[kinds]
	read.Store(&kinds{})
	var watched []string
	f := &follower{discovery: a, cache: a, read: &read, log: slog.New(slog.DiscardHandler)}
	f.watch = func(o client.Object) error {
		if !strings.Contains(list(*read.Load()), short(o)) {
			t.Errorf("%s is watched before it is read", short(o))
		}
		watched = append(watched, short(o))
		return nil
	}
	for i, x := range []struct {
		what     string
		versions []string
		away     error
		denied   string

		read, watched, removed string
		fails                  string
	}{
		{what: "is not installed"},
		{what: "is installed, but one kind may not be read", versions: []string{"v1beta1"}, denied: "AdmissionCheck", read: "Workload/v1beta1", watched: "Workload/v1beta1", fails: "Kind=AdmissionCheck"},
		{what: "may be read", versions: []string{"v1beta1"}, read: one, watched: "AdmissionCheck/v1beta1"},
		{what: "stays", versions: []string{"v1beta1"}, read: one},
		{what: "is upgraded", versions: []string{"v1beta1", "v1beta2"}, read: two, watched: two},
		{what: "no longer serves the old version", versions: []string{"v1beta2"}, read: two, removed: one},
		{what: "cannot be asked about", away: errors.New("the API server is away"), read: two, fails: "away"},
		{what: "is removed"},
		{what: "is installed again", versions: []string{"v1beta2"}, read: two, watched: two, removed: two},
	} {
		a.versions, a.away, a.denied, a.removed, watched = x.versions, x.away, x.denied, nil, nil
		err := f.look(t.Context())
		if (err != nil) != (x.fails != "") || err != nil && !strings.Contains(err.Error(), x.fails) {
			t.Errorf("%d: Kueue %s: %v, want an error with %q", i, x.what, err, x.fails)
		}
		slices.Sort(watched)
		slices.Sort(a.removed)
		if got := list(*read.Load()); got != x.read || strings.Join(watched, " ") != x.watched || strings.Join(a.removed, " ") != x.removed {
			t.Errorf("%d: Kueue %s: read %q, watched anew %q, removed %q; want %q, %q and %q", i, x.what, got, watched, a.removed, x.read, x.watched, x.removed)
		}
	}
}

// A version of Kueue's that has just gone is waited for in vain, but not for ever: the other work goes on.
func TestRoundWaitsForKueueNotForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLab(t, zoneDE, pod("p", noon, map[string]string{DeadlineAnnotation: noon.Format(time.RFC3339)}))
		never := interceptor.NewClient(l.c.(client.WithWatch), interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, o client.ObjectList, opts ...client.ListOption) error {
			if o.GetObjectKind().GroupVersionKind().Group == kueueGroup {
				<-ctx.Done()
				return ctx.Err()
			}
			return c.List(ctx, o, opts...)
		}})
		c, err := New(never, l.day, Options{Kueue: true, Now: func() time.Time { return l.now }})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Round(t.Context()); !errors.Is(err, context.DeadlineExceeded) || gated(l.pod("p")) {
			t.Errorf("held: %v, error %v; want a release and that Kueue did not answer", gated(l.pod("p")), err)
		}
	})
}

func list(k kinds) string {
	var out []string
	for _, v := range k {
		out = append(out, fmt.Sprintf("%s/%s", v.Kind, v.Version))
	}
	slices.Sort(out)
	return strings.Join(out, " ")
}
