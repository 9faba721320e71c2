package shift

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

var (
	noon  = time.Date(2024, 6, 3, 12, 0, 0, 0, time.UTC)
	night = noon.Add(10 * time.Hour) // clean from then on, so that what has room starts at once
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

// What waits is explained, starts in the clean hours, and keeps what others put on it.
func TestHeldUntilClean(t *testing.T) {
	cron := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "cron", CreationTimestamp: metav1.Time{Time: noon}, Labels: map[string]string{Label: "true"}},
		Spec: batchv1.CronJobSpec{Suspend: new(true), Schedule: "@daily", JobTemplate: batchv1.JobTemplateSpec{Spec: suspended("x", noon, nil).Spec}}}
	l := newLab(t, zoneDE, pod("p", noon, map[string]string{DeadlineAnnotation: noon.Add(20 * time.Hour).Format(time.RFC3339), DurationAnnotation: "2h"}), suspended("j", noon, nil), cron,
		suspended("other", noon, nil))
	var other batchv1.Job
	key := client.ObjectKey{Namespace: "batch", Name: "other"}
	if err := l.c.Get(t.Context(), key, &other); err != nil {
		t.Fatal(err)
	}
	other.Labels = nil
	if err := l.c.Update(t.Context(), &other); err != nil {
		t.Fatal(err)
	}
	l.round()
	p := l.pod("p")
	if !gated(p) || p.Annotations[PlannedAnnotation] != noon.Add(10*time.Hour).Format(time.RFC3339) || p.Annotations[ReleaseByAnnotation] != noon.Add(20*time.Hour-144*time.Minute).Format(time.RFC3339) ||
		!strings.Contains(p.Annotations[ReasonAnnotation], "100 g/kWh expected then, 500 now") {
		t.Fatalf("annotations %v", p.Annotations)
	}
	if n := len(l.events.list); n != 3 || !strings.Contains(strings.Join(l.events.list, "\n"), "Normal Planned p: planned to start at 2024-06-03T22:00:00Z") {
		t.Errorf("events %q", l.events.list)
	}
	l.round()
	if n := len(l.events.list); n != 3 {
		t.Errorf("a round without news made events: %q", l.events.list)
	}
	l.now = noon.Add(10 * time.Hour)
	l.round()
	if p := l.pod("p"); gated(p) || len(p.Spec.SchedulingGates) != 1 || p.Annotations[ReleasedAnnotation] == "" {
		t.Errorf("gates %v, annotations %v", p.Spec.SchedulingGates, p.Annotations)
	}
	var j batchv1.Job
	if err := l.c.Get(t.Context(), client.ObjectKey{Namespace: "batch", Name: "j"}, &j); err != nil || *j.Spec.Suspend {
		t.Errorf("job: %v, suspended %v", err, *j.Spec.Suspend)
	}
	if err := l.c.Get(t.Context(), client.ObjectKeyFromObject(cron), cron); err != nil || *cron.Spec.Suspend {
		t.Errorf("cron job: %v", err)
	}
	if err := l.c.Get(t.Context(), key, &other); err != nil || !*other.Spec.Suspend || other.Annotations != nil {
		t.Errorf("a job that is not ours was touched: %v", other.Annotations)
	}
	// Somebody suspends it again: that is theirs.
	j.Spec.Suspend = new(true)
	if err := l.c.Update(t.Context(), &j); err != nil {
		t.Fatal(err)
	}
	l.now = l.now.Add(100 * time.Hour)
	l.round()
	if err := l.c.Get(t.Context(), client.ObjectKeyFromObject(&j), &j); err != nil || !*j.Spec.Suspend {
		t.Errorf("a job that was suspended by hand was released")
	}
}

