package main

import (
	"context"
	"fmt"
	"io"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// runComparison places the same pods with one scheduler after the other and reports.
func runComparison(ctx context.Context, o options, out, progress io.Writer) error {
	fleet, err := newFleet(o.nodes, o.seed)
	if err != nil {
		return err
	}
	sizes := newWorkload(o.pods, o.load, capacity(fleet), o.seed)
	if err := fits(sizes, fleet); err != nil {
		return err
	}
	bound, err := lowerBound(fleet, cores(sizes))
	if err != nil {
		return err
	}
	builder := controlplane.Builder{Scheduler: controlplane.SchedulerPackage, Progress: progress}
	bin, err := builder.Build(ctx)
	if err != nil {
		return err
	}
	plant := newPlant(fleet, o.seed)
	hardware, err := startHardware(plant)
	if err != nil {
		return err
	}
	defer hardware.Close()

	fmt.Fprintln(progress, "starting the control plane")
	return controlplane.Run(ctx, bin, controlplane.Options{Kwok: true, Progress: progress}, func(ctx context.Context, c *controlplane.Cluster) error {
		p := &place{cluster: c, plant: plant, hardware: hardware, sizes: sizes, progress: progress}
		if err := p.prepare(ctx); err != nil {
			return err
		}
		r := report{Nodes: o.nodes, Pods: o.pods, Load: o.load, BoundWatts: round(float64(bound), 1), fleet: fleet}
		leastwatt, err := hardware.leastwattScheduler(c.Folder())
		if err != nil {
			return err
		}
		for i, s := range []contender{defaultScheduler(), leastwatt} {
			if i > 0 {
				if err := p.clear(ctx); err != nil {
					return err
				}
			}
			result, err := p.run(ctx, s)
			if err != nil {
				return fmt.Errorf("%s: %w", s.name, err)
			}
			r.Profiles = append(r.Profiles, result)
		}
		if o.json {
			err = r.writeJSON(out)
		} else {
			err = r.writeTable(out)
		}
		if err != nil || !o.keep {
			return err
		}
		fmt.Fprintf(progress, "\nThe cluster stays up until Ctrl-C:\n  export KUBECONFIG=%s\n", c.Kubeconfig())
		<-ctx.Done()
		return nil
	})
}
