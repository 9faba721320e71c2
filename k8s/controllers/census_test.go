package controllers

import (
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
)

// Profiles count by each of their conditions and their sensors by state; one that was not read yet is unknown. Before a sweep there is
// nothing, also in replicas that do not lead.
func TestCensus(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	c := newCensus()
	r.MustRegister(c)
	if n, err := testutil.GatherAndCount(r); n != 0 || err != nil {
		t.Errorf("before a sweep there are %d metrics, %v", n, err)
	}
	status := func(ready, sensors metav1.ConditionStatus, s ...v1alpha1.SensorStatus) *v1alpha1.NodeProfileStatus {
		return &v1alpha1.NodeProfileStatus{Sensors: s, Conditions: []metav1.Condition{{Type: Ready, Status: ready}, {Type: SensorsReady, Status: sensors}, {Type: ModelReady, Status: metav1.ConditionTrue}}}
	}
	n := newCount()
	n.add(nil, status(metav1.ConditionTrue, metav1.ConditionTrue, v1alpha1.SensorStatus{Answering: true}, v1alpha1.SensorStatus{Standby: true}), true)
	n.add(nil, status(metav1.ConditionTrue, metav1.ConditionFalse, v1alpha1.SensorStatus{Answering: true}, v1alpha1.SensorStatus{}), true)
	n.add(&v1alpha1.NodeProfile{Spec: v1alpha1.NodeProfileSpec{Sensors: make([]v1alpha1.Sensor, 3)}}, &v1alpha1.NodeProfileStatus{}, false)
	c.publish(n)
	const want = `
# HELP leastwatt_profiles NodeProfiles by condition (Ready, SensorsReady, ModelReady) and its status: True, False, or Unknown before the first read. Of the replica that leads.
# TYPE leastwatt_profiles gauge
leastwatt_profiles{condition="ModelReady",status="False"} 0
leastwatt_profiles{condition="ModelReady",status="True"} 2
leastwatt_profiles{condition="ModelReady",status="Unknown"} 1
leastwatt_profiles{condition="Ready",status="False"} 0
leastwatt_profiles{condition="Ready",status="True"} 2
leastwatt_profiles{condition="Ready",status="Unknown"} 1
leastwatt_profiles{condition="SensorsReady",status="False"} 1
leastwatt_profiles{condition="SensorsReady",status="True"} 1
leastwatt_profiles{condition="SensorsReady",status="Unknown"} 1
# HELP leastwatt_profile_sensors Sensors of NodeProfiles by state: answering, silent, standby (fallbacks that are not needed), unread (not read for the first time yet). Of the replica that leads.
# TYPE leastwatt_profile_sensors gauge
leastwatt_profile_sensors{state="answering"} 2
leastwatt_profile_sensors{state="silent"} 1
leastwatt_profile_sensors{state="standby"} 1
leastwatt_profile_sensors{state="unread"} 3
`
	if err := testutil.GatherAndCompare(r, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}
