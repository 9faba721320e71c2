// Package kubeclient tells programs how to reach their cluster.
//
// Its main function is [Config].
package kubeclient

import (
	"fmt"
	"os"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Usage explains the argument of Config, for the help of a flag.
const Usage = "kubeconfig of the cluster; empty is KUBECONFIG, then the pod's service account, then the user's own file"

// Config reads a kubeconfig; "" is the one that KUBECONFIG names, else the pod's service account, else the user's own file.
func Config(file string) (*rest.Config, error) {
	if file == "" && os.Getenv("KUBECONFIG") == "" {
		if c, err := rest.InClusterConfig(); err == nil {
			return c, nil
		}
	}
	rules := clientcmd.NewDefaultClientConfigLoadingRules()
	rules.ExplicitPath = file
	c, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, nil).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("kubeconfig: %w", err)
	}
	return c, nil
}
