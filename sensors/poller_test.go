package sensors_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// fake is a source whose nodes behave as told. "hang" waits for its context, "deaf" for its channel.
type fake struct {
	behave map[string]func(ctx context.Context, n int) ([]sensors.Reading, error)
	reads  map[string]*atomic.Int64
}

func newFake(behave map[string]func(context.Context, int) ([]sensors.Reading, error)) *fake {
	f := &fake{behave: behave, reads: map[string]*atomic.Int64{}}
	for n := range behave {
		f.reads[n] = new(atomic.Int64)
	}
	return f
}

func (f *fake) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	b, ok := f.behave[node]
	if !ok {
		return nil, &sensors.Error{Source: "fake", Node: node, Err: sensors.ErrUnknownNode}
	}
	return b(ctx, int(f.reads[node].Add(1)))
}

func (f *fake) String() string { return "fake" }

func watts(v float64) []sensors.Reading {
	return []sensors.Reading{{Kind: sensors.Power, Value: v, At: time.Now(), Source: "fake:W"}}
}

func good(context.Context, int) ([]sensors.Reading, error) { return watts(100), nil }

func hang(ctx context.Context, _ int) ([]sensors.Reading, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("%w: %w", sensors.ErrUnreachable, ctx.Err())
}

func fail(context.Context, int) ([]sensors.Reading, error) {
	return nil, &sensors.Error{Source: "fake", Err: sensors.ErrUnauthorized}
}

// poll runs a poller within a synctest bubble until the test ends it.
func poll(t *testing.T, p *sensors.Poller) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	stopped := false
	stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-done
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}

func TestPollerPublishesAndKeepsTheLastGoodReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){
			"a": func(ctx context.Context, n int) ([]sensors.Reading, error) {
				if n > 1 {
					return fail(ctx, n)
				}
				return watts(100), nil
			},
		})
		p := sensors.NewPoller(src, []string{"a"}, sensors.PollerOptions{})
		if p.Snapshot() == nil || p.Snapshot().Node("a") != nil {
			t.Error("before Run: want an empty snapshot")
		}
		stop := poll(t, p)
		time.Sleep(time.Second)
		n := p.Snapshot().Node("a")
		if r, err := n.Fresh(sensors.Power, time.Now(), time.Minute); err != nil || r.Value != 100 {
			t.Errorf("after a good read: %v, %v, want 100 W", r, err)
		}
		time.Sleep(50 * time.Second)
		n = p.Snapshot().Node("a")
		if n.Failures < 2 || !errors.Is(n.Err, sensors.ErrUnauthorized) {
			t.Errorf("after failures: %d, %v, want several that wrap ErrUnauthorized", n.Failures, n.Err)
		}
		if _, err := n.Fresh(sensors.Power, time.Now(), time.Minute); err != nil {
			t.Errorf("the last good reading is within its time, but: %v", err)
		}
		_, err := n.Fresh(sensors.Power, time.Now(), 30*time.Second)
		if !errors.Is(err, sensors.ErrStale) || !errors.Is(err, sensors.ErrUnauthorized) {
			t.Errorf("a reading of %v ago with 30 s allowed: error %v, want ErrStale and its cause", n.Readings[0].Age(time.Now()), err)
		}
		if err := stop(); err != nil {
			t.Errorf("Run returned %v, want nil", err)
		}
	})
}

func TestAHangingNodeDelaysNoOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		behave := map[string]func(context.Context, int) ([]sensors.Reading, error){}
		var nodes []string
		for i := range 200 {
			name := fmt.Sprintf("n%d", i)
			nodes = append(nodes, name)
			behave[name] = good
			if i%2 == 0 {
				behave[name] = hang
			}
		}
		p := sensors.NewPoller(newFake(behave), nodes, sensors.PollerOptions{Concurrency: 4, MaxInFlight: 300})
		poll(t, p)
		for range 10 {
			time.Sleep(12 * time.Second)
			now := time.Now()
			for i, n := range nodes {
				if i%2 == 0 {
					continue
				}
				if _, err := p.Snapshot().Node(n).Fresh(sensors.Power, now, 12*time.Second); err != nil {
					t.Fatalf("half of the nodes hang, and a healthy one has: %v", err)
				}
			}
		}
	})
}

func TestReadsAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		slow := func(ctx context.Context, node string) ([]sensors.Reading, error) {
			most.Store(max(most.Load(), now.Add(1)))
			defer now.Add(-1)
			return hang(ctx, 0)
		}
		var nodes []string
		for i := range 100 {
			nodes = append(nodes, fmt.Sprint(i))
		}
		p := sensors.NewPoller(sensors.SourceFunc(slow), nodes, sensors.PollerOptions{Concurrency: 2, MaxInFlight: 10})
		poll(t, p)
		time.Sleep(10 * time.Minute)
		if n := most.Load(); n > 10 {
			t.Errorf("%d reads at once, want at most 10", n)
		}
		if n := p.Snapshot().Len(); n != 100 {
			t.Errorf("%d of 100 nodes were tried", n)
		}
	})
}

func TestAReadThatIgnoresItsContextIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		src := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){
			"good": good,
			"deaf": func(ctx context.Context, n int) ([]sensors.Reading, error) {
				if n == 1 {
					<-free
				}
				return watts(5), nil
			},
		})
		p := sensors.NewPoller(src, []string{"deaf", "good"}, sensors.PollerOptions{Concurrency: 1, MaxInFlight: 2})
		stop := poll(t, p)
		time.Sleep(5 * time.Minute)
		if n := src.reads["deaf"].Load(); n != 1 {
			t.Errorf("the deaf node was read %d times before its first read returned, want 1", n)
		}
		if n := p.Snapshot().Node("deaf"); n == nil || !errors.Is(n.Err, sensors.ErrUnreachable) {
			t.Errorf("the deaf node: %+v, want an error that wraps ErrUnreachable", n)
		}
		if n := src.reads["good"].Load(); n < 25 {
			t.Errorf("beside a deaf node, the good one was read %d times in five minutes, want at least 25", n)
		}
		close(free)
		time.Sleep(time.Minute)
		if _, err := p.Snapshot().Node("deaf").Fresh(sensors.Power, time.Now(), time.Minute); err != nil {
			t.Errorf("after its read returned, the deaf node has: %v", err)
		}
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
}

func TestRunTellsOfReadsThatNeverReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		free := make(chan struct{})
		defer close(free)
		deaf := sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) { <-free; return nil, nil })
		p := sensors.NewPoller(deaf, []string{"deaf-1"}, sensors.PollerOptions{})
		stop := poll(t, p)
		time.Sleep(time.Second)
		if err := p.Run(t.Context()); err == nil {
			t.Error("a second Run beside the first returned nil")
		}
		if err := stop(); err == nil || !strings.Contains(err.Error(), "deaf-1") {
			t.Errorf("Run returned %v, want an error that names deaf-1", err)
		}
	})
}

func TestFailingNodesAreReadLessAndLess(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		partial := func(context.Context, int) ([]sensors.Reading, error) {
			return watts(1), &sensors.Error{Kind: sensors.InletTemp, Err: sensors.ErrNoReading}
		}
		src := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){"bad": fail, "good": good, "partial": partial})
		poll(t, sensors.NewPoller(src, []string{"bad", "good", "partial"}, sensors.PollerOptions{}))
		time.Sleep(20 * time.Minute)
		bad, ok, part := src.reads["bad"].Load(), src.reads["good"].Load(), src.reads["partial"].Load()
		if ok < 120 || ok > 136 || part < 120 {
			t.Errorf("good nodes were read %d and %d times in 20 minutes, want one in 9 to 10 s", ok, part)
		}
		if bad < 15 || bad > 24 {
			t.Errorf("the failing node was read %d times in 20 minutes, want one in 80 s in the end", bad)
		}
	})
}

