package main

import (
	"errors"
	"log/slog"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"k8s.io/component-base/metrics/legacyregistry"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/cmd/kube-scheduler/app"

	"github.com/leastwatt/leastwatt/k8s/scheduler"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
)

// newCommand returns kube-scheduler's command with the plugin and its flag.
func newCommand() (*cobra.Command, error) {
	var file string
	factory, err := scheduler.New(func(path string) (scheduler.Setup, error) {
		if path == "" {
			path = file
		}
		return open(path)
	}, scheduler.Options{Registerer: legacyregistry.Registerer()})
	if err != nil {
		return nil, err
	}
	cmd := app.NewSchedulerCommand(app.WithPlugin(scheduler.Name, factory))
	cmd.Flags().StringVar(&file, "leastwatt-config", "", "The file that describes the sensors and models of the servers, for the plugin "+
		scheduler.Name+". A profile's pluginConfig may name another.")
	if err := cmd.MarkFlagFilename("leastwatt-config", "yaml", "yml"); err != nil {
		return nil, err
	}
	return cmd, nil
}

// open makes what the plugin decides with from a file.
func open(path string) (scheduler.Setup, error) {
	if path == "" {
		return scheduler.Setup{}, errors.New("no configuration: give --leastwatt-config, or config in the plugin's arguments")
	}
	c, err := config.Load(path)
	if err != nil {
		return scheduler.Setup{}, err
	}
	log := slog.New(logr.ToSlogHandler(klog.Background()))
	r, err := readings(c, log)
	if err != nil {
		return scheduler.Setup{}, err
	}
	return scheduler.Setup{Site: c.NewSite(r, scoring.SiteOptions{Logger: log}), Scorer: c.NewScorer()}, nil
}
