package endpoints_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
	v1 "k8s.io/api/core/v1"
	discovery "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// From a watch to the rules, everything at once, for the race detector: endpoints flap, sensors are read anew and go
// stale, metrics are scraped, counters and backends are read, while shares are computed and written. The end is what was
// said last.
func TestFlappingOnTheWholePath(t *testing.T) {
	names := []string{"web", "shop", "names"}
	client := fake.NewClientset()
	for i, name := range names {
		s := service(name, func(s *v1.Service) {
			s.Spec.ClusterIP = fmt.Sprintf("10.96.0.%d", 10+i)
			s.Spec.ClusterIPs = []string{s.Spec.ClusterIP}
			if name == "names" {
				s.Spec.Ports[0].Protocol = v1.ProtocolUDP
			}
		})
		if _, err := client.CoreV1().Services("shop").Create(t.Context(), s, metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	flapping := func(name string, round int) *discovery.EndpointSlice {
		s := slice(name+"-1", name)
		if name == "names" {
			s.Ports[0].Protocol = new(v1.ProtocolUDP)
		}
		for k, node := range []string{"cheap", "dear", "nobody"} {
			e := endpoint(fmt.Sprintf("10.0.%d.%d", slices.Index(names, name), k+1), node)
			e.Conditions.Ready = new(round>>k&1 == 1)
			s.Endpoints = append(s.Endpoints, e)
		}
		return s
	}
	for _, name := range names {
		if _, err := client.DiscoveryV1().EndpointSlices("shop").Create(t.Context(), flapping(name, 7), metav1.CreateOptions{}); err != nil {
			t.Fatal(err)
		}
	}

	fleet := scoring.NewFleet(scoring.FleetOptions{})
	for name, watts := range map[string][]power.Watts{"cheap": {80, 100}, "dear": {80, 400}} {
		c, err := power.EvenPiecewise(watts...)
		if err != nil {
			t.Fatal(err)
		}
		fleet.Put(scoring.Spec{Name: name, Capacity: power.Capacity{Cores: 10}, Predictor: c})
	}
	read := func(use float64, old time.Duration) {
		at, m := time.Now().Add(-old), map[string]*sensors.NodeReadings{}
		for _, name := range []string{"cheap", "dear"} {
			m[name] = &sensors.NodeReadings{Node: name, Readings: []sensors.Reading{{Kind: sensors.CPUUtilization, Value: use, At: at, Source: "test"}}}
		}
		if err := fleet.Refresh(t.Context(), sensors.NewSnapshot(time.Now(), m), time.Now()); err != nil {
			t.Error(err)
		}
	}
	read(0.1, 0)

	nft := knftables.NewFake(knftables.IPv4Family, "leastwatt")
	w, err := nftables.New(&counting{Fake: nft}, knftables.IPv4Family, nftables.Options{Count: true})
	if err != nil {
		t.Fatal(err)
	}
	reg := prometheus.NewRegistry()
	p, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{v1.IPv4Protocol: w}, endpoints.Options{View: fleet.View, Registerer: reg,
		Pause: time.Microsecond, Refresh: time.Millisecond, Forget: func(context.Context, []endpoints.Stale) error { return nil }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running, busy sync.WaitGroup
	wait := watched(client)
	running.Go(func() { _ = p.Watch(ctx, client) })
	running.Go(func() { _ = p.Run(ctx) })
	defer running.Wait()
	defer cancel()
	await := func(what string, ok func(dump string) bool) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); ; time.Sleep(2 * time.Millisecond) {
			dump := nft.Dump()
			if ok(dump) {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("never: %s\n%s", what, dump)
			}
		}
	}
	wait()
	await("all Services are written", func(d string) bool { return strings.Count(d, "numgen random") == 3 })

	const rounds = 50
	for _, name := range names {
		busy.Go(func() {
			for round := range rounds {
				if _, err := client.DiscoveryV1().EndpointSlices("shop").Update(ctx, flapping(name, round), metav1.UpdateOptions{}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	for _, other := range []func(k int){
		func(k int) { read(float64(k%10)/10, time.Duration(k%3)*time.Hour) }, // every third time stale
		func(int) {
			if _, err := reg.Gather(); err != nil {
				t.Error(err)
			}
			if err := p.WriteSeries(io.Discard); err != nil {
				t.Error(err)
			}
		},
		func(int) {
			p.Backends()
			if _, err := w.Connections(ctx); err != nil {
				t.Error(err)
			}
		},
		func(k int) { p.OnTopologyChange(map[string]string{v1.LabelTopologyZone: fmt.Sprint(k % 2)}) },
	} {
		busy.Go(func() {
			for k := range rounds {
				other(k)
			}
		})
	}
	busy.Wait()
	for _, name := range names { // the end: the second of the three
		if _, err := client.DiscoveryV1().EndpointSlices("shop").Update(ctx, flapping(name, 2), metav1.UpdateOptions{}); err != nil {
			t.Fatal(err)
		}
	}
	await("what was said last is written", func(d string) bool {
		for i := range names {
			if !strings.Contains(d, fmt.Sprintf("map { 0-9999 : 10.0.%d.2 . 8080 }", i)) {
				return false
			}
		}
		return strings.Count(d, " dnat to 10.0.") == 3
	})
}

// counting is knftables' fake, whose ListCounters takes no lock; the nft program needs none.
type counting struct {
	*knftables.Fake
	mu sync.Mutex
}

func (c *counting) Run(ctx context.Context, tx *knftables.Transaction) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Fake.Run(ctx, tx)
}

func (c *counting) ListCounters(ctx context.Context) ([]*knftables.Counter, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Fake.ListCounters(ctx)
}

// The series that are streamed are those that a registry gathers, whatever their labels hold.
func TestWriteSeries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // so that ages are the same
		var r recorder
		reg := prometheus.NewRegistry()
		p := start(t, &r, endpoints.Options{View: site(t), Registerer: reg})
		var nothing bytes.Buffer
		if err := p.WriteSeries(&nothing); err != nil || nothing.Len() > 0 {
			t.Errorf("before the first sync: %q, %v", nothing.String(), err)
		}
		p.OnServiceAdd(service("web"))
		p.OnEndpointSliceAdd(slice("web-1", "web", endpoint("10.0.0.1", "cheap"), endpoint("10.0.0.2", "dear"), endpoint("10.0.0.3", "a \"b\" \\ c\nd")))
		settle()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		var gathered, streamed bytes.Buffer
		for _, f := range families {
			if n := f.GetName(); strings.HasPrefix(n, "leastwatt_endpoint_sync") {
				continue
			}
			if _, err := expfmt.MetricFamilyToText(&gathered, f); err != nil {
				t.Fatal(err)
			}
		}
		if err := p.WriteSeries(&streamed); err != nil {
			t.Fatal(err)
		}
		lines := func(b *bytes.Buffer) []string {
			return slices.Sorted(strings.SplitSeq(b.String(), "\n"))
		}
		// A registry sorts the labels of a series; both are sorted here.
		sorted := func(all []string) []string {
			for i, l := range all {
				from, to := strings.IndexByte(l, '{'), strings.LastIndexByte(l, '}')
				if from > 0 && !strings.HasPrefix(l, "#") {
					all[i] = l[:from] + strings.Join(slices.Sorted(strings.SplitSeq(l[from+1:to], ",")), ",") + l[to+1:]
				}
			}
			slices.Sort(all)
			return all
		}
		got, want := sorted(lines(&streamed)), sorted(lines(&gathered))
		if !slices.Equal(got, want) {
			t.Errorf("streamed\n%s\ngathered\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
		}
		if strings.Count(streamed.String(), "\nleastwatt_endpoint_share_ratio{")+strings.Count(streamed.String(), "\nleastwatt_endpoint_watts{") != 5 {
			t.Errorf("want three shares and the watts of two:\n%s", streamed.String())
		}

		// Where they are streamed, a registry does not have them.
		reg = prometheus.NewRegistry()
		p = start(t, &r, endpoints.Options{View: site(t), Registerer: reg, Streamed: true})
		p.OnServiceAdd(service("web"))
		settle()
		if families, err = reg.Gather(); err != nil || len(families) != 2 {
			t.Errorf("%d families, %v: want latency and failures", len(families), err)
		}
	})
}

// watched returns what waits until both Services and EndpointSlices are watched: a fake client tells nobody what changes
// between a list and its watch.
func watched(client *fake.Clientset) (wait func()) {
	var begun sync.WaitGroup
	for _, resource := range []string{"services", "endpointslices"} {
		begun.Add(1)
		once := sync.OnceFunc(begun.Done)
		client.PrependWatchReactor(resource, func(a clienttesting.Action) (bool, watch.Interface, error) {
			w, err := client.Tracker().Watch(a.GetResource(), a.GetNamespace(), a.(clienttesting.WatchActionImpl).ListOptions)
			once()
			return true, w, err
		})
	}
	return begun.Wait
}
