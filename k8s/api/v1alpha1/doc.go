// Package v1alpha1 is Leastwatt's custom resources, group leastwatt.github.io: what a cluster knows of its
// servers' sensors and power models.
//
// A [NodeProfile] has the name of the node that it describes: its sensors, the Secret with their credentials, its
// model and what it draws while off. A [NodeProfileTemplate] makes profiles of all nodes that have certain labels.
// A [PowerModel] is a model file of package power/model in the cluster, with the nodes that it is for. All three are
// cluster-scoped, as nodes are; Secrets are named, and stand in the one namespace that the programs are told.
//
// +kubebuilder:object:generate=true
// +groupName=leastwatt.github.io
package v1alpha1

//go:generate ../../../.ci/generate
