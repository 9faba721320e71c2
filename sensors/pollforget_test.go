package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// keeper is a source that keeps something for each node that it reads.
type keeper struct {
	mu      sync.Mutex
	held    map[string]int // reads since it was forgotten
	reading map[string]bool
	early   []string // forgotten while they were read
	slow    time.Duration
	deaf    string // the node whose Forget lasts until its context ends
}

func (k *keeper) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	k.mu.Lock()
	k.held[node]++
	k.reading[node] = true
	k.mu.Unlock()
	select {
	case <-time.After(k.slow):
	case <-ctx.Done():
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.reading[node] = false
	return watts(100), nil
}

func (k *keeper) Forget(ctx context.Context, node string) error {
	if node == k.deaf {
		<-ctx.Done()
		return fmt.Errorf("%w: %w", sensors.ErrUnreachable, ctx.Err())
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.reading[node] {
		k.early = append(k.early, node)
	}
	delete(k.held, node)
	return nil
}

func (k *keeper) holds() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Sorted(maps.Keys(k.held))
}

// However deep the source that keeps something, it is told of nodes that are removed, after their last read, and
// of no others; one that does not answer holds up neither the others nor the end.
func TestRemovedNodesAreForgotten(t *testing.T) {
	for name, wrap := range map[string]func(sensors.SensorSource) sensors.SensorSource{
		"bare":  func(s sensors.SensorSource) sensors.SensorSource { return s },
		"merge": func(s sensors.SensorSource) sensors.SensorSource { return sensors.Merge(sensors.SourceFunc(fail0), s) },
		"deep": func(s sensors.SensorSource) sensors.SensorSource {
			s = sensors.Plausible(sensors.NewBreaker(sensors.Limit(s, time.Millisecond), sensors.BreakerOptions{}), nil)
			return sensors.First(sensors.SourceFunc(fail0), sensors.Only(sensors.Derive(s, sensors.DeriveOptions{}), sensors.Power))
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				k := &keeper{held: map[string]int{}, reading: map[string]bool{}, slow: time.Second, deaf: "deaf"}
				nodes := []string{"a", "deaf"}
				for i := range 50 {
					nodes = append(nodes, fmt.Sprint(i))
				}
				p := sensors.NewPoller(wrap(k), nodes, sensors.PollerOptions{})
				stop := poll(t, p)
				time.Sleep(20 * time.Second)
				if got := k.holds(); len(got) != len(nodes) {
					t.Fatalf("%d of %d nodes were read", len(got), len(nodes))
				}
				for range 20 { // at all phases of a read
					p.SetNodes([]string{"a"})
					time.Sleep(130 * time.Millisecond)
					p.SetNodes([]string{"a", "b"})
					time.Sleep(950 * time.Millisecond)
				}
				p.SetNodes([]string{"a"})
				time.Sleep(3 * time.Second)
				if got := k.holds(); !slices.Equal(got, []string{"a", "deaf"}) {
					t.Errorf("still held: %q, want a, which is read, and deaf", got)
				}
				if len(k.early) > 0 {
					t.Errorf("forgotten while they were read: %q", k.early)
				}
				p.Add("last")
				time.Sleep(20 * time.Second)
				p.Remove("last", "a")
				synctest.Wait()
				if err := stop(); err != nil {
					t.Error(err)
				}
				if got := k.holds(); !slices.Equal(got, []string{"deaf"}) {
					t.Errorf("held after Run: %q", got)
				}
			})
		})
	}
}

func fail0(ctx context.Context, _ string) ([]sensors.Reading, error) { return fail(ctx, 0) }

// A node that is removed is no longer in the breaker's metrics, but wrong credentials are remembered.
func TestABreakerRemembersNodesThatComeAndGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reads := 0
		b := sensors.NewBreaker(sensors.SourceFunc(func(ctx context.Context, _ string) ([]sensors.Reading, error) {
			reads++
			return fail(ctx, 0)
		}), sensors.BreakerOptions{})
		for range 10 {
			_, _ = b.Read(t.Context(), "a")
			if err := sensors.Forget(t.Context(), b, "a"); err != nil {
				t.Fatal(err)
			}
		}
		if reads > 3 {
			t.Errorf("a node that refuses the credentials and comes and goes was asked %d times", reads)
		}
		time.Sleep(time.Hour)
		if err := b.Forget(t.Context(), "other"); err != nil {
			t.Fatal(err)
		}
		if _, paused := b.Paused("a"); paused {
			t.Error("a node that is gone is remembered for ever")
		}
	})
}

type knowing struct {
	sensors.SensorSource
	h   sensors.Hardware
	err error
	n   int
}

func (n *knowing) Identify(context.Context, string) (sensors.Hardware, error) {
	n.n++
	return n.h, n.err
}

// What one source does not tell of a machine, the next does; a breaker that is open keeps it from being asked.
func TestIdentify(t *testing.T) {
	src := sensors.SourceFunc(fail0)
	a, b := &knowing{SensorSource: src, h: sensors.Hardware{System: "X"}}, &knowing{SensorSource: src, h: sensors.Hardware{System: "Y", CPU: "Z", Cores: 8}}
	broken := &knowing{SensorSource: src, err: &sensors.Error{Err: sensors.ErrUnauthorized}}
	all := sensors.Merge(src, broken, sensors.Only(sensors.Limit(a, time.Nanosecond)), sensors.First(src, b))
	if h, err := sensors.Identify(t.Context(), all, "n"); err != nil || h != (sensors.Hardware{System: "X", CPU: "Z", Cores: 8}) {
		t.Errorf("%+v, %v", h, err)
	}
	if _, err := sensors.Identify(t.Context(), sensors.Merge(src, sensors.Only(src)), "n"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("sources that tell nothing: %v", err)
	}
	guarded := sensors.NewBreaker(broken, sensors.BreakerOptions{})
	before := broken.n
	for range 10 {
		if _, err := sensors.Identify(t.Context(), guarded, "n"); !errors.Is(err, sensors.ErrUnauthorized) {
			t.Fatal(err)
		}
	}
	if broken.n-before != 2 {
		t.Errorf("credentials that are refused were sent %d times", broken.n-before)
	}
}
