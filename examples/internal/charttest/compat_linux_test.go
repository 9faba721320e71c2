package charttest

import (
	"context"
	"errors"
	"fmt"

	v1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	sigsyaml "sigs.k8s.io/yaml"
)

// compat has the release read what WAO and PEAKS left, and runs the controller as its Deployment says then: profiles and models are made, change and go
// with the objects that they are of.
func (x *installation) compat(ctx context.Context, program string) error {
	if err := x.define(ctx, waoDefinitions); err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	of := func(group, resource string) dynamic.NamespaceableResourceInterface {
		return client.Resource(schema.GroupVersionResource{Group: group, Version: map[bool]string{true: "v1alpha1", false: "v1beta1"}[group == profiles.Group], Resource: resource})
	}
	configs, templates, models := of("node.waok8s.github.io", "nodeconfigs").Namespace(namespace), of(profiles.Group, "nodeprofiletemplates"), of(profiles.Group, "powermodels")
	peaks := &v1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Name: "peaks", Namespace: "kube-system"},
		Data: map[string]string{"models.json": `{"frugal": {"k0": 174, "k1": -91, "k2": -0.07}, "middling": {"k0": 310, "k1": -150, "k2": -0.03}}`}}
	if peaks, err = x.client.CoreV1().ConfigMaps("kube-system").Create(ctx, peaks, metav1.CreateOptions{}); err != nil {
		return err
	}
	for text, at := range map[string]dynamic.ResourceInterface{
		fmt.Sprintf(`{apiVersion: node.waok8s.github.io/v1beta1, kind: NodeConfig, metadata: {name: frugal}, spec: {nodeName: frugal, metricsCollector: {inletTemp: {type: Redfish, endpoint: %q, basicAuthSecret: {name: bmc}}}}}`, x.hall.bmc):                     configs,
		`{apiVersion: leastwatt.github.io/v1alpha1, kind: NodeProfileTemplate, metadata: {name: middle}, spec: {nodeSelector: {matchLabels: {kubernetes.io/hostname: middling}}, template: {spec: {sensors: [{type: kepler, url: "http://127.0.0.1:1/metrics"}]}}}}`: templates,
	} {
		o := new(unstructured.Unstructured)
		if err := sigsyaml.Unmarshal([]byte(text), &o.Object); err != nil {
			return err
		}
		if _, err := at.Create(ctx, o, metav1.CreateOptions{}); err != nil {
			return err
		}
	}
	path, err := chart()
	if err != nil {
		return err
	}
	on := []string{"controller.compatibility.wao=true", "controller.compatibility.waoLabels=true", "controller.compatibility.peaksConfigMap=kube-system/peaks"}
	if _, err := x.helm.run(ctx, append([]string{"upgrade", "lw", path}, x.set(on...)...)...); err != nil {
		return err
	}
	if err := x.granted(ctx); err != nil {
		return err
	}
	d, err := x.client.AppsV1().Deployments(namespace).Get(ctx, "lw-leastwatt-controller", metav1.GetOptions{})
	if err != nil {
		return err
	}
	p, err := x.kubelet.run(ctx, x.T, "controller-compat", program, namespace, d.Spec.Template, answers(fmt.Sprintf("http://127.0.0.1:%d/readyz", x.ports[controllerHealth])))
	if err != nil {
		return err
	}
	sensor := func(node, url string) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			o, err := client.Resource(profiles).Get(ctx, node, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return url == "", nil
			}
			if err != nil {
				return false, err
			}
			all, _, err := unstructured.NestedSlice(o.Object, "spec", "sensors")
			return len(all) == 1 && all[0].(map[string]any)["url"] == url, err
		}
	}
	model := func(name string, k0 string) func(context.Context) (bool, error) {
		return func(ctx context.Context) (bool, error) {
			o, err := models.Get(ctx, name, metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return k0 == "", nil
			}
			if err != nil {
				return false, err
			}
			text, _, err := unstructured.NestedString(o.Object, "spec", "json")
			var m struct{ Form struct{ K0 float64 } }
			return err == nil && sigsyaml.Unmarshal([]byte(text), &m) == nil && fmt.Sprint(m.Form.K0) == k0, err
		}
	}
	wait := func(for_ map[string]func(context.Context) (bool, error)) (err error) {
		for what, is := range for_ {
			if e := until(ctx, is); e != nil {
				err = errors.Join(err, fmt.Errorf("waiting for %s: %w", what, e))
			}
		}
		return err
	}
	if err := wait(map[string]func(context.Context) (bool, error){
		"what the NodeConfig says": sensor("frugal", x.hall.bmc), "what the template says": sensor("middling", "http://127.0.0.1:1/metrics"),
		"PEAKS' model of frugal": model("peaks-frugal", "174"), "PEAKS' model of middling": model("peaks-middling", "310"),
		"the NodeConfig's sensor": func(ctx context.Context) (bool, error) {
			o, err := client.Resource(profiles).Get(ctx, "frugal", metav1.GetOptions{})
			if apierrors.IsNotFound(err) {
				return false, nil
			}
			if err != nil {
				return false, err
			}
			answering, _, err := unstructured.NestedString(o.Object, "status", "answering")
			return answering == "1/1", err
		},
	}); err != nil {
		return err
	}
	change := []byte(`[{"op":"replace","path":"/spec/template/spec/sensors/0/url","value":"http://127.0.0.1:2/metrics"}]`)
	if _, err := templates.Patch(ctx, "middle", types.JSONPatchType, change, metav1.PatchOptions{}); err != nil {
		return err
	}
	peaks.Data["models.json"] = `{"frugal": {"k0": 175, "k1": -91, "k2": -0.07}}`
	if _, err := x.client.CoreV1().ConfigMaps("kube-system").Update(ctx, peaks, metav1.UpdateOptions{}); err != nil {
		return err
	}
	if err := configs.Delete(ctx, "frugal", metav1.DeleteOptions{}); err != nil {
		return err
	}
	if err := wait(map[string]func(context.Context) (bool, error){"the changed template": sensor("middling", "http://127.0.0.1:2/metrics"), "the changed model": model("peaks-frugal", "175"),
		"the model that PEAKS has no more": model("peaks-middling", ""), "the profile without its NodeConfig": sensor("frugal", "")}); err != nil {
		return err
	}
	x.stop(p)
	if err := templates.Delete(ctx, "middle", metav1.DeleteOptions{}); err != nil {
		return err
	}
	return models.Delete(ctx, "peaks-frugal", metav1.DeleteOptions{})
}
