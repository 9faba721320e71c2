package sensors_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// slow is a source that answers after a while, or fails when its context ends before.
type slow struct {
	after time.Duration
	value float64
	asked *int
}

func (s slow) Read(ctx context.Context, node string) ([]sensors.Reading, error) {
	*s.asked++
	select {
	case <-time.After(s.after):
		return watts(s.value), nil
	case <-ctx.Done():
		return nil, &sensors.Error{Source: "slow", Node: node, Err: errors.Join(sensors.ErrUnreachable, ctx.Err())}
	}
}

// A source that hangs until the deadline does not keep the next from being asked; one that is only slow still wins.
func TestFirstLeavesTimeForTheOthers(t *testing.T) {
	for name, c := range map[string]struct {
		first, second, deadline time.Duration
		want                    float64
		took                    time.Duration
		asked                   int // how often the second was
	}{
		"hangs":             {time.Hour, time.Second, 10 * time.Second, 2, 10 * time.Second, 1},
		"slow":              {8 * time.Second, time.Second, 10 * time.Second, 1, 8 * time.Second, 1},
		"slow, and so both": {8 * time.Second, time.Hour, 10 * time.Second, 1, 8 * time.Second, 1},
		"quick":             {time.Second, time.Second, 10 * time.Second, 1, time.Second, 0},
		"no deadline":       {time.Minute, time.Second, 0, 1, time.Minute, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			if c.deadline > 0 {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, c.deadline)
				defer cancel()
			}
			var one, two int
			s := sensors.First(slow{c.first, 1, &one}, slow{c.second, 2, &two})
			begin := time.Now()
			r, err := s.Read(ctx, "n")
			if len(r) != 1 || r[0].Value != c.want || time.Since(begin) != c.took || one != 1 || two != c.asked {
				t.Errorf("%s: %v, %v after %v, second asked %d times; want %v W after %v and %d", name, r, err, time.Since(begin), two, c.want, c.took, c.asked)
			}
			if failed := c.want == 2; failed != errors.Is(err, sensors.ErrUnreachable) {
				t.Errorf("%s: error %v", name, err)
			}
		})
	}
}

// crowd is a batch of nodes, after a while.
type crowd struct{ slow }

func (c crowd) ReadAll(ctx context.Context, nodes []string) (map[string][]sensors.Reading, map[string]error) {
	r, err := c.Read(ctx, "")
	all, errs := make(map[string][]sensors.Reading), make(map[string]error)
	for _, n := range nodes {
		if err != nil {
			errs[n] = err
		} else {
			all[n] = r
		}
	}
	return all, errs
}

func TestFirstOfBatchesLeavesTimeForTheOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		var one, two int
		s, ok := sensors.First(crowd{slow{time.Hour, 1, &one}}, crowd{slow{time.Second, 2, &two}}).(sensors.BatchSource)
		if !ok {
			t.Fatal("of batches, First is one")
		}
		begin := time.Now()
		all, errs := s.ReadAll(ctx, []string{"a", "b"})
		if len(all) != 2 || all["b"][0].Value != 2 || !errors.Is(errs["a"], sensors.ErrUnreachable) || time.Since(begin) != 6*time.Second {
			t.Errorf("%v, %v after %v", all, errs, time.Since(begin))
		}
	})
}

// What panics beside another source panics where the caller can recover.
func TestFirstPanicsToTheCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		defer func() {
			if v := recover(); v != "broken" {
				t.Errorf("recovered %v", v)
			}
		}()
		var one int
		_, _ = sensors.First(slow{time.Hour, 1, &one}, sensors.SourceFunc(func(context.Context, string) ([]sensors.Reading, error) { panic("broken") })).Read(ctx, "n")
		t.Error("it did not panic")
	})
}
