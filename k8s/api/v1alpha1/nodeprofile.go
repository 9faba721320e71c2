package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// A NodeProfile says what is known of the server behind the node of the same name.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=np,categories=leastwatt
// +kubebuilder:printcolumn:name="Sensors",type=string,JSONPath=`.status.answering`,description="how many sensors answer, of how many"
// +kubebuilder:printcolumn:name="Read",type=date,JSONPath=`.status.lastRead`,description="when a sensor answered last"
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.model.name`
// +kubebuilder:printcolumn:name="Error",type=string,JSONPath=`.status.model.error`,description="mean difference of prediction and measurement"
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type NodeProfile struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// +kubebuilder:default={}
	// +kubebuilder:validation:XValidation:rule="!has(self.sensors) || self.sensors.all(s, !s.url.contains('{{') && !(has(s.secretName) && s.secretName.contains('{{')))",message="a NodeProfile is of one node and holds no template: make a NodeProfileTemplate"
	// +kubebuilder:validation:XValidation:rule="!has(self.model) || !has(self.model.remote) || (!self.model.remote.url.contains('{{') && !(has(self.model.remote.secretName) && self.model.remote.secretName.contains('{{')))",message="model.remote: a NodeProfile is of one node and holds no template: make a NodeProfileTemplate"
	Spec NodeProfileSpec `json:"spec,omitzero"`

	// +optional
	Status NodeProfileStatus `json:"status,omitzero"`
}

// NodeProfileSpec is a server's sensors, model and facts.
//
// +kubebuilder:validation:XValidation:rule="!has(self.sensors) || self.sensors.all(s, self.sensors.exists_one(o, (has(o.name) ? o.name : o.type) == (has(s.name) ? s.name : s.type)))",message="two sensors have one name: give each a name of its own (the default is its type)"
// +kubebuilder:validation:XValidation:rule="!has(self.sensors) || self.sensors.all(s, !has(s.fallback) || s.fallback.all(f, self.sensors.exists(o, (has(o.name) ? o.name : o.type) == f && !has(o.fallback))))",message="fallback: want names of other sensors of the profile, which have no fallback themselves"
// +kubebuilder:validation:XValidation:rule="!has(self.precedence) || self.precedence.all(k, self.precedence[k].all(n, has(self.sensors) && self.sensors.exists(s, (has(s.name) ? s.name : s.type) == n)))",message="precedence: want names of sensors of the profile"
// +kubebuilder:validation:XValidation:rule="!has(self.precedence) || !has(self.sensors) || self.sensors.all(s, !has(s.fallback) || s.fallback.all(f, self.precedence.all(k, !(f in self.precedence[k]))))",message="precedence: a fallback stands where the sensor stands that falls back to it, so name that one"
type NodeProfileSpec struct {
	// Sensors are where readings come from. Of a kind of reading that several give, the first listed wins.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Sensors []Sensor `json:"sensors,omitempty"`

	// Precedence is, for single kinds of readings, the names of the sensors that win, best first; those that are not named
	// come after them, as they are listed.
	//
	// +optional
	Precedence Precedence `json:"precedence,omitempty"`

	// Model is the server's power model. Without one, the PowerModel whose selector fits counts, then the power below,
	// then what the program's configuration file says, at last a prior.
	//
	// +optional
	Model *ModelReference `json:"model,omitempty"`

	// Power is facts that no sensor tells.
	//
	// +optional
	Power *PowerFacts `json:"power,omitempty"`

	// Hardware is the system's or CPU's name, for PowerModels bound by hardware and for the published table. The
	// default is the node's label leastwatt.github.io/hardware.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Hardware string `json:"hardware,omitempty"`
}

// PowerFacts are what a server draws and does where no sensor tells.
//
// +kubebuilder:validation:XValidation:rule="has(self.idleWatts) == has(self.peakWatts)",message="idleWatts and peakWatts are given together or not at all"
// +kubebuilder:validation:XValidation:rule="!has(self.idleWatts) || self.peakWatts >= self.idleWatts",message="peakWatts is less than idleWatts"
type PowerFacts struct {
	// IdleWatts and PeakWatts are what the server draws without load and with all its CPU in use: a straight line as its
	// model, where it has no better one.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	IdleWatts *float64 `json:"idleWatts,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	PeakWatts *float64 `json:"peakWatts,omitempty"`

	// StandbyWatts is what the server draws while it is switched off or suspended.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	StandbyWatts *float64 `json:"standbyWatts,omitempty"`

	// Off says that the server is switched off or suspended now, and is woken for work.
	//
	// +optional
	Off bool `json:"off,omitempty"`

	// WakeJoules is the energy of one start. Without it, it is peakWatts over WakeSeconds, which is how long a start takes.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000000
	WakeJoules *float64 `json:"wakeJoules,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=86400
	WakeSeconds *float64 `json:"wakeSeconds,omitempty"`

	// Speed is work per core over the reference core's.
	//
	// +optional
	// +kubebuilder:validation:Minimum=0.001
	// +kubebuilder:validation:Maximum=1000
	Speed *float64 `json:"speed,omitempty"`
}

// NodeProfileStatus is what the controller last saw.
type NodeProfileStatus struct {
	// ObservedGeneration is of the spec that the rest is about.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions are SensorsReady (every sensor answers, but for those on standby), ModelReady (there is a model) and Ready (watts can be predicted
	// at this moment).
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Answering is how many sensors answer, of how many that are read: "2/3".
	//
	// +optional
	Answering string `json:"answering,omitempty"`

	// LastRead is when a sensor answered last, as of the last change of this status.
	//
	// +optional
	LastRead *metav1.Time `json:"lastRead,omitempty"`

	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	Sensors []SensorStatus `json:"sensors,omitempty"`

	// +optional
	Model *ModelStatus `json:"model,omitempty"`

	// Learned is what was learned of the server from its readings. The controller keeps it here, so that neither a restart
	// of it nor one of the scheduler begins from the prior.
	//
	// +optional
	Learned *LearnedModel `json:"learned,omitempty"`
}

// SensorStatus is one sensor of a profile.
type SensorStatus struct {
	Name string `json:"name"`

	// Answering says that the last read gave readings.
	Answering bool `json:"answering"`

	// Standby says that it is a fallback, and not needed now.
	//
	// +optional
	Standby bool `json:"standby,omitempty"`

	// LastRead is when it answered last.
	//
	// +optional
	LastRead *metav1.Time `json:"lastRead,omitempty"`

	// Measured is the time of its oldest current reading, by the hardware's clock where it tells one.
	//
	// +optional
	Measured *metav1.Time `json:"measured,omitempty"`

	// Kinds are the readings that it gave.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	Kinds []string `json:"kinds,omitempty"`

	// Message is why it does not answer, or lacks a kind; it holds no credential.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	Message string `json:"message,omitempty"`
}

// LearnedModel is what was learned up to a time.
type LearnedModel struct {
	// At is when the program that learned it made this copy.
	At metav1.Time `json:"at"`

	// Readings is how many it rests on.
	Readings int64 `json:"readings"`

	// Model is a model file of package power/model, compressed by gzip.
	//
	// +kubebuilder:validation:MaxLength=16384
	Model []byte `json:"model"`
}

// ModelStatus is the model in use and how well it does.
type ModelStatus struct {
	// Name names the model and where it is from.
	Name string `json:"name"`

	// Prior says that it was not fitted to this server.
	//
	// +optional
	Prior bool `json:"prior,omitempty"`

	// Error is the mean absolute difference of prediction and measurement in percent of the latter: "3.1 %". It is missing
	// where no sensor measures power.
	//
	// +optional
	Error string `json:"error,omitempty"`

	// Bias is the mean of prediction minus measurement, in percent with its sign.
	//
	// +optional
	Bias string `json:"bias,omitempty"`

	// Samples is how many measurements the error is of, the last hundred counting most.
	//
	// +optional
	Samples int64 `json:"samples,omitempty"`
}

// NodeProfileList is a list of profiles.
//
// +kubebuilder:object:root=true
type NodeProfileList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []NodeProfile `json:"items"`
}
