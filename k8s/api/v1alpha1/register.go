package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of these resources, and the prefix of the project's labels and annotations.
const Group = "leastwatt.github.io"

// SchemeGroupVersion is the group and version of these resources.
var SchemeGroupVersion = schema.GroupVersion{Group: Group, Version: "v1alpha1"}

// AddToScheme adds the types of this package to a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(SchemeGroupVersion, &NodeProfile{}, &NodeProfileList{}, &NodeProfileTemplate{}, &NodeProfileTemplateList{},
		&PowerModel{}, &PowerModelList{})
	metav1.AddToGroupVersion(s, SchemeGroupVersion)
	return nil
}
