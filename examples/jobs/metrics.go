package main

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// collector tells the engine's state to Prometheus.
type collector struct {
	engine                                                     *Engine
	jobs, finished, energy, carbon, atOnce, turnaround, pauses *prometheus.Desc
	decisions, decidedEnergy, decidedCarbon                    *prometheus.Desc
	watts, reserved, cores, intensity, intensityAge            *prometheus.Desc
}

func newCollector(e *Engine) *collector {
	d := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("leastwatt_jobs_"+name, help, labels, nil)
	}
	return &collector{engine: e,
		jobs:          d("unfinished", "Jobs that wait, run or are suspended, by state.", "state"),
		finished:      d("finished_total", "Jobs that ended, by node, strategy and outcome.", "node", "strategy", "outcome"),
		energy:        d("energy_kilowatthours_total", "Predicted energy of finished jobs.", "node", "strategy"),
		carbon:        d("carbon_grams_total", "Emissions of finished jobs whose intensity is known, gCO2eq.", "node", "strategy"),
		atOnce:        d("at_once_grams_total", "What the energy of the jobs of carbon_grams_total was expected to emit had they started when they were accepted, at the site where they draw the least, gCO2eq.", "node", "strategy"),
		pauses:        d("suspensions_total", "Suspensions of finished jobs.", "node", "strategy"),
		decisions:     d("decisions_total", "Decisions since the program began, by strategy and action: start, suspend, resume.", "strategy", "action"),
		decidedEnergy: d("decided_energy_kilowatthours_total", "Energy predicted by decisions whose carbon is known.", "strategy", "action"),
		decidedCarbon: d("decided_carbon_grams_total", "Emissions predicted by decisions, gCO2eq; over their energy it is the mean intensity at the start.", "strategy", "action"),
		turnaround:    d("turnaround_seconds_total", "Time from submission to end of finished jobs, summed.", "node", "strategy"),
		watts:         d("node_power_watts", "Last measured power of a node.", "node"),
		reserved:      d("node_reserved_cores", "Cores of a node that jobs hold.", "node"),
		cores:         d("node_cores", "Cores of a node.", "node"),
		intensity:     d("site_intensity_grams_per_kilowatthour", "Carbon intensity of a site's zone in this hour.", "site", "zone"),
		intensityAge:  d("site_outlook_age_seconds", "Time since the source told something of a site's grid.", "site", "zone")}
}

// Describe implements [prometheus.Collector].
func (c *collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.jobs, c.finished, c.energy, c.carbon, c.atOnce, c.turnaround, c.pauses, c.decisions, c.decidedEnergy, c.decidedCarbon, c.watts, c.reserved, c.cores,
		c.intensity, c.intensityAge} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector].
func (c *collector) Collect(ch chan<- prometheus.Metric) {
	s := c.engine.status()
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	count := func(d *prometheus.Desc, v float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, v, labels...)
	}
	gauge(c.jobs, float64(s.Queued), "queued")
	gauge(c.jobs, float64(s.Running), "running")
	gauge(c.jobs, float64(s.Suspended), "suspended")
	for _, k := range s.ByNode {
		count(c.finished, float64(k.Jobs-k.Failed), k.Node, k.Strategy, "done")
		count(c.finished, float64(k.Failed), k.Node, k.Strategy, "failed")
		count(c.energy, k.KWh, k.Node, k.Strategy)
		count(c.carbon, k.Grams, k.Node, k.Strategy)
		count(c.atOnce, k.AtOnce, k.Node, k.Strategy)
		count(c.pauses, float64(k.Suspended), k.Node, k.Strategy)
		count(c.turnaround, k.Turnaround*float64(k.Jobs), k.Node, k.Strategy)
	}
	for k, n := range c.engine.counted() {
		count(c.decisions, float64(n.decisions), k.strategy, string(k.action))
		if k.action != Suspend {
			count(c.decidedEnergy, n.kWh, k.strategy, string(k.action))
			count(c.decidedCarbon, n.grams, k.strategy, string(k.action))
		}
	}
	for _, n := range s.Nodes {
		gauge(c.reserved, n.Used, n.Name)
		gauge(c.cores, n.Cores, n.Name)
		if n.Watts != nil {
			gauge(c.watts, *n.Watts, n.Name)
		}
	}
	for _, x := range s.Sites {
		if x.Hours[0] != nil {
			gauge(c.intensity, *x.Hours[0], x.Name, x.Zone)
		}
	}
	if o := c.engine.outlook.Load(); o != nil {
		for k, x := range s.Sites {
			if k < len(o.Told) && !o.Told[k].IsZero() {
				gauge(c.intensityAge, max(0, s.Now.Sub(o.Told[k])).Round(time.Millisecond).Seconds(), x.Name, x.Zone)
			}
		}
	}
}
