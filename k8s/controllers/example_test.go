package controllers_test

import (
	"fmt"

	"github.com/leastwatt/leastwatt/k8s/api/v1alpha1"
	"github.com/leastwatt/leastwatt/k8s/controllers"
)

func ExampleRender() {
	template := &v1alpha1.ProfileTemplate{Spec: v1alpha1.NodeProfileSpec{Sensors: []v1alpha1.Sensor{
		{Type: "redfish", URL: "https://10.0.100.{{.IPv4.Octet4}}", SecretName: "bmc-{{.Name}}"}}}}
	n := node("worker-7", "10.0.0.7", map[string]string{"rack": "r1"})
	p, err := controllers.Render(template, n)
	fmt.Println(p.Spec.Sensors[0].URL, p.Spec.Sensors[0].SecretName, err)

	template.Spec.Sensors[0].SecretName = "bmc-{{.Labels.rack}}" // a node chooses its labels itself
	_, err = controllers.Render(template, n)
	fmt.Println(err != nil)
	// Output:
	// https://10.0.100.7 bmc-worker-7 <nil>
	// true
}
