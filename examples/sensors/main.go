// Sensors prints what every node measures now: the operator's first check of a configuration.
//
//	go run ./examples/sensors -config FILE [-watch] [-json]
//	go run ./examples/sensors -demo
//
// It shows each node and kind with value, age and source, and every error. It reads everything twice, some seconds apart, because
// kinds that are rates of counters have their first value then, and its exit status is 1 if a source failed for a node the second time.
// -watch repeats at the configured interval, -json prints one object a line. Beside the types of sources that are built in, it knows
// metrics.k8s.io. -demo needs no hardware: it starts one emulated BMC or exporter per protocol in this process and reads each of them.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/config"
)

func main() {
	var o options
	flag.StringVar(&o.config, "config", "", "YAML `file` with the section sensors")
	flag.BoolVar(&o.watch, "watch", false, "repeat until interrupted")
	flag.BoolVar(&o.json, "json", false, "print JSON, one object a line")
	flag.BoolVar(&o.demo, "demo", false, "read one emulated device per protocol")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout, o); err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "sensors:", err)
		os.Exit(1)
	}
}

// cluster returns the API server that kubectl would ask, for sources of type metrics.k8s.io without a url: that of
// $KUBECONFIG or ~/.kube/config, else the cluster that this program runs in.
func cluster() (*rest.Config, error) {
	return clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
}

type options struct {
	config            string
	watch, json, demo bool
}

func run(ctx context.Context, w io.Writer, o options) (err error) {
	var source sensors.SensorSource
	var nodes []string
	poll := sensors.PollerOptions{}
	switch {
	case o.demo == (o.config != ""):
		return errors.New("give -config FILE or -demo")
	case o.demo:
		d, err := startDemo()
		if err != nil {
			return err
		}
		defer d.close()
		source, nodes, poll.Interval = d, d.nodes(), 2*time.Second
	default:
		c, err := config.Load(o.config, metricsserver.Type(cluster))
		if err != nil {
			return err
		}
		set, err := c.Build(config.BuildOptions{})
		if err != nil {
			return err
		}
		defer func() {
			closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			err = errors.Join(err, set.Close(closing))
		}()
		source, nodes, poll = set.Source, c.Nodes(), c.PollerOptions()
		if len(nodes) == 0 {
			return fmt.Errorf("%s: sensors.nodes: lists no nodes to read", o.config)
		}
	}
	if o.watch {
		return watch(ctx, w, source, nodes, poll, o.json)
	}
	rows, err := twice(ctx, source, nodes, poll)
	if err != nil {
		return err
	}
	if err := print(w, rows, time.Now(), o.json); err != nil {
		return err
	}
	for _, r := range rows {
		if len(r.errs) > 0 {
			return errUnread
		}
	}
	return nil
}

// errUnread is what is wrong when errors were printed beside the readings.
var errUnread = errors.New("not all could be read: see the errors among the readings")
