package scheduler

import (
	"context"
	"encoding/json"

	"github.com/prometheus/client_golang/prometheus"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/klog/v2"
)

// DecisionAnnotation is the annotation of a pod that tells why it is where it is, with the argument annotate.
const DecisionAnnotation = "leastwatt.github.io/decision"

// An annotator writes why pods are where they are on them, in the background: no cycle waits for it.
type annotator struct {
	client  kubernetes.Interface
	dropped prometheus.Counter
	queue   chan annotation
}

type annotation struct {
	namespace, name string
	uid             types.UID
	note            string
}

// maxAnnotations is how many pods may wait to be annotated; beyond it they are left without.
const maxAnnotations = 1024

func newAnnotator(ctx context.Context, client kubernetes.Interface, dropped prometheus.Counter) *annotator {
	a := &annotator{client: client, dropped: dropped, queue: make(chan annotation, maxAnnotations)}
	go a.run(ctx)
	return a
}

// write has a note written.
func (a *annotator) write(ctx context.Context, n annotation) {
	select {
	case a.queue <- n:
	default:
		a.dropped.Inc()
		klog.FromContext(ctx).V(2).Info("Pod is not annotated: too many wait", "pod", klog.KRef(n.namespace, n.name))
	}
}

func (a *annotator) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case n := <-a.queue:
			if err := a.patch(ctx, n); err != nil && ctx.Err() == nil && !apierrors.IsNotFound(err) && !apierrors.IsConflict(err) {
				klog.FromContext(ctx).Error(err, "Pod is not annotated", "pod", klog.KRef(n.namespace, n.name))
			}
		}
	}
}

// patch goes by the status subresource, which kube-scheduler may patch by default and which takes annotations
// too. The UID keeps the note off a later pod of the same name.
func (a *annotator) patch(ctx context.Context, n annotation) error {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": n.uid, "annotations": map[string]string{DecisionAnnotation: n.note}}})
	if err != nil {
		return err
	}
	_, err = a.client.CoreV1().Pods(n.namespace).Patch(ctx, n.name, types.StrategicMergePatchType, body, metav1.PatchOptions{}, "status")
	return err
}