// Nothing is held without a forecast, whatever the fault is, nor with a deadline in the past or an annotation that nobody can read.
func TestNotHeld(t *testing.T) {
	for _, fault := range []string{"away", "null", "absurd", "negative", "elsewhere", "empty", "overlap"} {
		l := newLab(t, zoneDE, pod("p", noon, nil))
		l.day.fault = fault
		l.round()
		if p := l.pod("p"); gated(p) || !strings.HasPrefix(p.Annotations[ReasonAnnotation], "nothing is forecast") {
			t.Errorf("%s: the pod is held without a forecast, or for another reason: %v", fault, p.Annotations)
		}
	}
	for _, fault := range []string{"", "gap", "twice", "zero"} {
		l := newLab(t, zoneDE, pod("p", noon, nil))
		l.day.fault = fault
		l.round()
		if !gated(l.pod("p")) {
			t.Errorf("%q: the pod is not held: %s", fault, l.pod("p").Annotations[ReasonAnnotation])
		}
	}
	l := newLab(t, zoneDE, pod("past", noon, map[string]string{DeadlineAnnotation: "2020-01-01T00:00:00Z"}), pod("garbled", noon, map[string]string{DeadlineAnnotation: "tomorrow"}),
		pod("by", noon, map[string]string{ReleaseByAnnotation: "soon"}), pod("long", noon, map[string]string{DurationAnnotation: "-3h"}), pod("nowhere", noon, map[string]string{ZoneAnnotation: "XX"}),
		pod("never", noon, map[string]string{MaxDelayAnnotation: "0s"}))
	l.round()
	for _, name := range []string{"past", "garbled", "by", "long", "nowhere", "never"} {
		if p := l.pod(name); gated(p) || p.Annotations[ReasonAnnotation] == "" {
			t.Errorf("%s is held: %v", name, p.Annotations)
		}
	}
	if s := strings.Join(l.events.list, "\n"); !strings.Contains(s, "Warning Released garbled") {
		t.Errorf("events %s", s)
	}
	// What users wrote is told in a few words, however much it is.
	for _, name := range []string{ZoneAnnotation, DurationAnnotation, WattsAnnotation, MaxDelayAnnotation, DeadlineAnnotation, ReleaseByAnnotation} {
		l := newLab(t, zoneDE, pod("long", noon, map[string]string{name: strings.Repeat("9x", 50<<10)}))
		l.round()
		if p := l.pod("long"); gated(p) || p.Annotations[ReasonAnnotation] == "" || len(p.Annotations[ReasonAnnotation]) > 256 || len(strings.Join(l.events.list, "")) > 512 {
			t.Errorf("%s of 100 KB is told in %d bytes, events of %d", name, len(p.Annotations[ReasonAnnotation]), len(strings.Join(l.events.list, "")))
		}
	}
}

// Random outages of the provider, the API and the controller, random work: nothing is lost, nothing is held beyond its latest start for
// longer than the controller was away, and what an annotation has promised is kept by every restart.
func TestRandomOutages(t *testing.T) {
	for seed := range uint64(6) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		down := false
		l := &lab{t: t, now: noon, events: &events{}}
		l.day = &day{now: func() time.Time { return l.now }, rnd: rnd}
		l.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithInterceptorFuncs(interceptor.Funcs{
			Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
				if down && rnd.IntN(2) == 0 {
					return errors.New("etcdserver: request timed out")
				}
				return c.Patch(ctx, o, p, opts...)
			}}).Build()
		texts := []string{zoneDE, "default: {zone: DE, budget: {kWhPerDay: 0.2}}\n", "default: {zone: DE}\ncores: {DE: 5}\n", "default: {zone: DE, maxDelay: 1h}\n"}
		l.restart(texts[rnd.IntN(len(texts))])
		latest, seen := make(map[string]time.Time), make(map[string]time.Time)
		away := 0
		const step = 10 * time.Minute
		const steps = 6 * 48
		for n := range steps {
			if n < steps-6*30 && rnd.IntN(4) == 0 {
				name := fmt.Sprint("p", n)
				a := map[string]string{DurationAnnotation: fmt.Sprint(1+rnd.IntN(300), "m")}
				switch rnd.IntN(3) {
				case 0:
					a[DeadlineAnnotation] = l.now.Add(time.Duration(rnd.IntN(30)-4) * time.Hour).Format(time.RFC3339)
				case 1:
					a[MaxDelayAnnotation] = fmt.Sprint(rnd.IntN(20), "h")
				}
				if err := l.c.Create(t.Context(), pod(name, l.now, a)); err != nil {
					t.Fatal(err)
				}
			}
			if rnd.IntN(20) == 0 {
				l.day.fault = faults[rnd.IntN(len(faults))]
			}
			if rnd.IntN(15) == 0 {
				down = !down && n < steps-6*26
			}
			if away > 0 {
				away--
			} else if rnd.IntN(40) == 0 {
				away = rnd.IntN(60)
			}
			if away == 0 {
				if rnd.IntN(10) == 0 {
					l.restart(texts[rnd.IntN(len(texts))])
				}
				_, err := l.Round(t.Context())
				var list v1.PodList
				if e := l.c.List(t.Context(), &list); e != nil {
					t.Fatal(e)
				}
				for i := range list.Items {
					p := &list.Items[i]
					if at, err := time.Parse(time.RFC3339, p.Annotations[ReleaseByAnnotation]); err == nil {
						if old, ok := latest[p.Name]; ok && !old.Equal(at) {
							t.Fatalf("seed %d: %s: the promised latest start moved from %v to %v", seed, p.Name, old, at)
						}
						latest[p.Name] = at
					}
					if gated(p) && err == nil {
						must := newItem("Pod", p, l.policies.Load().Of("batch"), 2, 0, nil).latest
						if !must.After(l.now) {
							t.Errorf("seed %d: %s is held at %v, its latest start was %v", seed, p.Name, l.now, must)
						}
					}
					if !gated(p) && seen[p.Name].IsZero() {
						seen[p.Name] = l.now
					}
				}
			}
			l.now = l.now.Add(step)
		}
		var list v1.PodList
		if err := l.c.List(t.Context(), &list); err != nil {
			t.Fatal(err)
		}
		for i := range list.Items {
			if gated(&list.Items[i]) {
				t.Errorf("seed %d: %s is never released", seed, list.Items[i].Name)
			}
		}
		if len(list.Items) < 20 {
			t.Errorf("seed %d: %d pods", seed, len(list.Items))
		}
	}
}

