package shift

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

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
