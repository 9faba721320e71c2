package metrics

import (
	"fmt"
	"math"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/metrics/pkg/apis/custom_metrics"
	"sigs.k8s.io/custom-metrics-apiserver/pkg/provider"
)

// value is a sample as the API shows it.
func value(info provider.CustomMetricInfo, name types.NamespacedName, s sample) *custom_metrics.MetricValue {
	kind := map[string]string{nodes.Resource: "Node", pods.Resource: "Pod", namespaces.Resource: "Namespace"}[info.GroupResource.Resource]
	if info.GroupResource != pods {
		name.Namespace = ""
	}
	return &custom_metrics.MetricValue{
		DescribedObject: custom_metrics.ObjectReference{APIVersion: "v1", Kind: kind, Namespace: name.Namespace, Name: name.Name},
		Metric:          custom_metrics.MetricIdentifier{Name: info.Metric},
		Timestamp:       metav1.NewTime(s.at),
		Value:           quantity(s.value),
	}
}

// quantity rounds to millionths, or to whole numbers beyond what an int64 has millionths for.
func quantity(v float64) resource.Quantity {
	const most = math.MaxInt64 / 2e6
	if math.Abs(v) < most {
		return *resource.NewScaledQuantity(int64(math.Round(v*1e6)), resource.Micro)
	}
	return *resource.NewQuantity(int64(math.Round(max(-most*1e6, min(most*1e6, v)))), resource.DecimalSI)
}

// notFound adds to an error of the API why the metric is not there.
func notFound(e *apierrors.StatusError, why error) error {
	e.ErrStatus.Message = fmt.Sprintf("%s: %v", e.ErrStatus.Message, why)
	return e
}
