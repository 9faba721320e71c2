package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// A Sensor is one way to read a server. Its fields mean what those of a source in the configuration file mean
// (package sensors/config).
//
// +kubebuilder:validation:XValidation:rule="self.type == 'ipmi' || self.url.contains('{{') || self.url.startsWith('https://') || self.url.startsWith('http://')",message="url: want https://HOST… or http://HOST… (host or host:port for type ipmi alone)"
// +kubebuilder:validation:XValidation:rule="self.type != 'ipmi' || !self.url.contains('://')",message="url: type ipmi wants host or host:port, without a scheme"
// +kubebuilder:validation:XValidation:rule="!self.url.contains('@')",message="url: holds an @: credentials belong in a Secret, see secretName"
// +kubebuilder:validation:XValidation:rule="!has(self.secretName) || !self.url.startsWith('http://') || (has(self.plaintext) && self.plaintext)",message="the credentials of secretName would cross the network unencrypted: use https, or say plaintext: true"
// +kubebuilder:validation:XValidation:rule="self.type == 'redfish' || (!has(self.session) && !has(self.chassis) && !has(self.override))",message="session, chassis and override are for type redfish"
// +kubebuilder:validation:XValidation:rule="self.type == 'ipmi' || !has(self.cipherSuite)",message="cipherSuite is for type ipmi"
// +kubebuilder:validation:XValidation:rule="self.type in ['ipmi', 'ipmi-exporter'] || !has(self.sensors)",message="sensors is for types ipmi and ipmi-exporter"
// +kubebuilder:validation:XValidation:rule="self.type in ['kepler', 'scaphandre', 'dcgm', 'ipmi-exporter'] || !has(self.match)",message="match is for exporters: kepler, scaphandre, dcgm, ipmi-exporter"
// +kubebuilder:validation:XValidation:rule="self.type == 'prometheus' ? (has(self.ready) || has(self.queries)) : (!has(self.ready) && !has(self.queries) && !has(self.label))",message="ready, queries and label are for type prometheus, which wants ready or queries"
// +kubebuilder:validation:XValidation:rule="self.type != 'ipmi' || !has(self.tls)",message="tls is not for type ipmi"
type Sensor struct {
	// Name is how status and errors call it; the default is its type.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9]([-_.a-zA-Z0-9]*[a-zA-Z0-9])?$`
	Name string `json:"name,omitempty"`

	// Type is the protocol.
	//
	// +kubebuilder:validation:Enum=redfish;ipmi;kepler;scaphandre;dcgm;ipmi-exporter;prometheus;load-watcher;pressure
	Type string `json:"type"`

	// URL is the endpoint, with its path where it is an exporter; host or host:port for ipmi.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	URL string `json:"url"`

	// SecretName is the Secret with the credentials, in the one namespace that the programs read: username and password,
	// or token; and, for TLS, ca.crt, or tls.crt with tls.key. It has one of them at least.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// Plaintext allows credentials over http. Exporters without credentials need no leave.
	//
	// +optional
	Plaintext bool `json:"plaintext,omitempty"`

	// +optional
	TLS *TLS `json:"tls,omitempty"`

	// Interval is the shortest time between two reads, less a tenth, where the program's own is shorter.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('24h')",message="want 1s to 24h"
	Interval *metav1.Duration `json:"interval,omitempty"`

	// Timeout is of one request.
	//
	// +kubebuilder:default="5s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10ms') && duration(self) <= duration('5m')",message="want 10ms to 5m"
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Kinds are the only readings that are taken from it; the default is all.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=32
	Kinds []Kind `json:"kinds,omitempty"`

	// Derive gives watts from energy, utilization from CPU time, differences from both sides.
	//
	// +optional
	Derive bool `json:"derive,omitempty"`

	// Plausible says, for single kinds, which values are believed. One that is not is told in status and never used.
	//
	// +optional
	Plausible Checks `json:"plausible,omitempty"`

	// Fallback are the names of other sensors of the profile, which are asked one after the other when this one gives
	// nothing. What is named here is read for that alone, and has no fallback itself.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=7
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=63
	Fallback []string `json:"fallback,omitempty"`

	// Session logs in to a Redfish BMC once and keeps the session.
	//
	// +optional
	Session *bool `json:"session,omitempty"`

	// Chassis is the Id of the Redfish chassis; the default is to find it.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Chassis string `json:"chassis,omitempty"`

	// Override gives, for single kinds, Redfish path and JSON pointer of the value.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(self[k]) <= 512)",message="a path has at most 512 characters"
	Override ByKind `json:"override,omitempty"`

	// Match is labels that choose the node's series where an exporter answers for several nodes.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=16
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 128 && size(self[k]) <= 256)",message="a label's name has at most 128 characters, its value at most 256"
	Match map[string]string `json:"match,omitempty"`

	// Sensors gives, for single kinds, the name of the sensor. Kinds that are not ours are for models that want them.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	// +kubebuilder:validation:XValidation:rule="self.all(k, size(k) <= 64 && size(self[k]) <= 128)",message="a kind has at most 64 characters, a sensor's name at most 128"
	Sensors map[string]string `json:"sensors,omitempty"`

	// CipherSuite is IPMI's; the default is 3.
	//
	// +optional
	// +kubebuilder:validation:Enum=3;17
	CipherSuite *int32 `json:"cipherSuite,omitempty"`

	// Ready are sets of queries that are ready made for exporters.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=6
	// +kubebuilder:validation:items:Enum=node-exporter;ipmi-exporter;kepler;kepler-legacy;scaphandre;dcgm
	Ready []string `json:"ready,omitempty"`

	// Queries are further ones; one for a kind that a ready one has replaces it.
	//
	// +optional
	// +listType=map
	// +listMapKey=kind
	// +kubebuilder:validation:MaxItems=16
	Queries []Query `json:"queries,omitempty"`

	// Label names the node in series; the default is "node".
	//
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[a-zA-Z_][a-zA-Z0-9_]*$`
	Label string `json:"label,omitempty"`
}

// A Kind is what a reading measures, and ends in its unit.
//
// +kubebuilder:validation:Enum=inlet_temp_celsius;exhaust_temp_celsius;delta_t_celsius;pressure_delta_pascals;power_watts;cpu_power_watts;gpu_power_watts;cpu_utilization_ratio;gpu_utilization_ratio;memory_used_bytes;cpu_used_cores;gpu_temp_celsius;fan_speed_rpm;energy_joules_total;cpu_energy_joules_total;cpu_time_seconds_total;cpu_temp_celsius;pressure_inlet_pascals;pressure_exhaust_pascals
type Kind string

// ByKind is a text for each of some kinds.
//
// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['inlet_temp_celsius', 'exhaust_temp_celsius', 'delta_t_celsius', 'pressure_delta_pascals', 'power_watts', 'cpu_power_watts', 'gpu_power_watts', 'cpu_utilization_ratio', 'gpu_utilization_ratio', 'memory_used_bytes', 'cpu_used_cores', 'gpu_temp_celsius', 'fan_speed_rpm', 'energy_joules_total', 'cpu_energy_joules_total', 'cpu_time_seconds_total', 'cpu_temp_celsius', 'pressure_inlet_pascals', 'pressure_exhaust_pascals'])",message="there is no such kind of reading"
type ByKind map[string]string

// Checks are which values are believed, by kind.
//
// +kubebuilder:validation:MaxProperties=19
// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['inlet_temp_celsius', 'exhaust_temp_celsius', 'delta_t_celsius', 'pressure_delta_pascals', 'power_watts', 'cpu_power_watts', 'gpu_power_watts', 'cpu_utilization_ratio', 'gpu_utilization_ratio', 'memory_used_bytes', 'cpu_used_cores', 'gpu_temp_celsius', 'fan_speed_rpm', 'energy_joules_total', 'cpu_energy_joules_total', 'cpu_time_seconds_total', 'cpu_temp_celsius', 'pressure_inlet_pascals', 'pressure_exhaust_pascals'])",message="there is no such kind of reading"
type Checks map[string]Check

// A Check says which values of a kind are believed. An empty one believes all that are physically possible.
//
// +kubebuilder:validation:XValidation:rule="!has(self.min) || !has(self.max) || self.min <= self.max",message="min is more than max"
type Check struct {
	// Min and Max are the bounds of what is believed, in the kind's unit.
	//
	// +optional
	// +kubebuilder:validation:Minimum=-1e15
	// +kubebuilder:validation:Maximum=1e15
	Min *float64 `json:"min,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=-1e15
	// +kubebuilder:validation:Maximum=1e15
	Max *float64 `json:"max,omitempty"`

	// MaxPerSecond is the largest change from one measurement to the next that is believed, up and down; 0 is any.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1e15
	MaxPerSecond float64 `json:"maxPerSecond,omitempty"`

	// Settle is after how many measurements a larger change is believed all the same: it was no spike.
	//
	// +kubebuilder:default=3
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	Settle int32 `json:"settle,omitempty"`

	// StuckAfter is for how long the very same value is believed; the default is for ever.
	//
	// +optional
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('720h')",message="want 1s to 720h"
	StuckAfter *metav1.Duration `json:"stuckAfter,omitempty"`
}

