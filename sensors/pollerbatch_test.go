package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/leastwatt/leastwatt/sensors"
)

// batch is a source of many nodes that counts its requests.
type batch struct {
	kind     sensors.Kind
	value    float64
	requests *atomic.Int64
	lacks    string
}

func (b batch) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	r, errs := b.ReadAll(ctx, []string{node})
	return r[node], errs[node]
}

func (b batch) ReadAll(ctx context.Context, nodes []string) (map[string][]sensors.Reading, map[string]error) {
	b.requests.Add(1)
	all := map[string][]sensors.Reading{}
	for _, n := range nodes {
		if n != b.lacks {
			all[n] = []sensors.Reading{{Kind: b.kind, Value: b.value, At: time.Now(), Source: "batch"}}
		}
	}
	return all, nil
}

func TestABatchIsOneRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := batch{kind: sensors.Power, value: 3, requests: new(atomic.Int64), lacks: "n3"}
		var nodes []string
		for i := range 500 {
			nodes = append(nodes, fmt.Sprint("n", i))
		}
		p := sensors.NewPoller(b, nodes, sensors.PollerOptions{})
		poll(t, p)
		time.Sleep(time.Second)
		if n := b.requests.Load(); n != 1 || p.Snapshot().Len() != 500 {
			t.Errorf("%d requests for %d nodes, want 1 for 500", n, p.Snapshot().Len())
		}
		if n := p.Snapshot().Node("n3"); !errors.Is(n.Err, sensors.ErrNoReading) {
			t.Errorf("a node that the batch left out: error %v, want ErrNoReading", n.Err)
		}
		p.Add("late")
		time.Sleep(time.Second)
		if p.Snapshot().Node("late") == nil {
			t.Error("a node that was added was not read at once")
		}
	})
}

// A hanging BMC must hold up neither the batch beside it in a Merge, nor the other way round.
func TestThePartsOfAMergeArePolledApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		bmc := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){"hangs": hang, "good": good})
		b := batch{kind: sensors.CPUUtilization, value: 0.5, requests: new(atomic.Int64)}
		p := sensors.NewPoller(sensors.Merge(bmc, b), []string{"hangs", "good"}, sensors.PollerOptions{})
		poll(t, p)
		time.Sleep(time.Second)
		for _, node := range []string{"hangs", "good"} {
			if _, err := p.Snapshot().Node(node).Fresh(sensors.CPUUtilization, time.Now(), time.Minute); err != nil {
				t.Errorf("one second on: %v", err)
			}
		}
		time.Sleep(time.Minute)
		if n := p.Snapshot().Node("hangs"); n.Failures != 0 || !errors.Is(n.Err, sensors.ErrUnreachable) {
			t.Errorf("%d failures, %v: want none in a row, as one part is read, and the error of the other", n.Failures, n.Err)
		}
		if n := p.Snapshot().Node("good"); n.Err != nil || len(n.Readings) != 2 {
			t.Errorf("both parts are good: %v, %v", n.Readings, n.Err)
		}
		if n := b.requests.Load(); n > 9 {
			t.Errorf("the batch was asked %d times in a minute for two nodes", n)
		}
	})
}

// A part that has failed gives way to one that is lower in precedence.
func TestAFreshReadingGoesBeforeOneThatIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		once := func(ctx context.Context, n int) ([]sensors.Reading, error) {
			if n > 1 {
				return fail(ctx, n)
			}
			return watts(100), nil
		}
		best := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){"a": once})
		second := batch{kind: sensors.Power, value: 90, requests: new(atomic.Int64)}
		p := sensors.NewPoller(sensors.Merge(best, second), []string{"a"}, sensors.PollerOptions{})
		poll(t, p)
		time.Sleep(time.Second)
		if r, _ := p.Snapshot().Node("a").Find(sensors.Power); r.Value != 100 {
			t.Errorf("both are read and %v W win, want 100 of the first", r.Value)
		}
		time.Sleep(time.Minute)
		if r, _ := p.Snapshot().Node("a").Find(sensors.Power); r.Value != 90 {
			t.Errorf("the best source fails and %v W are left, want 90 of the second", r.Value)
		}
	})
}

// A source that answers with what it measured long ago gives way as well, and wins again when it is fresh.
func TestAStaleReadingGivesWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		stuck := func(context.Context, int) ([]sensors.Reading, error) {
			at := time.Now()
			if d := at.Sub(start); d > 30*time.Second && d < 5*time.Minute {
				at = start.Add(30 * time.Second)
			}
			return []sensors.Reading{{Kind: sensors.Power, Value: 100, At: at, Source: "stuck"}}, nil
		}
		best := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){"a": stuck})
		second := batch{kind: sensors.Power, value: 90, requests: new(atomic.Int64)}
		p := sensors.NewPoller(sensors.Merge(best, second), []string{"a"}, sensors.PollerOptions{MaxAge: time.Minute})
		poll(t, p)
		for _, x := range []struct{ wait, want float64 }{{1, 100}, {60, 100}, {120, 90}, {360, 100}} {
			time.Sleep(time.Until(start.Add(time.Duration(x.wait * float64(time.Second)))))
			if r, _ := p.Snapshot().Node("a").Find(sensors.Power); r.Value != x.want {
				t.Errorf("after %v s %v W win, want %v", x.wait, r.Value, x.want)
			}
		}
	})
}

func TestCollectors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){"a": good, "b": fail})
		p := sensors.NewPoller(src, []string{"a", "b"}, sensors.PollerOptions{})
		reg := prometheus.NewPedanticRegistry()
		if err := p.Register(reg); err != nil {
			t.Fatal(err)
		}
		if err := p.Register(reg); err == nil {
			t.Error("registering twice is no error")
		}
		poll(t, p)
		time.Sleep(7 * time.Second)
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			for _, m := range f.Metric {
				var key strings.Builder
				key.WriteString(f.GetName())
				for _, l := range m.Label {
					key.WriteString(" " + l.GetName() + "=" + l.GetValue())
				}
				got[key.String()] = m.GetGauge().GetValue() + m.GetCounter().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
		age := got["leastwatt_sensor_reading_age_seconds kind=power_watts node=a source=fake:W"]
		if age <= 0 || age > 7 {
			t.Errorf("age %v s, want more than 0 and at most 7", age)
		}
		if got["leastwatt_sensor_errors_total node=b reason=unauthorized source=fake"] < 1 || got["leastwatt_sensor_read_seconds source=fake"] < 2 {
			t.Errorf("errors and latency are not counted: %v", got)
		}
		for key := range got {
			if strings.Contains(key, "errors_total node=a") {
				t.Errorf("a good node has %s", key)
			}
		}
	})
}

// BenchmarkSnapshot reads while a poller publishes 1,000 nodes.
func BenchmarkSnapshot(b *testing.B) {
	var nodes []string
	for i := range 1000 {
		nodes = append(nodes, fmt.Sprint("n", i))
	}
	src := sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) { return watts(1), nil })
	p := sensors.NewPoller(src, nodes, sensors.PollerOptions{Interval: 50 * time.Millisecond})
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = p.Run(ctx) })
	for p.Snapshot().Len() < len(nodes) {
		time.Sleep(time.Millisecond)
	}
	b.ReportAllocs()
	b.Run("load", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p.Snapshot() == nil {
				b.Fatal("nil")
			}
		}
	})
	b.Run("load+node", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if p.Snapshot().Node("n500") == nil {
				b.Fatal("nil")
			}
		}
	})
	cancel()
	wg.Wait()
}
