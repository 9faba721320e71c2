package charttest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/restmapper"
	sigsyaml "sigs.k8s.io/yaml"
)

// A definitions is where the CustomResourceDefinitions of somebody else are: in files of a module that a folder beside
// this one pins, or of the folder itself.
type definitions struct {
	folder, module string
	files          []string
}

var (
	gatewayDefinitions    = definitions{"gatewaycrds", "sigs.k8s.io/gateway-api", []string{"config/crd/standard/gateway.networking.k8s.io_httproutes.yaml"}}
	monitoringDefinitions = definitions{"monitoringcrds", "github.com/prometheus-operator/prometheus-operator",
		[]string{"example/prometheus-operator-crd/monitoring.coreos.com_podmonitors.yaml", "example/prometheus-operator-crd/monitoring.coreos.com_prometheusrules.yaml"}}
	kueueDefinitions = definitions{folder: "../shift/testdata/kueue", files: []string{"workloads.kueue.x-k8s.io.yaml", "admissionchecks.kueue.x-k8s.io.yaml"}}
	waoDefinitions   = definitions{folder: "../controller/testdata/wao", files: []string{"nodeconfigs.node.waok8s.github.io.yaml", "nodeconfigtemplates.node.waok8s.github.io.yaml",
		"nodeconfigs.wao.bitmedia.co.jp.yaml", "nodeconfigtemplates.wao.bitmedia.co.jp.yaml"}}
)

var crds = schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"}

// define gives the API server kinds of somebody else, and waits until it serves them.
func (x *installation) define(ctx context.Context, d definitions) error {
	m := struct{ Dir, Version string }{Dir: filepath.Join("..", filepath.FromSlash(d.folder))}
	if d.module != "" {
		c := exec.CommandContext(ctx, "go", "mod", "download", "-json", d.module)
		c.Dir = m.Dir
		c.Env = append(os.Environ(), "GOWORK=off")
		out, err := c.Output()
		if err != nil {
			return fmt.Errorf("module %s: %w", d.module, err)
		}
		if err := json.Unmarshal(out, &m); err != nil {
			return err
		}
		x.Logf("%s %s", d.module, m.Version)
	}
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	for _, file := range d.files {
		text, err := os.ReadFile(filepath.Join(m.Dir, filepath.FromSlash(file)))
		if err != nil {
			return err
		}
		u := new(unstructured.Unstructured)
		if err := sigsyaml.Unmarshal(text, &u.Object); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		if _, err := client.Resource(crds).Create(ctx, u, metav1.CreateOptions{}); err != nil {
			return err
		}
		if err := until(ctx, func(ctx context.Context) (bool, error) {
			got, err := client.Resource(crds).Get(ctx, u.GetName(), metav1.GetOptions{})
			if err != nil {
				return false, err
			}
			list, _, _ := unstructured.NestedSlice(got.Object, "status", "conditions") // null at first
			for _, c := range list {
				if c, ok := c.(map[string]any); ok && c["type"] == "Established" && c["status"] == "True" {
					group, _, _ := unstructured.NestedString(u.Object, "spec", "group")
					return x.serves(group, u.GetName()), nil
				}
			}
			return false, nil
		}); err != nil {
			return fmt.Errorf("waiting for %s: %w", u.GetName(), err)
		}
	}
	return nil
}

// serves tells whether the API server tells others of a kind.
func (x *installation) serves(group, crd string) bool {
	groups, err := restmapper.GetAPIGroupResources(x.client.Discovery())
	if err != nil && len(groups) == 0 {
		return false
	}
	_, err = restmapper.NewDiscoveryRESTMapper(groups).ResourceFor(schema.GroupVersionResource{Group: group, Resource: strings.TrimSuffix(crd, "."+group)})
	return err == nil
}

// strict has the API server look at every object of the release, and refuse what has a field that its kind has not:
// helm's own requests let those pass.
func (x *installation) strict(ctx context.Context) error {
	manifest, err := x.helm.run(ctx, "get", "manifest", "lw", "--namespace="+namespace)
	if err != nil {
		return err
	}
	groups, err := restmapper.GetAPIGroupResources(x.client.Discovery())
	if err != nil && len(groups) == 0 { // a group whose server does not run here, such as the adapter's, is an error of its own
		return err
	}
	mapper := restmapper.NewDiscoveryRESTMapper(groups)
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	kinds := make(map[string]int)
	for d := yaml.NewYAMLOrJSONDecoder(strings.NewReader(manifest), 1<<16); ; {
		o := new(unstructured.Unstructured)
		if err := d.Decode(&o.Object); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		if len(o.Object) == 0 {
			continue
		}
		gvk := o.GroupVersionKind()
		at, err := mapper.RESTMapping(gvk.GroupKind(), gvk.Version)
		if err != nil {
			return err
		}
		kinds[o.GetKind()]++
		text, err := json.Marshal(o)
		if err != nil {
			return err
		}
		if _, err := client.Resource(at.Resource).Namespace(o.GetNamespace()).Patch(ctx, o.GetName(), types.ApplyPatchType, text,
			metav1.PatchOptions{FieldManager: "strict", Force: new(true), DryRun: []string{metav1.DryRunAll}, FieldValidation: metav1.FieldValidationStrict}); err != nil {
			x.Errorf("%s %s: %v", o.GetKind(), o.GetName(), err)
		}
	}
	x.Logf("objects by kind: %v", kinds)
	return nil
}