// SensorNames are names of a profile's sensors.
//
// +listType=atomic
// +kubebuilder:validation:MinItems=1
// +kubebuilder:validation:MaxItems=8
// +kubebuilder:validation:items:MaxLength=63
type SensorNames []string

// Precedence is which sensors win, by kind.
//
// +kubebuilder:validation:MaxProperties=19
// +kubebuilder:validation:XValidation:rule="self.all(k, k in ['inlet_temp_celsius', 'exhaust_temp_celsius', 'delta_t_celsius', 'pressure_delta_pascals', 'power_watts', 'cpu_power_watts', 'gpu_power_watts', 'cpu_utilization_ratio', 'gpu_utilization_ratio', 'memory_used_bytes', 'cpu_used_cores', 'gpu_temp_celsius', 'fan_speed_rpm', 'energy_joules_total', 'cpu_energy_joules_total', 'cpu_time_seconds_total', 'cpu_temp_celsius', 'pressure_inlet_pascals', 'pressure_exhaust_pascals'])",message="there is no such kind of reading"
type Precedence map[string]SensorNames

// TLS says how an endpoint is verified. Certificates of authorities and clients stand in the Secret.
type TLS struct {
	// ServerName is the name to verify; the default is the URL's host.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	ServerName string `json:"serverName,omitempty"`

	// InsecureSkipVerify verifies nothing, for this endpoint alone.
	//
	// +optional
	InsecureSkipVerify bool `json:"insecureSkipVerify,omitempty"`
}

// A Query is PromQL for one kind.
type Query struct {
	Kind Kind `json:"kind"`

	// Expr gives one series per node, in the unit of the kind.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=4096
	Expr string `json:"expr"`

	// Time is PromQL for when that was measured.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=4096
	Time string `json:"time,omitempty"`
}