// A controller that was away for days releases by the annotation, though policies and provider fail; so does ReleaseOverdue.
func TestSafetyRelease(t *testing.T) {
	l := newLab(t, zoneDE, pod("p", noon, nil), pod("q", noon, nil), pod("fresh", noon, nil))
	l.round()
	by := l.pod("p").Annotations[ReleaseByAnnotation]
	if by != noon.Add(24*time.Hour).Format(time.RFC3339) {
		t.Fatalf("release-by %q", by)
	}
	l.now = noon.Add(72 * time.Hour)
	c, err := New(l.c, &day{fault: "away"}, Options{Policies: func() (*Policies, error) { return nil, errors.New("no such file") }, Now: func() time.Time { return l.now }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Round(t.Context()); err == nil || gated(l.pod("p")) {
		t.Errorf("error %v, gated %v", err, gated(l.pod("p")))
	}
	l = newLab(t, zoneDE, pod("p", noon, nil), pod("later", noon, map[string]string{MaxDelayAnnotation: "48h"}))
	l.round()
	if n, err := ReleaseOverdue(t.Context(), l.c, false, noon.Add(25*time.Hour)); n != 1 || err != nil || gated(l.pod("p")) || !gated(l.pod("later")) {
		t.Errorf("%d released, %v", n, err)
	}
}

// asked is a provider that looks at the pods when it is asked.
type asked struct {
	day
	look func()
}

func (a *asked) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	a.look()
	return a.day.Forecast(ctx, zone, from, until)
}

// What must start is not kept waiting by a provider that hangs.
func TestMustBeforeForecast(t *testing.T) {
	l := newLab(t, zoneDE, pod("p", noon.Add(-25*time.Hour), nil), pod("q", noon, nil))
	looked := false
	c, err := New(l.c, &asked{day{}, func() {
		if looked = true; gated(l.pod("p")) {
			t.Error("the provider is asked before what must start has started")
		}
		if l.pod("q").Annotations[ReleaseByAnnotation] == "" {
			t.Error("the provider is asked before the latest start is written down")
		}
	}}, Options{Policies: policies(t, zoneDE), Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Round(t.Context()); err != nil || !looked {
		t.Errorf("%v, asked %v", err, looked)
	}
}

// A start that failed after it was charged is charged once.
func TestChargedOnce(t *testing.T) {
	const text = "default: {zone: DE, budget: {kWhPerDay: 1}}\n"
	fails := 3
	l := &lab{t: t, now: noon.Add(10 * time.Hour), events: &events{}}
	l.day = &day{now: func() time.Time { return l.now }}
	l.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(pod("p", l.now, map[string]string{ReleaseByAnnotation: l.now.Add(6 * time.Hour).Format(time.RFC3339)})).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if fails--; fails >= 0 {
				return errors.New("away")
			}
			return c.Patch(ctx, o, p, opts...)
		}}).Build()
	for range 4 {
		l.restart(text)
		_, _ = l.Round(t.Context()) // fails three times
	}
	var book v1.ConfigMap
	if err := l.c.Get(t.Context(), client.ObjectKey{Namespace: "batch", Name: LedgerName}, &book); err != nil || book.Data["kWh"] != "0.016" || gated(l.pod("p")) {
		t.Errorf("%v: %v, gated %v", err, book.Data, gated(l.pod("p")))
	}
}

