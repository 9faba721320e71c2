package main

import (
	"cmp"
	"context"
	"database/sql"
	"maps"
	"math"
	"slices"
	"sync"
	"time"
)

// A KPI sums up finished jobs.
type KPI struct {
	Node       string     `json:"node,omitempty"`
	Strategy   string     `json:"strategy"`
	Hour       *time.Time `json:"hour,omitempty"`
	Jobs       int        `json:"jobs"`
	Failed     int        `json:"failed"`
	KWh        float64    `json:"energyKWh"`
	Grams      float64    `json:"carbonGrams"`             // of the jobs whose carbon is known
	AtOnce     float64    `json:"atOnceGrams"`             // of the same energy, had they started when they were accepted, at the site where they draw the least
	Intensity  *float64   `json:"meanIntensity,omitempty"` // g/kWh, weighted by energy
	Turnaround float64    `json:"meanTurnaroundSeconds"`
	Wait       float64    `json:"meanWaitSeconds"`
	Suspended  int        `json:"suspensions"`
}

type kpiKey struct {
	node, strategy string
	hour           int64 // since 1970; 0 in the sums over all time
}

type kpiSum struct {
	jobs, failed, suspended      int
	kwh, grams, atOnce, kwhKnown float64
	turnaroundSec, waitSecs      float64
}

// KPIs are sums by node and strategy, and by hour and strategy for the last days. They are not safe for concurrent use.
type KPIs struct {
	total  map[kpiKey]*kpiSum
	hourly map[kpiKey]*kpiSum
}

// hoursKept is how many hours of sums are kept in memory; the database has all.
const hoursKept = 96

func (k *KPIs) add(j *Job) {
	s := kpiSum{jobs: 1, suspended: len(j.Ran), kwh: j.KWh, turnaroundSec: j.Ended.Sub(j.Submitted).Seconds(), waitSecs: j.Started.Sub(j.Submitted).Seconds()}
	if j.State == Failed {
		s.failed = 1
	}
	if !math.IsNaN(j.Grams) {
		s.grams, s.atOnce, s.kwhKnown = j.Grams, j.Grams, j.KWh
		if !math.IsNaN(j.AtOnce) { // else nothing is said to be saved
			s.atOnce = j.AtOnce * j.KWh
		}
	}
	hour := j.Ended.Unix() / 3600
	k.sum(kpiKey{j.Node, j.Strategy, 0}, hour, s)
}

func (k *KPIs) sum(key kpiKey, hour int64, s kpiSum) {
	addTo(k.total, key, s)
	addTo(k.hourly, kpiKey{"", key.strategy, hour}, s)
	if len(k.hourly) > 64*hoursKept {
		maps.DeleteFunc(k.hourly, func(x kpiKey, _ *kpiSum) bool { return x.hour < hour-hoursKept })
	}
}

func addTo(m map[kpiKey]*kpiSum, key kpiKey, s kpiSum) {
	t := m[key]
	if t == nil {
		t = new(kpiSum)
		m[key] = t
	}
	t.jobs += s.jobs
	t.failed += s.failed
	t.suspended += s.suspended
	t.kwh += s.kwh
	t.grams += s.grams
	t.atOnce += s.atOnce
	t.kwhKnown += s.kwhKnown
	t.turnaroundSec += s.turnaroundSec
	t.waitSecs += s.waitSecs
}

func (s *kpiSum) kpi(key kpiKey) KPI {
	n := float64(max(s.jobs, 1))
	k := KPI{Node: key.node, Strategy: key.strategy, Jobs: s.jobs, Failed: s.failed, KWh: s.kwh, Grams: s.grams, AtOnce: s.atOnce, Turnaround: s.turnaroundSec / n, Wait: s.waitSecs / n, Suspended: s.suspended}
	if key.hour > 0 {
		k.Hour = new(time.Unix(key.hour*3600, 0).UTC())
	}
	if s.kwhKnown > 0 {
		k.Intensity = new(s.grams / s.kwhKnown)
	}
	return k
}

