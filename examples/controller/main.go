// Controller runs Leastwatt's controllers: it makes NodeProfiles of NodeProfileTemplates, reads the sensors that they
// describe, and tells in the status of each resource which sensors answer, which model is used and how far off it is.
//
//	go run ./examples/controller --secrets-namespace leastwatt-system --leader-elect
//
// It takes the place of WAO's and PEAKS' objects where it is told to: --wao, --wao-labels, --peaks-file, --peaks-configmap.
package main

import (
	"os"

	"k8s.io/klog/v2"
	ctrl "sigs.k8s.io/controller-runtime"
)

func main() {
	ctrl.SetLogger(klog.Background())
	if err := newCommand().ExecuteContext(ctrl.SetupSignalHandler()); err != nil {
		klog.ErrorS(err, "The controller ended")
		os.Exit(1)
	}
}
