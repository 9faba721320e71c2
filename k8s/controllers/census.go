package controllers

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
)

// A census is what the last sweep found of all NodeProfiles, as a [prometheus.Collector]. It has nothing in replicas that wait to lead.
type census struct {
	profiles, sensors *prometheus.Desc

	mu   sync.Mutex
	last *count // guarded by mu
}

// A count is of the NodeProfiles of one sweep.
type count struct {
	conditions map[[2]string]int // by type and status
	sensors    map[string]int    // by state
}

func newCensus() *census {
	return &census{
		profiles: prometheus.NewDesc("leastwatt_profiles",
			"NodeProfiles by condition (Ready, SensorsReady, ModelReady) and its status: True, False, or Unknown before the first read. Of the replica that leads.", []string{"condition", "status"}, nil),
		sensors: prometheus.NewDesc("leastwatt_profile_sensors",
			"Sensors of NodeProfiles by state: answering, silent, standby (fallbacks that are not needed), unread (not read for the first time yet). Of the replica that leads.", []string{"state"}, nil),
	}
}

func newCount() *count {
	c := &count{conditions: make(map[[2]string]int), sensors: make(map[string]int)}
	for _, kind := range []string{Ready, SensorsReady, ModelReady} {
		for _, status := range []metav1.ConditionStatus{metav1.ConditionTrue, metav1.ConditionFalse, metav1.ConditionUnknown} {
			c.conditions[[2]string{kind, string(status)}] = 0
		}
	}
	for _, state := range []string{"answering", "silent", "standby", "unread"} {
		c.sensors[state] = 0
	}
	return c
}

// add counts a profile with the status that it has now; not known is one whose sensors were not all read yet.
func (c *count) add(n *v1alpha1.NodeProfile, now *v1alpha1.NodeProfileStatus, known bool) {
	if !known {
		for _, kind := range []string{Ready, SensorsReady, ModelReady} {
			c.conditions[[2]string{kind, string(metav1.ConditionUnknown)}]++
		}
		c.sensors["unread"] += len(n.Spec.Sensors)
		return
	}
	for _, x := range now.Conditions {
		c.conditions[[2]string{x.Type, string(x.Status)}]++
	}
	for _, x := range now.Sensors {
		switch {
		case x.Standby:
			c.sensors["standby"]++
		case x.Answering:
			c.sensors["answering"]++
		default:
			c.sensors["silent"]++
		}
	}
}

func (c *census) publish(n *count) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last = n
}

// Describe implements [prometheus.Collector].
func (c *census) Describe(ch chan<- *prometheus.Desc) {
	ch <- c.profiles
	ch <- c.sensors
}

// Collect implements [prometheus.Collector].
func (c *census) Collect(ch chan<- prometheus.Metric) {
	c.mu.Lock()
	last := c.last // is not changed any more
	c.mu.Unlock()
	if last == nil {
		return
	}
	for by, n := range last.conditions {
		ch <- prometheus.MustNewConstMetric(c.profiles, prometheus.GaugeValue, float64(n), by[0], by[1])
	}
	for state, n := range last.sensors {
		ch <- prometheus.MustNewConstMetric(c.sensors, prometheus.GaugeValue, float64(n), state)
	}
}
