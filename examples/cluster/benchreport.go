package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
)

// writeBench prints what came out, every contest and measure in a row.
func writeBench(out io.Writer, o options, contests []contest, results [][][]pass) error {
	fmt.Fprintf(out, "\n%d nodes, %d pods placed before and %d measured, all nodes scored, sensors read by %s every %v, %d repetitions in turn.\n",
		o.nodes, o.initPods, o.pods, o.sensors, o.poll, o.repetitions)
	fmt.Fprintln(out, `"algorithm" is scheduler_scheduling_algorithm_duration_seconds, milliseconds a pod, which the targets are about: a ratio of at most 1.05 in`)
	fmt.Fprintln(out, `the default profile and 1.25 in the batchable one. "pod to pod" has etcd and the API server in it, "CPU of all" the reading of sensors, both in`)
	fmt.Fprintln(out, `milliseconds a pod. "heap" is in use after a garbage collection and "RSS" resident then, in MB. A ratio is of the two passes of one repetition.`)
	if o.watching {
		fmt.Fprintln(out, `"watching" is the plugin in shadow mode: it does all its work, and the pods go where they go without it.`)
	}
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "\t\t\twithout\t\tplugin\t\tratio\t\t\tbatched\t\t")
	fmt.Fprintln(w, "profile\tplugin\tmeasured\tbest\tmedian\tbest\tmedian\tleast\tmedian\tmost\twithout\twith\t")
	for i, k := range contests {
		base := results[i][without]
		for side := with; side < len(k.sides); side++ {
			for _, m := range []struct {
				name string
				of   func(pass) float64
			}{
				{"algorithm", func(r pass) float64 { return r.millis }},
				{"pod to pod", func(r pass) float64 { return r.wall }},
				{"CPU of all", func(r pass) float64 { return r.cpu }},
				{"heap", func(r pass) float64 { return r.heap }},
				{"RSS", func(r pass) float64 { return r.rss }},
			} {
				a, b := collect(base, m.of), collect(results[i][side], m.of)
				ratio := ratios(base, results[i][side], m.of)
				fmt.Fprintf(w, "%s\t%s\t%s\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.3f\t%.1f %%\t%.1f %%\t\n", k.name, k.sides[side].name, m.name,
					a[0], median(a), b[0], median(b), ratio[0], median(ratio), ratio[len(ratio)-1],
					batchedShare(base, o.pods), batchedShare(results[i][side], o.pods))
			}
		}
	}
	return w.Flush()
}

// collect returns a number of every pass, ascending.
func collect(passes []pass, of func(pass) float64) []float64 {
	all := make([]float64, len(passes))
	for i, p := range passes {
		all[i] = of(p)
	}
	slices.Sort(all)
	return all
}

// ratios returns how much more a number is in the second passes than in the first of the same repetition, ascending.
func ratios(a, b []pass, of func(pass) float64) []float64 {
	all := make([]float64, len(a))
	for i := range a {
		all[i] = of(b[i]) / of(a[i])
	}
	slices.Sort(all)
	return all
}

// median of sorted numbers; of an even number of them the mean of the two in the middle.
func median(sorted []float64) float64 {
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// batchedShare is the percentage of the pods that were batched, over all passes.
func batchedShare(passes []pass, pods int) float64 {
	sum := 0.0
	for _, r := range passes {
		sum += r.batched
	}
	return 100 * sum / float64(len(passes)*pods)
}
