package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// A contest compares one profile of the scheduler without and with the plugin.
type contest struct {
	name  string
	sides []contender // without the plugin, with it and, where asked for, with one that only watches
}

// The sides of a contest.
const (
	without = iota
	with
	watching
)

// warmUp is how many pods a pass places that does not count: the first pods of a cluster fill the caches of etcd, the
// API server and the machine.
const warmUp = 500

// runBench measures how long a scheduler takes to choose a node for a pod, with all nodes scored: in the
// default profile and in one whose pods can be batched, each without and with the plugin. All pods wait
// before the scheduler starts to lead, so that creating them does not disturb it.
func runBench(ctx context.Context, o options, out io.Writer) error {
	fleet, err := newFleet(o.nodes, o.seed)
	if err != nil {
		return err
	}
	sizes := make([]int64, o.pods)
	for i := range sizes {
		sizes[i] = benchPod // all alike, as batching needs it
	}
	if need, has := float64(benchPod*int64(o.pods+o.initPods))/1000, capacity(fleet); need > has {
		return fmt.Errorf("the pods would need %.0f cores and all servers together have %.0f: lower -pods or raise -nodes", need, has)
	}
	builder := controlplane.Builder{Scheduler: controlplane.SchedulerPackage, Progress: out}
	bin, err := builder.Build(ctx)
	if err != nil {
		return err
	}
	plant := newPlant(fleet, o.seed)
	hardware, stop, err := startElsewhere(ctx, o)
	if err != nil {
		return err
	}
	defer stop()
	fmt.Fprintln(out, "starting the control plane")
	return controlplane.Run(ctx, bin, controlplane.Options{Progress: out}, func(ctx context.Context, c *controlplane.Cluster) error {
		p := &place{cluster: c, plant: plant, hardware: hardware, sizes: sizes, progress: out}
		if err := p.prepare(ctx); err != nil {
			return err
		}
		if err := p.settleIn(ctx, o.initPods); err != nil {
			return err
		}
		contests, err := contests(p, o)
		if err != nil {
			return err
		}
		p.sizes = sizes[:min(len(sizes), warmUp)]
		if _, err := p.measure(ctx, contests[0].sides[without], ""); err != nil {
			return fmt.Errorf("warming up: %w", err)
		}
		p.sizes = sizes
		results := make([][][]pass, len(contests))
		for i := range contests {
			results[i] = make([][]pass, len(contests[i].sides))
		}
		for n := range o.repetitions {
			for i, k := range contests {
				order := make([]int, len(k.sides))
				for side := range order {
					order[side] = side
				}
				if n%2 == 1 { // so that none always goes first
					slices.Reverse(order)
				}
				for _, side := range order {
					s := k.sides[side]
					profile := ""
					if o.profiles != "" {
						if err := os.MkdirAll(o.profiles, 0o755); err != nil {
							return err
						}
						profile = filepath.Join(o.profiles, fmt.Sprintf("%s-%s-%d.pb.gz", k.name, s.name, n+1))
					}
					r, err := p.measure(ctx, s, profile)
					if err != nil {
						return fmt.Errorf("%s, %s: %w", k.name, s.name, err)
					}
					results[i][side] = append(results[i][side], r)
					fmt.Fprintf(out, "  %-10s %-9s %6.3f ms a pod (%.3f ms until the next pod, %.3f ms of CPU in all), %4.0f cycles with scores, %4.0f pods batched, heap %.0f MB, RSS %.0f MB\n",
						k.name, s.name, r.millis, r.wall, r.cpu, r.scored, r.batched, r.heap, r.rss)
				}
			}
		}
		return writeBench(out, o, contests, results)
	})
}

// benchPod is what each pod requests, in thousandths of a core.
const benchPod = 500

// contests are the profiles of the benchmark.
func contests(p *place, o options) ([]contest, error) {
	// The spread that pods get by default depends on all pods of a Service or ReplicaSet, so pods with it
	// are never batched.
	const batchable = "{name: PodTopologySpread, args: {defaultingType: List, defaultConstraints: []}}"
	path, err := p.hardware.writeBenchConfig(p.cluster.Folder(), o)
	if err != nil {
		return nil, err
	}
	var all []contest
	for _, profile := range []struct {
		name, pluginConfig string
		disabled           []string
	}{{"default", "", nil}, {"batchable", batchable, nil}, {"installed", "", spreading}} {
		if o.contest != profile.name && (o.contest != "both" || profile.disabled != nil) {
			continue
		}
		k := contest{profile.name, []contender{
			benchScheduler("without", profile.pluginConfig),
			p.hardware.withPlugin(path, "with", profile.disabled, profile.pluginConfig),
		}}
		if o.watching {
			k.sides = append(k.sides, p.hardware.withPlugin(path, "watching", nil, shadowArgs, profile.pluginConfig))
		}
		all = append(all, k)
	}
	return all, nil
}
