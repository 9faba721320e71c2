// Scheduler is a kube-scheduler with the plugin LeastWatt, which places each pod where it is predicted to add
// the fewest watts. It takes every flag of kube-scheduler and one more:
//
//	go run ./examples/scheduler --config scheduler.yaml --leastwatt-config leastwatt.yaml
//
// The first file is a KubeSchedulerConfiguration that enables LeastWatt in a profile; the second says which
// sensors and models the servers have. A profile may name another one in the argument config of the plugin.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // metrics of the client
	_ "k8s.io/component-base/metrics/prometheus/version"  // metric of the version
	"k8s.io/klog/v2"
	ctrllog "sigs.k8s.io/controller-runtime/pkg/log"
)

func main() {
	ctrllog.SetLogger(klog.Background()) // of the cache of NodeProfiles
	cmd, err := newCommand()
	if err != nil {
		klog.ErrorS(err, "LeastWatt cannot be set up")
		os.Exit(1)
	}
	os.Exit(cli.Run(cmd))
}
