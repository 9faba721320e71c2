package shift

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// However long rounds have failed, with policies that nobody can read, the next comes in time for the next latest start, and within the interval.
func TestRoundsGoOnWhileTheyFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		latest := began.Add(2*time.Hour + 17*time.Minute)
		l := &lab{t: t, day: &day{}}
		l.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(suspended("report", began, map[string]string{ReleaseByAnnotation: latest.Format(time.RFC3339), ZoneAnnotation: "DE"})).Build()
		rounds := 0
		c, err := New(l.c, dirty{}, Options{Policies: func() (*Policies, error) { rounds++; return nil, errors.New("no such file") }})
		if err != nil {
			t.Fatal(err)
		}
		loop, err := controller.NewUnmanaged("test", c.options())
		if err != nil {
			t.Fatal(err)
		}
		if err := loop.Watch(source.Func(func(_ context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request]) error {
			q.Add(reconcile.Request{})
			return nil
		})); err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- loop.Start(ctx) }()
		time.Sleep(3 * time.Hour)
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		got := suspended("report", began, nil)
		if err := l.c.Get(t.Context(), client.ObjectKeyFromObject(got), got); err != nil {
			t.Fatal(err)
		}
		at, err := time.Parse(time.RFC3339, got.Annotations[ReleasedAnnotation])
		if err != nil || at.Sub(began) < 2*time.Hour || at.After(latest) {
			t.Errorf("released %v after its latest start, %v (%v), in %d rounds", at.Sub(latest), got.Annotations, err, rounds)
		}
		if rounds < 180 {
			t.Errorf("%d rounds in three hours", rounds)
		}
	})
}

// dirty is a grid that is much cleaner in three hours.
type dirty struct{}

func (dirty) Signal() grid.Signal { return grid.AverageLifeCycle }

func (dirty) Current(context.Context, string) (grid.Point, error) {
	return grid.Point{}, grid.ErrUnknown
}

func (dirty) Forecast(_ context.Context, zone string, from, until time.Time) (ps []grid.Point, err error) {
	for at := from.Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		v := 500.0
		if at.UTC().Hour() >= 3 {
			v = 100
		}
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.AverageLifeCycle, Start: at, End: at.Add(time.Hour), Value: v, Forecast: true, Source: "test"})
	}
	return ps, nil
}
