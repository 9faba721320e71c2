package charttest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	v1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
)

var podMonitors = schema.GroupVersionResource{Group: "monitoring.coreos.com", Version: "v1", Resource: "podmonitors"}

// scrape asks a program that runs for its metrics as its PodMonitor has Prometheus do it: at the port and path and with the credentials that it names.
func (x *installation) scrape(ctx context.Context, component string, template v1.PodTemplateSpec) error {
	client, err := dynamic.NewForConfig(x.kubelet.cluster.RESTConfig())
	if err != nil {
		return err
	}
	o, err := client.Resource(podMonitors).Namespace(namespace).Get(ctx, "lw-leastwatt-"+component, metav1.GetOptions{})
	if err != nil {
		return err
	}
	var spec struct {
		Selector            metav1.LabelSelector
		PodMetricsEndpoints []struct {
			Port, Path, Scheme string
			Authorization      struct{ Credentials v1.SecretKeySelector }
		}
	}
	text, err := json.Marshal(o.Object["spec"])
	if err != nil {
		return err
	}
	if err := json.Unmarshal(text, &spec); err != nil {
		return err
	}
	selector, err := metav1.LabelSelectorAsSelector(&spec.Selector)
	if err != nil {
		return err
	}
	if !selector.Matches(labels.Set(template.Labels)) || len(spec.PodMetricsEndpoints) != 1 {
		x.Errorf("the PodMonitor of %s chooses %v, whose pods have %v, and asks at %v", component, selector, template.Labels, spec.PodMetricsEndpoints)
		return nil
	}
	e := spec.PodMetricsEndpoints[0]
	port := int32(0)
	for _, p := range template.Spec.Containers[0].Ports {
		if p.Name == e.Port {
			port = p.ContainerPort
		}
	}
	token := ""
	switch secret := e.Authorization.Credentials; secret.Name {
	case "":
	case "lw-leastwatt-scraper-token": // Kubernetes' controller of tokens, which would fill it, does not run here
		kept, err := x.client.CoreV1().Secrets(namespace).Get(ctx, secret.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		if token, err = x.token(ctx, kept.Annotations[v1.ServiceAccountNameKey]); err != nil {
			return err
		}
	default:
		kept, err := x.client.CoreV1().Secrets(namespace).Get(ctx, secret.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		token = string(kept.Data[secret.Key])
	}
	scheme := "http"
	if e.Scheme != "" {
		scheme = e.Scheme
	}
	var body string
	var status int
	if err := until(ctx, func(ctx context.Context) (bool, error) {
		var err error
		status, body, err = x.ask(ctx, http.MethodGet, fmt.Sprintf("%s://127.0.0.1:%d%s", scheme, port, e.Path), token, "")
		return status == http.StatusOK && strings.Contains(body, "\nleastwatt_"), err
	}); err != nil {
		return fmt.Errorf("metrics of %s, by its PodMonitor: %w: %d %.500s", component, err, status, body)
	}
	return nil
}
