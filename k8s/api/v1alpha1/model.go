package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// A ModelReference is one of: a PowerModel by name, a server of the published table, a model on a model server.
//
// +kubebuilder:validation:XValidation:rule="[has(self.powerModel), has(self.published), has(self.remote)].filter(x, x).size() == 1",message="want exactly one of powerModel, published and remote"
type ModelReference struct {
	// PowerModel is the name of a PowerModel, whatever nodes that one is bound to.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	PowerModel string `json:"powerModel,omitempty"`

	// Published is a server of the embedded table of published measurements: "Dell PowerEdge R610". It is a prior.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	Published string `json:"published,omitempty"`

	// +optional
	Remote *RemoteModel `json:"remote,omitempty"`
}

// A RemoteModel is asked in the background for the server's curve, which is unknown until it has answered.
//
// +kubebuilder:validation:XValidation:rule="self.url.contains('{{') || self.url.startsWith('https://') || self.url.startsWith('http://')",message="url: want https://HOST… or http://HOST…"
// +kubebuilder:validation:XValidation:rule="!self.url.contains('@')",message="url: holds an @: credentials belong in a Secret, see secretName"
// +kubebuilder:validation:XValidation:rule="!has(self.secretName) || !self.url.startsWith('http://') || (has(self.plaintext) && self.plaintext)",message="the credentials of secretName would cross the network unencrypted: use https, or say plaintext: true"
// +kubebuilder:validation:XValidation:rule="(has(self.discover) && self.discover) || has(self.name)",message="name: is missing: want the model's name, or discover: true"
// +kubebuilder:validation:XValidation:rule="!(has(self.discover) && self.discover) || self.protocol == 'openInference'",message="discover is for protocol openInference"
type RemoteModel struct {
	// Protocol is openInference (over HTTP), or TensorFlow Serving's REST with rows as inputs or as instances.
	//
	// +kubebuilder:default=openInference
	// +kubebuilder:validation:Enum=openInference;tensorflowInputs;tensorflowInstances
	Protocol string `json:"protocol,omitempty"`

	// URL is the model server; with discover, the BMC that names it.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=1024
	URL string `json:"url"`

	// Discover asks the BMC at url for the model server (Redfish, MachineLearningModel of its first system).
	//
	// +optional
	Discover bool `json:"discover,omitempty"`

	// +optional
	// +kubebuilder:validation:MaxLength=256
	Name string `json:"name,omitempty"`

	// Version defaults to what the server chooses.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Version string `json:"version,omitempty"`

	// SecretName is as that of a sensor. With discover it is for the BMC, and the model server gets none.
	//
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	SecretName string `json:"secretName,omitempty"`

	// Plaintext allows credentials over http.
	//
	// +optional
	Plaintext bool `json:"plaintext,omitempty"`

	// +optional
	TLS *TLS `json:"tls,omitempty"`

	// Timeout is of one request.
	//
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('10ms') && duration(self) <= duration('5m')",message="want 10ms to 5m"
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// Features are the columns of a row. The default is WAO's: CPU in use in cores, inlet temperature, pressure.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	Features []Feature `json:"features,omitempty"`
}

// A Feature is one column of a model's rows: input·scale + offset, rounded to a multiple of step.
type Feature struct {
	// Input is utilization, inlet, pressure, or the kind of a reading.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	Input string `json:"input"`

	// Cores multiplies by the CPUs of the node beside scale: utilization becomes cores in use.
	//
	// +optional
	Cores bool `json:"cores,omitempty"`

	// +kubebuilder:default=1
	// +kubebuilder:validation:Minimum=-1e12
	// +kubebuilder:validation:Maximum=1e12
	Scale *float64 `json:"scale,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=-1e12
	// +kubebuilder:validation:Maximum=1e12
	Offset float64 `json:"offset,omitempty"`
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1e12
	Step float64 `json:"step,omitempty"`
}

// A PowerModel is a model file of package power/model, and the nodes that it is for. It is followed: nodes have the
// new model moments after a change.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=pm,categories=leastwatt
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.model`
// +kubebuilder:printcolumn:name="Priority",type=integer,JSONPath=`.spec.priority`
// +kubebuilder:printcolumn:name="Nodes",type=integer,JSONPath=`.status.nodes`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type PowerModel struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec PowerModelSpec `json:"spec"`

	// +optional
	Status PowerModelStatus `json:"status,omitzero"`
}

// PowerModelSpec is a model and its nodes. Nodes by name go before the selector, which goes before hardware; one that
// says none of them is for profiles that name it.
type PowerModelSpec struct {
	// JSON is the model file as text, so that it stays what it was to the last bit (format leastwatt.model/1).
	//
	// +kubebuilder:validation:MinLength=2
	// +kubebuilder:validation:MaxLength=524288
	// +kubebuilder:validation:XValidation:rule="self.contains('leastwatt.model/1')",message="want a model file, as power/model and examples/calibrate write it: {\"format\": \"leastwatt.model/1\", …}"
	JSON string `json:"json"`

	// Nodes are names.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MaxItems=4096
	// +kubebuilder:validation:items:MaxLength=253
	Nodes []string `json:"nodes,omitempty"`

	// NodeSelector is the labels that nodes must have.
	//
	// +optional
	NodeSelector *metav1.LabelSelector `json:"nodeSelector,omitempty"`

	// Hardware is the name of a system or CPU; * stands for any text, case does not matter.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Hardware string `json:"hardware,omitempty"`

	// Priority decides between models that are bound in the same way: the highest wins, then the first by name.
	//
	// +optional
	// +kubebuilder:default=0
	Priority int32 `json:"priority"`
}

// PowerModelStatus is what the controller last saw.
type PowerModelStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions are Ready: the model can be read, and why it cannot.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Model is the name in the model file.
	//
	// +optional
	Model string `json:"model,omitempty"`

	// Nodes is how many nodes have this model now.
	//
	// +optional
	Nodes int32 `json:"nodes,omitempty"`
}

// PowerModelList is a list of models.
//
// +kubebuilder:object:root=true
type PowerModelList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []PowerModel `json:"items"`
}
