package scheduler

import (
	"fmt"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	fwk "k8s.io/kube-scheduler/framework"

	"github.com/leastwatt/leastwatt/scoring"
)

// BenchmarkPod is the plugin's whole share of scheduling one pod, in one thread: PreScore over all nodes,
// Score of each, NormalizeScore, and what follows a decision: Reserve, and the pod on its node when the
// next comes. Each server has 20 running pods and is of a curve and load of its own. Pods that are alike
// have only those servers scored that have changed; pods of many sizes have all.
func BenchmarkPod(b *testing.B) {
	for _, n := range []int{500, 1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d/pods=alike", n), func(b *testing.B) { benchmarkPod(b, n, 1, nil) })
		b.Run(fmt.Sprintf("nodes=%d/pods=different", n), func(b *testing.B) { benchmarkPod(b, n, 3*demands, nil) })
	}
}

// BenchmarkPodInGrams is the same in grams, of servers in ten places.
func BenchmarkPodInGrams(b *testing.B) {
	var places [10]*scoring.Meter
	for i := range places {
		places[i] = meter(fmt.Sprint("z", i), scoring.Tariff{Intensity: float64(100 + 50*i), PUE: 1.2})
	}
	grams := func(s *fleetSite) {
		s.scorer = scoring.Objective{Power: scoring.EnvelopePower{}, Unit: scoring.GramsPerHour}
		for i := range s.specs {
			s.specs[i].Meter = places[i%len(places)]
		}
	}
	for _, n := range []int{500, 1000, 5000} {
		b.Run(fmt.Sprintf("nodes=%d/pods=alike", n), func(b *testing.B) { benchmarkPod(b, n, 1, grams) })
		b.Run(fmt.Sprintf("nodes=%d/pods=different", n), func(b *testing.B) { benchmarkPod(b, n, 3*demands, grams) })
	}
}

func benchmarkPod(b *testing.B, n, sizes int, change func(*fleetSite)) {
	s := newSite(curves(b, n)...)
	if change != nil {
		change(s)
	}
	p := s.start(b, "")
	loads := make([]float64, 89)
	for i := range loads {
		loads[i] = float64(i) / 100
	}
	s.refresh(b, s.now, loads...)
	infos := s.infos()
	old := started(pod("old", "100m"), s.now.Add(-time.Hour), s.now.Add(-time.Hour))
	for _, i := range infos {
		for range 20 {
			i.(*fakeNode).add(old)
		}
	}
	list := make(fwk.NodeScoreList, n)
	pods := make([]*v1.Pod, sizes)
	for i := range pods {
		pods[i] = pod(fmt.Sprint("p", i), fmt.Sprintf("%dm", 500+10*i))
	}
	ctx, turn := b.Context(), 0
	cycle(b, p, pods[0], infos) // the first pod after a start has all that runs looked into; it is no share of the others
	b.ReportAllocs()
	for b.Loop() {
		cs, pd := newState(), pods[turn%sizes]
		turn++
		if st := p.PreScore(ctx, cs, pd, infos); !st.IsSuccess() {
			b.Fatal(st)
		}
		for i, info := range infos {
			raw, _ := p.Score(ctx, cs, pd, info)
			list[i] = fwk.NodeScore{Name: info.Node().Name, Score: raw}
		}
		p.NormalizeScore(ctx, cs, pd, list)
		best := 0
		for i := range list {
			if list[i].Score > list[best].Score {
				best = i
			}
		}
		p.Reserve(ctx, cs, pd, list[best].Name)
		infos[best].(*fakeNode).generation = generations.Add(1)
	}
	b.ReportMetric(float64(b.Elapsed().Microseconds())/float64(b.N), "µs/pod")
}
