package scheduler_test

import (
	"context"
	"fmt"
	"time"

	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// A scheduler of one's own: sensors, one model for every server, the plugin's factory. With
// k8s.io/kubernetes/cmd/kube-scheduler/app it becomes a program by
//
//	app.NewSchedulerCommand(app.WithPlugin(scheduler.Name, factory))
func ExampleNew() {
	bmc := sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
		return []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.25, At: time.Now(), Source: "example"}}, nil
	})
	model := func(m scoring.Machine) (scoring.Spec, error) {
		curve, err := power.EvenPiecewise(50, 80, 100)
		return scoring.Spec{Predictor: curve, Model: "lab"}, err
	}
	factory, err := scheduler.New(func(string) (scheduler.Setup, error) {
		site := scoring.NewSite(sensors.NewPoller(bmc, nil, sensors.PollerOptions{}), model, scoring.SiteOptions{})
		return scheduler.Setup{Site: site}, nil
	}, scheduler.Options{})
	fmt.Println(scheduler.Name, factory != nil, err)
	// Output: LeastWatt true <nil>
}
