package inference_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/inference"
)

// slow is a model that takes its time, counts rows and calls, and can be made to fail or to hang.
type slow struct {
	delay       time.Duration
	calls, rows atomic.Int64
	fail        atomic.Pointer[error]
}

func (m *slow) Infer(ctx context.Context, rows [][]float64) ([]float64, error) {
	m.calls.Add(1)
	m.rows.Add(int64(len(rows)))
	select {
	case <-time.After(m.delay):
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if err := m.fail.Load(); err != nil {
		return nil, *err
	}
	out := make([]float64, len(rows))
	for i, r := range rows {
		out[i] = truth(r)
	}
	return out, nil
}

func (m *slow) failing(err error) {
	if err == nil {
		m.fail.Store(nil)
		return
	}
	m.fail.Store(&err)
}

func remote(m inference.Model) *inference.Predictor {
	return must(inference.New(m, features, inference.PredictorOptions{}))
}

var errDown = errors.New("the model server is down")

func TestCacheSharesOneCallAndItsFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slow{delay: time.Second}
		m.failing(errDown)
		c := must(inference.NewCache(remote(m), inference.CacheOptions{}))
		ask := func(n int) []error {
			errs := make([]error, n)
			var wg sync.WaitGroup
			for i := range n {
				wg.Go(func() {
					w, err := c.Predict(t.Context(), state(0.5))
					if err == nil && w != power.Watts(truth([]float64{16, 24, 2})) {
						err = fmt.Errorf("wrong watts %v", w)
					}
					errs[i] = err
				})
			}
			wg.Wait()
			return errs
		}
		for _, err := range ask(50) {
			if !errors.Is(err, errDown) {
				t.Errorf("a waiter got %v, want the failure", err)
			}
		}
		if n := m.calls.Load(); n != 1 {
			t.Errorf("%d calls for 50 callers of one point", n)
		}
		if s := c.Stats(); s.Entries != 0 || s.Failures != 1 || s.Shared != 49 {
			t.Errorf("after a failure: %+v", s)
		}
		m.failing(nil)
		for range 2 {
			for _, err := range ask(50) {
				if err != nil {
					t.Error(err)
				}
			}
		}
		if n := m.calls.Load(); n != 2 {
			t.Errorf("%d calls, want one for the failure and one for the rest", n)
		}
	})
}

func TestCacheCallerThatGivesUpDoesNotFailTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slow{delay: time.Second}
		c := must(inference.NewCache(remote(m), inference.CacheOptions{}))
		ctx, cancel := context.WithCancel(t.Context())
		var first, second error
		var wg sync.WaitGroup
		wg.Go(func() { _, first = c.Predict(ctx, state(0.5)) })
		synctest.Wait()
		wg.Go(func() { _, second = c.Predict(t.Context(), state(0.5)) })
		synctest.Wait()
		cancel()
		wg.Wait()
		if !errors.Is(first, context.Canceled) || second != nil {
			t.Errorf("who gave up got %v, the other %v", first, second)
		}
	})
}

func TestCacheBounds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slow{}
		c := must(inference.NewCache(remote(m), inference.CacheOptions{Size: 10, TTL: time.Minute}))
		states, out := make([]power.State, 101), make([]power.Estimate, 101)
		for i := range states {
			states[i] = state(float64(i) / 100)
		}
		power.PredictAll(t.Context(), c, states, out)
		for _, e := range out {
			if e.Err != nil {
				t.Fatal(e.Err)
			}
		}
		if s := c.Stats(); s.Entries != 10 {
			t.Errorf("%d entries, want 10", s.Entries)
		}
		if n := m.calls.Load(); n != 1 {
			t.Errorf("%d calls for one batch", n)
		}
		power.PredictAll(t.Context(), c, states[:1], out[:1]) // given up: asked again
		if n := m.rows.Load(); n != 102 {
			t.Errorf("%d rows, want 102", n)
		}
		time.Sleep(time.Minute)
		power.PredictAll(t.Context(), c, states[:1], out[:1]) // too old
		if n := m.rows.Load(); n != 103 {
			t.Errorf("%d rows, want 103", n)
		}
	})
}

func TestCacheRoundsToItsGrid(t *testing.T) {
	m := &slow{}
	c := must(inference.NewCache(remote(m), inference.CacheOptions{Steps: inference.Steps{power.InputUtilization: 0.1}}))
	for _, u := range []float64{0.46, 0.5, 0.54} {
		s := state(u)
		s.Node = fmt.Sprint("node", u) // does not matter to this model
		s.InletTemp = new(power.Celsius(24 + u/5))
		if w, err := c.Predict(t.Context(), s); err != nil || float64(w) != truth([]float64{16, 24, 2}) {
			t.Errorf("at %v: %v, %v", u, w, err)
		}
	}
	if n := m.calls.Load(); n != 1 {
		t.Errorf("%d calls for one point of the grid", n)
	}
	if _, err := inference.NewCache(remote(m), inference.CacheOptions{Steps: inference.Steps{power.InputUtilization: 0}}); err == nil {
		t.Error("a step of 0 is accepted")
	}
}

func TestTableNeverWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := &slow{delay: 10 * time.Second}
		table := must(inference.NewTable(remote(m), inference.TableOptions{Interval: time.Minute, MaxAge: 5 * time.Minute}))
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- table.Run(ctx) }()

		ask := func(node string, inlet float64) (power.Watts, error) {
			before := time.Now()
			s := state(0.525)
			s.Node, s.InletTemp = node, new(power.Celsius(inlet))
			w, err := table.Predict(t.Context(), s)
			if waited := time.Since(before); waited != 0 {
				t.Errorf("node %s: a decision waited %v", node, waited)
			}
			return w, err
		}
		for _, node := range []string{"a", "b", "c"} {
			if _, err := ask(node, 24); !errors.Is(err, inference.ErrNotTabulated) {
				t.Errorf("before the first refresh: %v", err)
			}
		}
		time.Sleep(11 * time.Second)
		want := power.Watts(truth([]float64{0.525 * 32, 24, 2}))
		near := func(a, b power.Watts) bool { return a-b < 1e-9 && b-a < 1e-9 }
		for _, node := range []string{"a", "b", "c"} {
			if w, err := ask(node, 24); err != nil || !near(w, want) {
				t.Errorf("node %s: %v, %v; want %v", node, w, err, want)
			}
		}
		if n := m.calls.Load(); n != 1 {
			t.Errorf("%d calls for three nodes", n)
		}

		// Another environment: the old curve until the new one is there.
		if w, err := ask("a", 30); err != nil || !near(w, want) {
			t.Errorf("environment just changed: %v, %v; want the last curve, %v", w, err, want)
		}
		time.Sleep(15 * time.Second)
		if w, err := ask("a", 30); err != nil || !near(w, want+6) {
			t.Errorf("new environment: %v, %v; want %v", w, err, want+6)
		}

		// The server goes down: curves stay until they are too old, and then say why.
		m.failing(errDown)
		time.Sleep(3 * time.Minute)
		if _, err := ask("b", 24); err != nil {
			t.Errorf("an outage of 3 minutes: %v", err)
		}
		time.Sleep(3 * time.Minute)
		if _, err := ask("b", 24); !errors.Is(err, errDown) {
			t.Errorf("an outage of 6 minutes: %v, want its reason", err)
		}
		m.failing(nil)
		time.Sleep(2 * time.Minute)
		if _, err := ask("b", 24); err != nil {
			t.Errorf("after the outage: %v", err)
		}

		// What nobody asks for is dropped.
		time.Sleep(3 * time.Hour)
		if ready, missing := table.Curves(); ready != 0 || missing != 0 {
			t.Errorf("%d curves, %d missing after three hours of silence", ready, missing)
		}
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("Run: %v", err)
		}
	})
}

func TestTableBounds(t *testing.T) {
	m := &slow{}
	table := must(inference.NewTable(remote(m), inference.TableOptions{Size: 3, Points: 4}))
	for i := range 10 {
		s := state(0)
		s.Node = fmt.Sprint(i)
		if _, err := table.Predict(t.Context(), s); !errors.Is(err, inference.ErrNotTabulated) {
			t.Errorf("node %d: %v", i, err)
		}
	}
	if err := table.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := m.rows.Load(); n != 3*5 {
		t.Errorf("%d rows, want 15", n)
	}
	shared := must(inference.NewTable(remote(m), inference.TableOptions{Shared: true}))
	for i := range 10 {
		s := state(0)
		s.Node = fmt.Sprint(i)
		_, _ = shared.Predict(t.Context(), s)
	}
	if _, missing := shared.Curves(); missing != 1 {
		t.Errorf("%d curves wanted by nodes that share one", missing)
	}
}

func TestTableReportsEachReasonOnce(t *testing.T) {
	m := &slow{}
	m.failing(errDown)
	table := must(inference.NewTable(remote(m), inference.TableOptions{}))
	for i := range 100 {
		s := state(0)
		s.Node = fmt.Sprint(i)
		_, _ = table.Predict(t.Context(), s)
	}
	if err := table.Refresh(t.Context()); !errors.Is(err, errDown) || len(err.Error()) > 2000 {
		t.Errorf("%v", err)
	}
	if _, err := table.Predict(t.Context(), power.State{Node: "5", InletTemp: new(power.Celsius(24)), PressureDelta: new(power.Pascals(2))}); !errors.Is(err, errDown) {
		t.Errorf("%v: want the reason", err)
	}
}

func BenchmarkTable(b *testing.B) {
	table := must(inference.NewTable(remote(&slow{}), inference.TableOptions{}))
	s := state(0.4)
	_, _ = table.Predict(b.Context(), s)
	if err := table.Refresh(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := table.Predict(b.Context(), s); err != nil {
			b.Fatal(err)
		}
	}
}
