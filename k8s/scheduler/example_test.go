package scheduler_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

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

// All plugins of the package, which share their setups. With k8s.io/kubernetes/cmd/kube-scheduler/app:
//
//	var options []app.Option
//	for name, factory := range all {
//		options = append(options, app.WithPlugin(name, factory))
//	}
func ExampleNewAll() {
	all, err := scheduler.NewAll(func(config string) (scheduler.Setup, error) {
		model := func(scoring.Machine) (scoring.Spec, error) {
			return scoring.Spec{Predictor: power.Linear{Idle: 50, Peak: 100}, Model: "lab"}, nil
		}
		return scheduler.Setup{Site: scoring.NewSite(sensors.NewPoller(sensors.Merge(), nil, sensors.PollerOptions{}), model, scoring.SiteOptions{})}, nil
	}, scheduler.Options{})
	fmt.Println(slices.Sorted(maps.Keys(all)), err)
	// Output: [LeastWatt LeastWattPlacement PowerCap SpreadRate] <nil>
}

// What a profile may say of PowerCap is checked when the scheduler starts.
func ExampleDecodeCapArgs() {
	_, err := scheduler.DecodeCapArgs(&runtime.Unknown{Raw: []byte(`{"caps": [{"name": "pdu", "lable": "example.com/pdu", "watts": 5500}]}`)})
	fmt.Println(err)
	// Output: arguments of plugin PowerCap: unknown field "caps[0].lable"
}
