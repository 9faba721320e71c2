// Metrics-adapter serves the watts, temperatures and predictions of a cluster's servers as Kubernetes' custom
// and external metrics, for HorizontalPodAutoscalers and kubectl:
//
//	go run ./examples/metrics-adapter --leastwatt-config leastwatt.yaml --lister-kubeconfig ~/.kube/config \
//	    --authentication-kubeconfig ~/.kube/config --authorization-kubeconfig ~/.kube/config --secure-port 6443
//
// The file is the one of the other programs: sensors and models. All other flags are those of
// sigs.k8s.io/custom-metrics-apiserver: certificates, delegated authentication and authorization, audit. In a
// cluster the kubeconfigs are not needed. Package k8s/metrics tells which metrics there are.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"k8s.io/klog/v2"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		klog.Flush()
		fmt.Fprintln(os.Stderr, "metrics-adapter:", err)
		os.Exit(1)
	}
	klog.Flush()
}
