package shift

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

// day is a provider whose zone DE is dirty by day and clean at night, with faults on demand.
type day struct {
	now   func() time.Time
	fault string
	rnd   *rand.Rand
}

var faults = []string{"", "away", "null", "gap", "twice", "absurd", "negative", "short", "elsewhere", "empty", "overlap", "zero"}

func (d *day) Signal() grid.Signal { return grid.AverageLifeCycle }

func (d *day) Current(context.Context, string) (grid.Point, error) {
	return grid.Point{}, grid.ErrUnknown
}

func (d *day) Forecast(_ context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if zone != "DE" {
		return nil, fmt.Errorf("zone %q: %w", zone, grid.ErrUnknownZone)
	}
	var ps []grid.Point
	for at := from.Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
		v := 500.0
		if h := at.Hour(); h >= 22 || h < 4 {
			v = 100
		}
		ps = append(ps, grid.Point{Zone: zone, Signal: grid.AverageLifeCycle, Start: at, End: at.Add(time.Hour), Value: v, Forecast: true, Source: "test"})
	}
	n := 3
	if d.rnd != nil {
		n = d.rnd.IntN(len(ps) - 8)
	}
	switch d.fault {
	case "away":
		return nil, errors.New("connection refused")
	case "null":
		return nil, grid.ErrUnknown
	case "gap":
		return append(ps[:n:n], ps[n+7:]...), nil
	case "twice":
		return append(append(ps[:n+1:n+1], ps[n]), ps[n+1:]...), nil
	case "absurd":
		ps[n].Value = 1e9
	case "negative":
		ps[n].Value = -5
	case "zero":
		ps[n].Value = 0
	case "short":
		return ps[:2], nil
	case "elsewhere":
		ps[n].Zone = "FR"
	case "empty":
		return nil, nil
	case "overlap":
		ps[n].End = ps[n].End.Add(time.Minute)
	}
	return ps, nil
}

func pod(name string, created time.Time, annotations map[string]string) *v1.Pod {
	return &v1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: name, UID: types.UID("u-" + name), CreationTimestamp: metav1.Time{Time: created}, Annotations: annotations},
		Spec: v1.PodSpec{SchedulingGates: []v1.PodSchedulingGate{{Name: "other.example/gate"}, {Name: Gate}}, Containers: []v1.Container{{Name: "c", Image: "none",
			Resources: v1.ResourceRequirements{Requests: v1.ResourceList{v1.ResourceCPU: resource.MustParse("2")}}}}}}
}

func suspended(name string, created time.Time, annotations map[string]string) *batchv1.Job {
	return &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: name, UID: types.UID("u-" + name), CreationTimestamp: metav1.Time{Time: created}, Annotations: annotations, Labels: map[string]string{Label: "true"}},
		Spec: batchv1.JobSpec{Suspend: new(true), Template: v1.PodTemplateSpec{Spec: pod(name, created, nil).Spec}}}
}

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := clientgoscheme.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return s
}

type events struct{ list []string }

func (e *events) Eventf(o, _ runtime.Object, kind, reason, _, note string, args ...any) {
	e.list = append(e.list, kind+" "+reason+" "+o.(client.Object).GetName()+": "+fmt.Sprintf(note, args...))
}

const zoneDE = "default: {zone: DE}\n"

func policies(t *testing.T, text string) func() (*Policies, error) {
	t.Helper()
	p, err := ParsePolicies([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return func() (*Policies, error) { return p, nil }
}

// lab is a controller on a client that needs no server, with a clock of its own.
type lab struct {
	*Controller
	t      *testing.T
	c      client.Client
	now    time.Time
	day    *day
	events *events
}

func newLab(t *testing.T, text string, objects ...client.Object) *lab {
	t.Helper()
	l := &lab{t: t, now: noon, events: &events{}}
	l.day = &day{now: func() time.Time { return l.now }}
	l.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).Build()
	l.restart(text)
	return l
}

// holdsBeside tells whether a pod that wants an hour within 14 is held at night beside other objects, Kueue's among them.
func holdsBeside(t *testing.T, text string, there ...client.Object) bool {
	t.Helper()
	objects := append([]client.Object{pod("p", noon, map[string]string{DurationAnnotation: "1h", MaxDelayAnnotation: "14h"}),
		kueueObject(check.WithVersion("v1beta2"), "", "clean", map[string]any{"controllerName": CheckController}, map[string]any{})}, there...)
	l := &lab{t: t, now: night, events: &events{}}
	l.day = &day{now: func() time.Time { return l.now }}
	l.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(objects...).WithStatusSubresource(objects...).Build()
	c, err := New(l.c, l.day, Options{Policies: policies(t, text), Kueue: true, Now: func() time.Time { return l.now }})
	if err != nil {
		t.Fatal(err)
	}
	l.Controller = c
	l.round()
	return gated(l.pod("p"))
}

func (l *lab) restart(text string) {
	l.t.Helper()
	c, err := New(l.c, l.day, Options{Policies: policies(l.t, text), Now: func() time.Time { return l.now }, Events: l.events})
	if err != nil {
		l.t.Fatal(err)
	}
	l.Controller = c
}

func (l *lab) round() {
	l.t.Helper()
	if _, err := l.Round(l.t.Context()); err != nil {
		l.t.Fatal(err)
	}
}

func (l *lab) pod(name string) *v1.Pod {
	l.t.Helper()
	var p v1.Pod
	if err := l.c.Get(l.t.Context(), client.ObjectKey{Namespace: "batch", Name: name}, &p); err != nil {
		l.t.Fatal(err)
	}
	return &p
}

func counter(t *testing.T, c interface{ Write(*dto.Metric) error }) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}
