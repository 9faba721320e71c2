package shift

import (
	"context"
	"errors"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

// What started because it had to is charged, although the ledger could not be written or read at that time; nothing is charged to the day after.
func TestWhatMustStartIsChargedLater(t *testing.T) {
	const text = "default: {zone: DE, budget: {kWhPerDay: 1}}\n"
	for _, fault := range []string{"conflict", "away", "unreadable", "tomorrow"} {
		l := &lab{t: t, now: noon, events: &events{}}
		l.day = &day{now: func() time.Time { return l.now }}
		fails := 2
		fail := func() error {
			if fails--; fails < 0 {
				return nil
			}
			if fault == "conflict" {
				return apierrors.NewConflict(schema.GroupResource{Resource: "configmaps"}, LedgerName, errors.New("somebody else has written"))
			}
			return errors.New("away")
		}
		l.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(pod("p", l.now.Add(-time.Hour), map[string]string{MaxDelayAnnotation: "1h"})).WithInterceptorFuncs(interceptor.Funcs{
			Get: func(ctx context.Context, c client.WithWatch, k client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if _, ok := o.(*v1.ConfigMap); ok && fault == "unreadable" {
					if err := fail(); err != nil {
						return err
					}
				}
				return c.Get(ctx, k, o, opts...)
			},
			Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
				if err := fail(); err != nil && fault != "unreadable" {
					return err
				}
				return c.Create(ctx, o, opts...)
			}}).Build()
		l.restart(text)
		for round := range 4 {
			if _, err := l.Round(t.Context()); (err != nil) != (round == 0 || round == 1 && fault != "tomorrow") {
				t.Errorf("%s: round %d: %v", fault, round, err)
			}
			if gated(l.pod("p")) {
				t.Fatalf("%s: it is held", fault)
			}
			if l.now = l.now.Add(time.Minute); fault == "tomorrow" {
				l.now = l.now.Add(23 * time.Hour)
			}
		}
		var book v1.ConfigMap
		err := l.c.Get(t.Context(), client.ObjectKey{Namespace: "batch", Name: LedgerName}, &book)
		if fault == "tomorrow" {
			if !apierrors.IsNotFound(err) {
				t.Errorf("%s: %v: charged to another day: %v", fault, err, book.Data)
			}
			continue
		}
		if err != nil || book.Data["kWh"] != "0.016" || book.Data["charged"] != "u-p" {
			t.Errorf("%s: %v: %v, want 0.016 kWh once", fault, err, book.Data)
		}
	}
}

// A clock that goes back over midnight, or two controllers whose clocks differ a little, do not begin a day's sums anew; a ledger of a day that is far ahead does
// not count.
func TestLedgerOfTomorrow(t *testing.T) {
	const text = "default: {zone: DE, budget: {kWhPerDay: 0.02}}\n"
	midnight := noon.Truncate(24 * time.Hour).Add(24 * time.Hour)
	p := func(name string) client.Object {
		return pod(name, midnight.Add(-time.Hour), map[string]string{MaxDelayAnnotation: "30h", ZoneAnnotation: "XX"}) // nothing is forecast: as soon as the budget allows
	}
	l := newLab(t, text, p("a"), p("b"))
	l.now = midnight.Add(time.Minute)
	l.round()
	l.now = midnight.Add(-time.Minute)
	for range 2 {
		l.round()
	}
	if gated(l.pod("a")) == gated(l.pod("b")) {
		t.Errorf("started: a %v, b %v: want one for a day of 0.02 kWh", !gated(l.pod("a")), !gated(l.pod("b")))
	}
	l.now = midnight.Add(2 * time.Minute)
	l.round()
	if gated(l.pod("a")) == gated(l.pod("b")) {
		t.Error("both started when the clock was right again")
	}
	l.now = midnight.Add(24*time.Hour + time.Minute)
	l.round()
	if gated(l.pod("a")) || gated(l.pod("b")) {
		t.Error("one is held on the next day")
	}
	l = newLab(t, text, p("a"), &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: LedgerName}, Data: map[string]string{"day": "2036-01-01", "kWh": "0.02", "grams": "0"}})
	l.now = midnight
	l.round()
	if gated(l.pod("a")) {
		t.Error("held by a ledger of 2036")
	}
}
