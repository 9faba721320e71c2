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

	admissionv1 "k8s.io/api/admission/v1"
	batchv1 "k8s.io/api/batch/v1"
	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
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
