package shift

import (
	"errors"
	"math"
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics counts what the controller does. Its zero registerer counts without telling anybody.
type metrics struct {
	held       *prometheus.GaugeVec
	done       *prometheus.CounterVec
	doneKWh    *prometheus.CounterVec
	doneGrams  *prometheus.CounterVec
	saved      *prometheus.CounterVec
	would      *prometheus.CounterVec
	over       *prometheus.CounterVec
	kWh        *prometheus.GaugeVec
	grams      *prometheus.GaugeVec
	limitKWh   *prometheus.GaugeVec
	limitGrams *prometheus.GaugeVec
	admitted   *prometheus.CounterVec
	outages    prometheus.Counter
	previous   map[[2]string]bool // label values of held at the last round
	days       map[string]string  // that the sums of a namespace are of
	limited    map[string]bool    // namespaces whose limits were told at the last round
}

func newMetrics(r prometheus.Registerer) (*metrics, error) {
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Namespace: "leastwatt", Subsystem: "shift", Name: name, Help: help}, labels)
	}
	gauge := func(name, help string, labels ...string) *prometheus.GaugeVec {
		return prometheus.NewGaugeVec(prometheus.GaugeOpts{Namespace: "leastwatt", Subsystem: "shift", Name: name, Help: help}, labels)
	}
	m := &metrics{
		held:       gauge("held", "Objects that wait, by namespace and kind.", "namespace", "kind"),
		done:       counter("released_total", "Objects released, by namespace, kind and cause: clean, latest, unknown, unreadable, dry-run.", "namespace", "kind", "cause"),
		doneKWh:    counter("released_kilowatthours_total", "Energy expected of objects released whose emissions are known.", "namespace", "kind"),
		doneGrams:  counter("released_grams_total", "Emissions expected of objects released, gCO2eq; over their energy it is the mean intensity at the start.", "namespace", "kind"),
		saved:      counter("saved_grams_total", "Emissions expected to be saved against an immediate start, gCO2eq, by the forecasts at the first plan and at the start.", "namespace"),
		would:      counter("dry_run_saved_grams_total", "What dry runs would have saved, gCO2eq.", "namespace"),
		over:       counter("budget_exhausted_total", "Starts put off because the day's budget was used up.", "namespace"),
		kWh:        gauge("budget_spent_kilowatthours", "Energy of what was started today.", "namespace"),
		grams:      gauge("budget_spent_grams", "Emissions of what was started today, gCO2eq.", "namespace"),
		limitKWh:   gauge("budget_kilowatthours", "Energy that may be started for in a day; a namespace without this limit has no series.", "namespace"),
		limitGrams: gauge("budget_grams", "Emissions that may be started for in a day, gCO2eq; a namespace without this limit has no series.", "namespace"),
		admitted:   counter("admissions_total", "New shifted work in namespaces with a budget that the webhook was asked about, by result: admitted, warned, refused.", "namespace", "result"),
		days:       make(map[string]string),
		outages:    prometheus.NewCounter(prometheus.CounterOpts{Namespace: "leastwatt", Subsystem: "shift", Name: "forecast_failures_total", Help: "Rounds in which a zone's forecast could not be had."}),
	}
	if r == nil {
		return m, nil
	}
	var errs []error
	for _, c := range []prometheus.Collector{m.held, m.done, m.doneKWh, m.doneGrams, m.saved, m.would, m.over, m.kWh, m.grams, m.limitKWh, m.limitGrams, m.admitted, m.outages} {
		errs = append(errs, r.Register(c))
	}
	return m, errors.Join(errs...)
}

func (m *metrics) seen(items []*item) {
	now := make(map[[2]string]bool)
	count := make(map[[2]string]float64)
	for _, i := range items {
		k := [2]string{i.object.GetNamespace(), i.kind}
		now[k] = true
		count[k]++
	}
	for k := range m.previous {
		if !now[k] {
			m.held.DeleteLabelValues(k[0], k[1])
		}
	}
	for k, n := range count {
		m.held.WithLabelValues(k[0], k[1]).Set(n)
	}
	m.previous = now
}

func (m *metrics) released(i *item, d *decision) {
	m.done.WithLabelValues(i.object.GetNamespace(), i.kind, d.cause).Inc()
	if !math.IsNaN(d.grams) {
		m.doneKWh.WithLabelValues(i.object.GetNamespace(), i.kind).Add(i.kWh())
		m.doneGrams.WithLabelValues(i.object.GetNamespace(), i.kind).Add(d.grams)
	}
	if d.would > 0 && !math.IsInf(d.would, 0) {
		m.would.WithLabelValues(i.object.GetNamespace()).Add(d.would)
	}
	if before, err := strconv.ParseFloat(i.object.GetAnnotations()[AtOnceAnnotation], 64); err == nil && before > d.grams {
		m.saved.WithLabelValues(i.object.GetNamespace()).Add(before - d.grams)
	}
}

func (m *metrics) overBudget(namespace string) { m.over.WithLabelValues(namespace).Inc() }

// limits tells the budgets of the namespaces that have work or are named in the policies.
func (m *metrics) limits(p *Policies, items []*item) {
	limit := func(g *prometheus.GaugeVec, namespace string, v float64) {
		if v > 0 {
			g.WithLabelValues(namespace).Set(v)
		} else {
			g.DeleteLabelValues(namespace)
		}
	}
	now := make(map[string]bool)
	set := func(namespace string) {
		var b Budget
		if x := p.Of(namespace).Budget; x != nil {
			b = *x
		}
		now[namespace] = true
		limit(m.limitKWh, namespace, b.KWhPerDay)
		limit(m.limitGrams, namespace, b.GramsPerDay)
	}
	if p != nil {
		for namespace := range p.Namespaces {
			set(namespace)
		}
	}
	for _, i := range items {
		set(i.object.GetNamespace())
	}
	for namespace := range m.limited {
		if !now[namespace] {
			limit(m.limitKWh, namespace, 0)
			limit(m.limitGrams, namespace, 0)
		}
	}
	m.limited = now
}

// day begins the sums of a new day at nothing.
func (m *metrics) day(day string) {
	for namespace, of := range m.days {
		if of != day {
			m.kWh.WithLabelValues(namespace).Set(0)
			m.grams.WithLabelValues(namespace).Set(0)
			delete(m.days, namespace)
		}
	}
}

func (m *metrics) spent(namespace string, l *ledger) {
	m.days[namespace] = l.day
	m.kWh.WithLabelValues(namespace).Set(l.kWh)
	m.grams.WithLabelValues(namespace).Set(l.grams)
}

func (m *metrics) admission(namespace, result string) {
	m.admitted.WithLabelValues(namespace, result).Inc()
}

func (m *metrics) outage() { m.outages.Inc() }
