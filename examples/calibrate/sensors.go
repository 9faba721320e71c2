package main

import (
	"context"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/config"
)

// cluster returns the API server that kubectl would ask, for sources of type metrics.k8s.io without a url.
func cluster() (*rest.Config, error) {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
}

// openSensors builds the sources that a YAML file describes. A node that the file does not list is this machine.
func openSensors(name, node string) (sensors.SensorSource, func(), error) {
	c, err := config.Load(name, metricsserver.Type(cluster))
	if err != nil {
		return nil, nil, err
	}
	set, err := c.Build(config.BuildOptions{Node: func(n string) (config.Node, bool) {
		return config.Node{Name: n, Address: "localhost"}, n == node
	}})
	if err != nil {
		return nil, nil, err
	}
	return set.Source, func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = set.Close(ctx) // what was measured is written
	}, nil
}