// lists returns the sums by node and strategy, by strategy, and by hour and strategy.
func (k *KPIs) lists() (byNode, byStrategy, byHour []KPI) {
	strategies := make(map[kpiKey]*kpiSum)
	for key, s := range k.total {
		byNode = append(byNode, s.kpi(key))
		addTo(strategies, kpiKey{"", key.strategy, 0}, *s)
	}
	for key, s := range strategies {
		byStrategy = append(byStrategy, s.kpi(key))
	}
	for key, s := range k.hourly {
		byHour = append(byHour, s.kpi(key))
	}
	order := func(a, b KPI) int { return cmp.Or(cmp.Compare(a.Node, b.Node), cmp.Compare(a.Strategy, b.Strategy)) }
	slices.SortFunc(byNode, order)
	slices.SortFunc(byStrategy, order)
	slices.SortFunc(byHour, func(a, b KPI) int { return cmp.Or(a.Hour.Compare(*b.Hour), order(a, b)) })
	return byNode, byStrategy, byHour
}

// loadKPIs sums up what the database holds.
func (s *Store) loadKPIs(ctx context.Context, now time.Time) (*KPIs, error) {
	k := &KPIs{total: make(map[kpiKey]*kpiSum), hourly: make(map[kpiKey]*kpiSum)}
	rows, err := s.db.QueryContext(ctx, `SELECT node, strategy, MAX(ended_ms / 3600000, ?), COUNT(*), SUM(state = 'failed'), SUM(energy_kwh), SUM(carbon_g),
		SUM(CASE WHEN carbon_g IS NULL THEN 0 ELSE COALESCE(at_once_intensity * energy_kwh, carbon_g) END), SUM(CASE WHEN ran = '' THEN 0 ELSE json_array_length(ran) END),
		SUM(CASE WHEN carbon_g IS NULL THEN 0 ELSE energy_kwh END), SUM(ended_ms - submitted_ms) / 1000.0, SUM(started_ms - submitted_ms) / 1000.0
		FROM jobs WHERE state IN ('done', 'failed') GROUP BY 1, 2, 3`, now.Unix()/3600-hoursKept)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var key kpiKey
		var hour int64
		var x kpiSum
		var grams sql.NullFloat64
		if err := rows.Scan(&key.node, &key.strategy, &hour, &x.jobs, &x.failed, &x.kwh, &grams, &x.atOnce, &x.suspended, &x.kwhKnown, &x.turnaroundSec, &x.waitSecs); err != nil {
			return nil, err
		}
		x.grams = grams.Float64
		k.sum(key, hour, x)
	}
	return k, rows.Err()
}

// recentDecisions returns the newest decisions, oldest first.
func (s *Store) recentDecisions(ctx context.Context, limit int) ([]Decision, error) {
	rows, err := s.db.QueryContext(ctx, "SELECT JobID, AssignedNode, Strategy, CIscore, Timestamp, Site, EnergyKWh, Intensity, Reason, Action FROM decisions ORDER BY Seq DESC LIMIT ?", limit)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var list []Decision
	for rows.Next() {
		var d Decision
		var at string
		if err := rows.Scan(&d.JobID, &d.Node, &d.Strategy, &d.Score, &at, &d.Site, &d.KWh, &d.Intensity, &d.Reason, &d.Action); err != nil {
			return nil, err
		}
		if d.At, err = time.Parse(time.RFC3339, at); err != nil {
			return nil, err
		}
		list = append(list, d)
	}
	slices.Reverse(list)
	return list, rows.Err()
}

// A bell tells many waiters that something has changed.
type bell struct {
	mu sync.Mutex
	ch chan struct{} // closed at the next change; guarded by mu
}

func newBell() *bell { return &bell{ch: make(chan struct{})} }

func (s *bell) set() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.ch)
	s.ch = make(chan struct{})
}

// next returns a channel that is closed at the next change.
func (s *bell) next() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ch
}
