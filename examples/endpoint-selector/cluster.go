package main

import (
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	coordinationv1 "k8s.io/client-go/kubernetes/typed/coordination/v1"
	corev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	discoveryv1 "k8s.io/client-go/kubernetes/typed/discovery/v1"
	eventsv1 "k8s.io/client-go/kubernetes/typed/events/v1"
	"k8s.io/client-go/rest"
)

// A cluster is the clients of what this program reads and writes. A kubernetes.Clientset has those of all APIs, and their
// code in the memory of every node.
type cluster struct {
	core         *corev1.CoreV1Client
	discovery    *discoveryv1.DiscoveryV1Client
	events       *eventsv1.EventsV1Client
	coordination *coordinationv1.CoordinationV1Client
}

// newCluster returns the clients of an API server. What is built in comes in protobuf, which takes less memory and time
// than JSON.
func newCluster(config *rest.Config) (*cluster, error) {
	compact := rest.CopyConfig(config)
	compact.ContentType, compact.AcceptContentTypes = runtime.ContentTypeProtobuf, runtime.ContentTypeProtobuf+","+runtime.ContentTypeJSON
	h, err := rest.HTTPClientFor(compact)
	if err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	var c cluster
	var errs [4]error
	c.core, errs[0] = corev1.NewForConfigAndClient(compact, h)
	c.discovery, errs[1] = discoveryv1.NewForConfigAndClient(compact, h)
	c.events, errs[2] = eventsv1.NewForConfigAndClient(compact, h)
	c.coordination, errs[3] = coordinationv1.NewForConfigAndClient(compact, h)
	if err := errors.Join(errs[:]...); err != nil {
		return nil, fmt.Errorf("reach the cluster: %w", err)
	}
	return &c, nil
}

// CoreV1 implements endpoints.Client.
func (c *cluster) CoreV1() corev1.CoreV1Interface { return c.core }

// DiscoveryV1 implements endpoints.Client.
func (c *cluster) DiscoveryV1() discoveryv1.DiscoveryV1Interface { return c.discovery }
