package scheduler

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/cache"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
)

// A shadow follows what a profile that only watches would have done: for each pod, what its server is
// predicted to draw more than the server that the plugin would have chosen, for as long as the pod runs. Each
// pod is compared in the cluster as it is, so the sum is an estimate of what to expect and no measurement.
// It begins anew with the scheduler.
type shadow struct {
	same, other, unknown, unasked prometheus.Counter
	intensity                     func() (gramsPerKWh float64, ok bool)

	mu      sync.Mutex
	binding map[types.UID]outcome          // guarded by mu: of pods that have a node and are not bound yet
	pods    map[types.UID]swap             // guarded by mu
	saving  power.Watts                    // guarded by mu: the sum of pods
	places  map[*scoring.Meter]power.Watts // guarded by mu: what is drawn more at each place than need be
	since   time.Time                      // guarded by mu: until when the integrals reach
	joules  power.Joules                   // guarded by mu
	grams   float64                        // guarded by mu
	dark    float64                        // guarded by mu: seconds in which the intensity was not known
}

// An outcome is what a pod counts for once it is bound.
type outcome struct {
	counter prometheus.Counter
	swap    swap
	differs bool // the swap is one
	ended   bool // the pod did, before we were told that it is bound
}

// A swap is what a pod draws where it is, and would draw where the plugin would have placed it. The places have
// intensities of their own, which change while the pod runs.
type swap struct {
	is, be     power.Watts
	here, best *scoring.Meter
}

// add counts a swap with a sign.
func (s *shadow) add(x swap, sign power.Watts) {
	s.saving += sign * (x.is - x.be)
	s.draw(x.here, sign*x.is)
	s.draw(x.best, -sign*x.be)
	if len(s.pods) == 0 { // without what rounding left
		s.saving = 0
		clear(s.places)
	}
}

func (s *shadow) draw(at *scoring.Meter, w power.Watts) {
	s.places[at] += w
}

// shadowed is what became of one decision.
type shadowed struct {
	uid    types.UID
	best   scoring.Node // where the plugin would have placed the pod
	demand scoring.Demand
	asked  bool
	known  bool // best is filled in
}

func newShadow(m *metrics, profile string, intensity func() (float64, bool)) *shadow {
	of := func(result string) prometheus.Counter { return m.shadow.WithLabelValues(profile, result) }
	return &shadow{same: of("same"), other: of("other"), unknown: of("unknown"), unasked: of("unasked"), intensity: intensity,
		binding: make(map[types.UID]outcome), pods: make(map[types.UID]swap), places: make(map[*scoring.Meter]power.Watts), since: time.Now()}
}

// placed compares where a pod is to go with where the plugin would have placed it. The chosen server is nil
// where it is not known. Nothing counts before the pod is bound: its binding may fail, and then it is tried again.
func (s *shadow) placed(ctx context.Context, pod types.UID, was *shadowed, scorer scoring.Scorer, chosen *scoring.Node) {
	x := s.compare(ctx, pod, was, scorer, chosen)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.binding[pod] = x
}

func (s *shadow) compare(ctx context.Context, pod types.UID, was *shadowed, scorer scoring.Scorer, chosen *scoring.Node) outcome {
	switch {
	case was.uid != pod || !was.asked:
		return outcome{counter: s.unasked}
	case !was.known || chosen == nil:
		return outcome{counter: s.unknown}
	case chosen.Name == was.best.Name:
		return outcome{counter: s.same}
	}
	c, err := scoring.Explain(ctx, scorer, was.demand, []scoring.Node{was.best, *chosen}, time.Now())
	if err != nil || c[0].PowerErr != nil || c[1].PowerErr != nil {
		return outcome{counter: s.unknown}
	}
	if c[0].Node != was.best.Name {
		c[0], c[1] = c[1], c[0]
	}
	return outcome{counter: s.other, differs: true,
		swap: swap{is: c[1].After - c[1].Before, be: c[0].After - c[0].Before, here: chosen.Meter, best: was.best.Meter}}
}

// bound counts a pod that is bound.
func (s *shadow) bound(pod types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x, ok := s.binding[pod]
	if !ok {
		return
	}
	delete(s.binding, pod)
	x.counter.Inc()
	if !x.differs || x.ended {
		return
	}
	s.advance(time.Now())
	s.pods[pod] = x.swap
	s.add(x.swap, 1)
}

// undone forgets a pod that was not bound.
func (s *shadow) undone(pod types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.binding, pod)
}

// gone ends what a pod counts for.
func (s *shadow) gone(pod types.UID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if b, ok := s.binding[pod]; ok {
		b.ended = true
		s.binding[pod] = b
	}
	x, ok := s.pods[pod]
	if !ok {
		return
	}
	s.advance(time.Now())
	delete(s.pods, pod)
	s.add(x, -1)
}

func (s *shadow) advance(now time.Time) {
	dt := now.Sub(s.since).Seconds()
	if s.since = now; dt <= 0 {
		return
	}
	s.joules += power.Joules(float64(s.saving) * dt)
	if g, ok := s.gramsPerHour(); ok {
		s.grams += g * dt / 3600
	} else {
		s.dark += dt
	}
}

// gramsPerHour returns what is emitted more now than need be, if that is known of every place that counts.
func (s *shadow) gramsPerHour() (float64, bool) {
	sum := 0.0
	for at, w := range s.places {
		if w == 0 {
			continue
		}
		g, ok := at.Tariff().Grams()
		if !ok {
			if g, ok = s.fallback(); !ok {
				return 0, false
			}
		}
		sum += float64(w) * g
	}
	return sum, true
}

// fallback returns the grams of a watt-hour where no meter tells them.
func (s *shadow) fallback() (float64, bool) {
	if s.intensity == nil {
		return 0, false
	}
	g, ok := s.intensity()
	return g / 1000, ok
}

// follow forgets pods as they end, until ctx ends.
func (s *shadow) follow(ctx context.Context, h fwk.Handle) error {
	informer := h.SharedInformerFactory().Core().V1().Pods().Informer()
	reg, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		UpdateFunc: func(_, obj any) {
			if p, ok := obj.(*v1.Pod); ok && (p.Status.Phase == v1.PodSucceeded || p.Status.Phase == v1.PodFailed) {
				s.gone(p.UID)
			}
		},
		DeleteFunc: func(obj any) {
			if last, ok := obj.(cache.DeletedFinalStateUnknown); ok {
				obj = last.Obj
			}
			if p, ok := obj.(*v1.Pod); ok {
				s.gone(p.UID)
			}
		},
	})
	if err != nil {
		return fmt.Errorf("watch pods: %w", err)
	}
	context.AfterFunc(ctx, func() { _ = informer.RemoveEventHandler(reg) })
	return nil
}

// collect sends what the shadow has counted.
func (s *shadow) collect(ch chan<- prometheus.Metric, m *metrics, profile string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.advance(time.Now())
	ch <- prometheus.MustNewConstMetric(m.saving, prometheus.GaugeValue, float64(s.saving), profile)
	ch <- prometheus.MustNewConstMetric(m.savingJoules, prometheus.GaugeValue, float64(s.joules), profile)
	if s.grams != 0 || s.dark == 0 { // otherwise no intensity was ever known
		ch <- prometheus.MustNewConstMetric(m.savingGrams, prometheus.GaugeValue, s.grams, profile)
	}
	ch <- prometheus.MustNewConstMetric(m.dark, prometheus.CounterValue, s.dark, profile)
	if g, ok := s.gramsPerHour(); ok {
		ch <- prometheus.MustNewConstMetric(m.savingRate, prometheus.GaugeValue, g, profile)
	}
}
