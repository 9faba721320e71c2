package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// A NodeProfileTemplate makes a NodeProfile of each node that its selector fits. Profiles that somebody else made stay
// as they are; those of a template follow it, and go with it and with their node.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=npt,categories=leastwatt
// +kubebuilder:printcolumn:name="Priority",type=integer,JSONPath=`.spec.priority`
// +kubebuilder:printcolumn:name="Matching",type=integer,JSONPath=`.status.matching`
// +kubebuilder:printcolumn:name="Profiles",type=integer,JSONPath=`.status.profiles`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,priority=1,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
type NodeProfileTemplate struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitzero"`

	Spec NodeProfileTemplateSpec `json:"spec"`

	// +optional
	Status NodeProfileTemplateStatus `json:"status,omitzero"`
}

// NodeProfileTemplateSpec is which nodes, and what profile.
//
// All texts of the template are templates of text/template over {{.Name}} (the node's), {{.Hostname}}, {{.Address}}
// (its internal address, of which IPv6 gets its brackets where a URL needs them), {{.IPv4.Address}}, {{.IPv4.Octet1}} to
// {{.IPv4.Octet4}}, {{.Labels.x}} and {{index .Labels "a/b"}}, with the functions of sprig that only depend on their arguments.
// There are no loops. A secretName sees Name and Hostname alone, and the latter only where it is the name: nodes choose their
// labels and addresses themselves, and must not choose whose credentials they are sent.
type NodeProfileTemplateSpec struct {
	// NodeSelector is the labels that nodes must have. An empty one fits every node.
	NodeSelector metav1.LabelSelector `json:"nodeSelector"`

	// Priority decides between templates that fit the same node: the highest wins, then the first by name.
	//
	// +optional
	// +kubebuilder:default=0
	Priority int32 `json:"priority"`

	Template ProfileTemplate `json:"template"`
}

// A ProfileTemplate is what profiles are made from.
type ProfileTemplate struct {
	// Labels are put on the profiles.
	//
	// +optional
	// +kubebuilder:validation:MaxProperties=32
	Labels map[string]string `json:"labels,omitempty"`

	Spec NodeProfileSpec `json:"spec"`
}

// NodeProfileTemplateStatus is what the controller last saw.
type NodeProfileTemplateStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// Conditions are Ready: every node that fits has its profile, and what stands against it.
	//
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	Conditions []metav1.Condition `json:"conditions,omitempty"`

	// Matching is how many nodes the selector fits, Profiles how many profiles are this template's.
	//
	// +optional
	Matching int32 `json:"matching"`
	// +optional
	Profiles int32 `json:"profiles"`
}

// NodeProfileTemplateList is a list of templates.
//
// +kubebuilder:object:root=true
type NodeProfileTemplateList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitzero"`
	Items           []NodeProfileTemplate `json:"items"`
}