// Budgets are charged once; in the middle of a batch the rest waits for the next day, is warned, or refused; what must start does.
func TestBudgets(t *testing.T) {
	var objects []client.Object
	for i := range 5 { // 2 cores × 8 W for an hour: 16 Wh each, 1.6 g at night
		objects = append(objects, pod(fmt.Sprint("p", i), noon, map[string]string{DeadlineAnnotation: noon.Add(60 * time.Hour).Format(time.RFC3339)}))
	}
	count := func(l *lab) (n int) {
		for i := range 5 {
			if !gated(l.pod(fmt.Sprint("p", i))) {
				n++
			}
		}
		return n
	}
	copies := func() (out []client.Object) {
		for _, o := range objects {
			out = append(out, o.DeepCopyObject().(client.Object))
		}
		return out
	}
	for _, budget := range []string{"{kWhPerDay: 0.04, over: delay}", "{gramsPerDay: 4}"} {
		l := newLab(t, "default: {zone: DE, budget: "+budget+"}\n", copies()...)
		l.round()
		l.now = noon.Add(10 * time.Hour)
		l.round()
		if n := count(l); n != 2 {
			t.Errorf("%s: %d started, want 2 of 5", budget, n)
		}
		l.restart("default: {zone: DE, budget: " + budget + "}\n") // the sums outlive it
		l.round()
		if n := count(l); n != 2 {
			t.Errorf("%s: %d started after a restart, want 2", budget, n)
		}
		l.now = noon.Add(12*time.Hour + time.Minute) // the next day
		l.round()
		if n := count(l); n != 4 {
			t.Errorf("%s: %d started on the next day, want 4", budget, n)
		}
		l.now = noon.Add(59 * time.Hour)
		l.round()
		if n := count(l); n != 5 {
			t.Errorf("%s: %d started at their latest start", budget, n)
		}
	}
	l := newLab(t, "default: {zone: DE, budget: {kWhPerDay: 0.04, over: warn}}\n", copies()...)
	l.round()
	l.now = noon.Add(10 * time.Hour)
	l.round()
	if n := count(l); n != 5 || strings.Count(strings.Join(l.events.list, "\n"), "Warning BudgetExhausted") != 3 {
		t.Errorf("warn: %d started, events %q", n, l.events.list)
	}

	const refuse = "default: {zone: DE}\nnamespaces: {batch: {budget: {kWhPerDay: 0.03, over: refuse}}}\n"
	l = newLab(t, refuse, copies()...)
	ask := func(ns string, o client.Object) bool {
		raw, err := json.Marshal(o)
		if err != nil {
			t.Fatal(err)
		}
		return l.Admit(t.Context(), admission.Request{AdmissionRequest: admissionv1.AdmissionRequest{Operation: "CREATE", Namespace: ns, Object: runtime.RawExtension{Raw: raw}}}).Allowed
	}
	l.round()
	if !ask("batch", objects[0]) {
		t.Error("refused before the budget is used up")
	}
	l.now = noon.Add(10 * time.Hour)
	l.round()
	var book v1.ConfigMap
	if err := l.c.Get(t.Context(), client.ObjectKey{Namespace: "batch", Name: LedgerName}, &book); err != nil || book.Data["kWh"] != "0.016" {
		t.Fatalf("%v: %v", book.Data, err)
	}
	book.Data["kWh"] = "0.03"
	if err := l.c.Update(t.Context(), &book); err != nil {
		t.Fatal(err)
	}
	plain := pod("plain", noon, nil)
	plain.Spec.SchedulingGates = nil
	if ask("batch", objects[0]) || ask("batch", suspended("j", noon, nil)) || !ask("batch", plain) || !ask("elsewhere", objects[0]) {
		t.Error("the webhook refuses new shifted work of this namespace alone")
	}
}

// A dry run changes nothing but that it counts.
func TestDryRun(t *testing.T) {
	l := newLab(t, "default: {zone: DE, dryRun: true}\n", pod("p", noon, map[string]string{DurationAnnotation: "1h"}))
	l.round()
	if gated(l.pod("p")) {
		t.Error("a dry run holds work")
	}
	if got, want := counter(t, l.metrics.would.WithLabelValues("batch")), 0.016*(500-100); math.Abs(got-want) > 1e-9 {
		t.Errorf("would have saved %v g, want %v", got, want)
	}
}