type busy struct{ after time.Duration }

func (busy) Error() string               { return "busy" }
func (busy) Unwrap() error               { return sensors.ErrThrottled }
func (b busy) RetryAfter() time.Duration { return b.after }

func TestRetryAfterIsObeyed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){
			"busy": func(context.Context, int) ([]sensors.Reading, error) {
				return watts(1), &sensors.Error{Source: "fake", Err: busy{10 * time.Minute}}
			},
			"forever": func(context.Context, int) ([]sensors.Reading, error) { return nil, busy{math.MaxInt64} },
		})
		poll(t, sensors.NewPoller(src, []string{"busy", "forever"}, sensors.PollerOptions{}))
		time.Sleep(9 * time.Minute)
		if n := src.reads["busy"].Load(); n != 1 {
			t.Errorf("a node that asked for ten minutes was read %d times in nine", n)
		}
		time.Sleep(54 * time.Minute)
		if n := src.reads["forever"].Load(); n != 2 {
			t.Errorf("a node that asked for ever was read %d times in 63 minutes, want 2: an hour is the limit", n)
		}
	})
}

func TestNodesComeAndGoWhileItRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){"a": good, "b": good})
		p := sensors.NewPoller(src, nil, sensors.PollerOptions{})
		poll(t, p)
		time.Sleep(time.Minute)
		for _, step := range []struct {
			change func()
			want   []string
		}{
			{func() { p.Add("a") }, []string{"a"}},
			{func() { p.Add("a", "b") }, []string{"a", "b"}},
			{func() { p.Remove("a") }, []string{"b"}},
			{func() { p.SetNodes([]string{"a"}) }, []string{"a"}},
		} {
			step.change()
			time.Sleep(time.Second)
			s := p.Snapshot()
			for _, n := range step.want {
				if s.Node(n) == nil || s.Len() != len(step.want) {
					t.Errorf("a snapshot of %d nodes, %s is %v, want %v", s.Len(), n, s.Node(n), step.want)
				}
			}
		}
		before := src.reads["b"].Load()
		time.Sleep(time.Minute)
		if n := src.reads["b"].Load(); n != before {
			t.Error("a removed node is still read")
		}
	})
}

func TestForeignValuesDoNotPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		src := newFake(map[string]func(context.Context, int) ([]sensors.Reading, error){
			"nan": func(context.Context, int) ([]sensors.Reading, error) {
				return append([]sensors.Reading{{Kind: sensors.InletTemp, Value: math.NaN()}, {Kind: sensors.FanSpeed, Value: math.Inf(1)}},
					append(watts(7), watts(8)...)...), nil
			},
			"panic": func(context.Context, int) ([]sensors.Reading, error) { panic("vendor") },
			"empty": func(context.Context, int) ([]sensors.Reading, error) { return nil, nil },
		})
		p := sensors.NewPoller(src, []string{"nan", "panic", "empty"}, sensors.PollerOptions{})
		poll(t, p)
		time.Sleep(time.Second)
		n := p.Snapshot().Node("nan")
		if len(n.Readings) != 1 || n.Readings[0].Value != 7 || !errors.Is(n.Err, sensors.ErrImplausible) {
			t.Errorf("readings %v, error %v, want 7 W alone and ErrImplausible", n.Readings, n.Err)
		}
		if n := p.Snapshot().Node("panic"); !errors.Is(n.Err, sensors.ErrMalformed) {
			t.Errorf("a source that panics: error %v, want ErrMalformed", n.Err)
		}
		if n := p.Snapshot().Node("empty"); !errors.Is(n.Err, sensors.ErrNoReading) {
			t.Errorf("a source that gives nothing: error %v, want ErrNoReading", n.Err)
		}
	})
}
