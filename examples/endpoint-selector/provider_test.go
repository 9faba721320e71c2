package main

import (
	kubeproxy "k8s.io/kubernetes/pkg/proxy"

	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// A forked kube-proxy takes our proxier in place of its own.
var _ kubeproxy.Provider = (*endpoints.Proxier)(nil)