// What a dry run starts is counted once, however often its start fails, and as what it emits at once; nothing is said to be saved.
func TestDryRunCountsOnce(t *testing.T) {
	fails := 2
	l := &lab{t: t, now: noon, events: &events{}}
	l.day = &day{now: func() time.Time { return l.now }}
	l.c = fake.NewClientBuilder().WithScheme(scheme(t)).WithObjects(pod("p", noon, map[string]string{AtOnceAnnotation: "8.0", ReleaseByAnnotation: noon.Add(20 * time.Hour).Format(time.RFC3339)})).WithInterceptorFuncs(interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			if fails--; fails >= 0 {
				return errors.New("away")
			}
			return c.Patch(ctx, o, p, opts...)
		}}).Build()
	l.restart("default: {zone: DE, dryRun: true}\n")
	for range 3 {
		_, _ = l.Round(t.Context()) // fails twice
	}
	p := l.pod("p")
	if gated(p) || strings.Contains(p.Annotations[ReasonAnnotation], "instead of") {
		t.Errorf("gated %v, %q", gated(p), p.Annotations[ReasonAnnotation])
	}
	for what, got := range map[string][2]float64{"would have saved": {counter(t, l.metrics.would.WithLabelValues("batch")), 0.016 * (500 - 100)},
		"emitted": {counter(t, l.metrics.doneGrams.WithLabelValues("batch", "Pod")), 0.016 * 500}, "saved": {counter(t, l.metrics.saved.WithLabelValues("batch")), 0}} {
		if math.Abs(got[0]-got[1]) > 1e-9 {
			t.Errorf("%s %v g, want %v", what, got[0], got[1])
		}
	}
}

