package profiles_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/profiles"
)

// A cluster has the kinds that were installed, and one profile. What is embedded is nil, so that other uses fail loudly.
type cluster struct {
	cache.Informers
	mu        sync.Mutex
	profiles  bool // guarded by mu
	models    bool // guarded by mu
	lists     bool // guarded by mu
	following int  // guarded by mu: handlers of profiles
}

func (c *cluster) install(profiles, models, lists bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.profiles, c.models, c.lists = profiles, models, lists
}

func (c *cluster) GetInformer(_ context.Context, o client.Object, _ ...cache.InformerGetOption) (cache.Informer, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, profile := o.(*v1alpha1.NodeProfile)
	if profile && !c.profiles || !profile && !c.models {
		return nil, &meta.NoKindMatchError{GroupKind: schema.GroupKind{Group: v1alpha1.Group, Kind: "NodeProfile"}, SearchedVersions: []string{"v1alpha1"}}
	}
	return &informer{c: c, profile: profile}, nil
}

type informer struct {
	cache.Informer
	c       *cluster
	profile bool
}

type registration struct {
	toolscache.ResourceEventHandlerRegistration
	c *cluster
}

func (r registration) HasSynced() bool {
	r.c.mu.Lock()
	defer r.c.mu.Unlock()
	return r.c.lists
}

func (i *informer) AddEventHandler(h toolscache.ResourceEventHandler) (toolscache.ResourceEventHandlerRegistration, error) {
	if i.profile {
		i.c.following++
		h.OnAdd(&v1alpha1.NodeProfile{ObjectMeta: metav1.ObjectMeta{Name: "n1"}, Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{{Type: "kepler", URL: "http://n1"}}}}, true)
	}
	return registration{c: i.c}, nil
}

func (i *informer) RemoveEventHandler(toolscache.ResourceEventHandlerRegistration) error {
	i.c.mu.Lock()
	defer i.c.mu.Unlock()
	if i.profile {
		i.c.following--
	}
	return nil
}

// Kinds that are installed after the program are followed once they are there: until then the log says so once, and the metric and
// Followed all the time. A half that is there is not followed twice.
func TestFollowLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := prometheus.NewPedanticRegistry()
		p, err := profiles.New(profiles.Options{Registerer: r, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		c := new(cluster)
		ended := make(chan struct{})
		expect := func(when string, followed float64, why string) {
			t.Helper()
			synctest.Wait()
			if err := testutil.GatherAndCompare(r, strings.NewReader("# HELP leastwatt_profiles_followed 1 if the cluster's NodeProfiles and PowerModels were read and are followed; "+
				"0 while they are not, as where the cluster has no such resources or denies them.\n# TYPE leastwatt_profiles_followed gauge\nleastwatt_profiles_followed "+
				map[float64]string{0: "0", 1: "1"}[followed]+"\n"), "leastwatt_profiles_followed"); err != nil {
				t.Errorf("%s: %v", when, err)
			}
			if err := p.Followed(); (err == nil) != (why == "") || err != nil && !strings.Contains(err.Error(), why) {
				t.Errorf("%s: %v, want %q", when, err, why)
			}
		}
		expect("before the start", 0, "not followed yet")
		go func() { defer close(ended); p.FollowLater(ctx, c) }()
		time.Sleep(time.Minute)
		expect("without the kinds", 0, "follow NodeProfiles: no matches for kind")
		if n := strings.Count(log.String(), "\n"); n != 1 || !strings.Contains(log.String(), "k8s/chart/crds") {
			t.Errorf("the log has %d lines: want one that says what to do: %s", n, log.String())
		}
		c.install(true, false, false)
		time.Sleep(time.Minute)
		expect("with half of the kinds", 0, "follow PowerModels")
		if c.following > 1 {
			t.Errorf("%d handlers follow profiles", c.following)
		}
		c.install(true, true, false)
		time.Sleep(time.Minute)
		expect("while they are read", 0, "not read yet")
		c.install(true, true, true)
		expect("when they were read", 1, "")
		if c.following != 1 || len(p.Report("n1").Sensors) != 1 {
			t.Errorf("%d handlers follow profiles; of n1 there is %+v", c.following, p.Report("n1"))
		}
		cancel()
		<-ended
		synctest.Wait()
		if c.following != 0 {
			t.Errorf("%d handlers follow profiles after the end", c.following)
		}
		if err := p.Follow(t.Context(), new(cluster)); err == nil {
			t.Error("Follow without kinds is no error")
		}
	})
}