// No more cores than allowed are planned at once.
func TestCapacity(t *testing.T) {
	var objects []client.Object
	for i := range 6 { // 2 cores for two hours each: of the six clean hours, three rounds of one pod fit into 2 cores
		objects = append(objects, pod(fmt.Sprint("p", i), noon, map[string]string{DurationAnnotation: "2h", MaxDelayAnnotation: "40h"}))
	}
	l := newLab(t, "default: {zone: DE}\ncores: {DE: 2}\n", objects...)
	running := make(map[string]time.Time)
	for range 6 * 44 {
		l.round()
		busy := 0
		for i := range 6 {
			name := fmt.Sprint("p", i)
			p := l.pod(name)
			if gated(p) {
				continue
			}
			if running[name].IsZero() {
				running[name] = l.now
			}
			if l.now.Before(running[name].Add(2 * time.Hour)) {
				busy++
			} else if p.Status.Phase != v1.PodSucceeded {
				p.Status.Phase = v1.PodSucceeded
				if err := l.c.Status().Update(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
		}
		if busy > 1 {
			t.Fatalf("%d pods run at %v, 2 cores allow one", busy, l.now)
		}
		l.now = l.now.Add(10 * time.Minute)
	}
	if len(running) != 6 {
		t.Errorf("%d of 6 pods ran", len(running))
	}
}

// What starts whatever the plan says takes room in it at once: what must start, and what a dry run lets start; and so does what runs of
// Jobs, CronJobs and Kueue's Workloads that were released, until it ends.
func TestWhatRunsTakesRoom(t *testing.T) {
	released := map[string]string{ReleasedAnnotation: noon.Format(time.RFC3339), DurationAnnotation: "1h"}
	cron := func(ago time.Duration, active int) *batchv1.CronJob {
		o := &batchv1.CronJob{ObjectMeta: metav1.ObjectMeta{Namespace: "batch", Name: "c", Annotations: released, Labels: map[string]string{Label: "true"}},
			Spec: batchv1.CronJobSpec{Suspend: new(false), JobTemplate: batchv1.JobTemplateSpec{Spec: suspended("c", noon, nil).Spec}}}
		o.Status.LastScheduleTime = &metav1.Time{Time: night.Add(-ago)}
		for i := range active {
			o.Status.Active = append(o.Status.Active, v1.ObjectReference{Kind: "Job", Name: fmt.Sprint("c-", i)})
		}
		return o
	}
	job := func(suspend bool, conditions ...batchv1.JobConditionType) *batchv1.Job {
		o := suspended("j", noon, map[string]string{ReleasedAnnotation: night.Add(-time.Minute).Format(time.RFC3339), DurationAnnotation: "1h"})
		o.Spec.Suspend = &suspend
		for _, c := range conditions {
			o.Status.Conditions = append(o.Status.Conditions, batchv1.JobCondition{Type: c, Status: v1.ConditionTrue})
		}
		return o
	}
	load := func(state, finished string) client.Object {
		pods := map[string]any{"count": int64(1), "template": map[string]any{"spec": map[string]any{"containers": []any{map[string]any{"resources": map[string]any{"requests": map[string]any{"cpu": "2"}}}}}}}
		o := kueueObject(workload.WithVersion("v1beta2"), "batch", "w", map[string]any{"podSets": []any{pods}}, map[string]any{"admissionChecks": []any{map[string]any{"name": "clean", "state": state}},
			"conditions": []any{map[string]any{"type": "QuotaReserved", "status": "True"}, map[string]any{"type": "Finished", "status": finished}}})
		a := map[string]string{ReleasedAnnotation: night.Add(-time.Minute).Format(time.RFC3339), DurationAnnotation: "1h"}
		o.SetAnnotations(a)
		return o
	}
	elsewhere := pod("other", noon, map[string]string{DurationAnnotation: "1h", MaxDelayAnnotation: "1s"})
	dry := pod("other", noon, map[string]string{DurationAnnotation: "1h"})
	dry.Namespace = "dry"
	for name, c := range map[string]struct {
		other client.Object
		holds bool // the pod that would start now
	}{
		"nothing":                   {nil, false},
		"a pod that must start":     {elsewhere, true},
		"a dry run":                 {dry, true},
		"a CronJob that runs":       {cron(10*time.Minute, 1), true},
		"a CronJob that does not":   {cron(10*time.Minute, 0), false},
		"a Job without pods yet":    {job(false), true},
		"a Job that failed":         {job(false, batchv1.JobFailed), false},
		"a Job somebody suspended":  {job(true), false},
		"a Workload that runs":      {load("Ready", "False"), true},
		"a Workload that has ended": {load("Ready", "True"), false},
	} {
		var there []client.Object
		if c.other != nil {
			there = append(there, c.other)
		}
		if got := holdsBeside(t, "default: {zone: DE}\nnamespaces: {dry: {dryRun: true}}\ncores: {DE: 2}\n", there...); got != c.holds {
			t.Errorf("beside %s: held %v, want %v", name, got, c.holds)
		}
	}
}

// In a dry run of everything what would have been saved counts the room that there would have been.
func TestDryRunHasRoomInItsOwnPlan(t *testing.T) {
	var objects []client.Object
	for i := range 2 { // of the six clean hours there is room for one
		objects = append(objects, pod(fmt.Sprint("p", i), noon, map[string]string{DurationAnnotation: "6h", MaxDelayAnnotation: "11h"}))
	}
	l := newLab(t, "default: {zone: DE, dryRun: true}\ncores: {DE: 2}\n", objects...)
	l.round()
	one := 0.016 * 6 * (500 - 100)
	if got := counter(t, l.metrics.would.WithLabelValues("batch")); !(got >= one-1e-9 && got < 1.5*one) {
		t.Errorf("%v g would have been saved, want those of one pod, %v", got, one)
	}
}

func counter(t *testing.T, c interface{ Write(*dto.Metric) error }) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// Whatever stands in annotations, an object has a latest start or is released, and a plan keeps it.
func TestAnyAnnotations(t *testing.T) {
	ps, err := (&day{}).Forecast(t.Context(), "DE", noon, noon.Add(horizon))
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{"", "2024-06-04T12:00:00Z", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2024-06-03T12:00:01+14:00", "6h", "0s", "-1h", "1ns", "8760h", "99999999h", "100", "0", "-5", "NaN", "1e400", "Inf", "soon", "\x00"}
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		a := make(map[string]string)
		for _, name := range []string{DeadlineAnnotation, MaxDelayAnnotation, DurationAnnotation, WattsAnnotation, ReleaseByAnnotation} {
			if v := texts[rnd.IntN(len(texts))]; v != "" && rnd.IntN(2) == 0 {
				a[name] = v
			}
		}
		i := newItem("Pod", pod("p", noon, a), (&Policies{Default: Policy{Zone: "DE"}}).Of("batch"), 2, 0, nil)
		ds, err := plan(noon, []*item{i}, nil, map[string][]grid.Point{"DE": ps}, nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		if at := ds[0].start; at.After(noon) && (at.After(i.latest) || i.bad != nil || !i.latest.After(noon)) {
			t.Errorf("%v: latest %v, %v: planned for %v", a, i.latest, i.bad, at)
		}
		if k := i.kWh(); !(k >= 0) || math.IsInf(k, 0) {
			t.Errorf("%v: %v kWh", a, k)
		}
	}
}
