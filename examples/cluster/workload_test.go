package main

import (
	"math"
	"slices"
	"testing"
)

func TestWorkload(t *testing.T) {
	fleet := mustFleet(t, 24, 1)
	for _, load := range []float64{0.2, 0.4, 0.6, 1} {
		sizes := newWorkload(120, load, capacity(fleet), 1)
		if got := cores(sizes) / capacity(fleet); math.Abs(got-load) > 0.001 {
			t.Errorf("load %v: the pods ask for %v of the capacity", load, got)
		}
		distinct := slices.Compact(slices.Sorted(slices.Values(sizes)))
		if len(distinct) < 20 || distinct[len(distinct)-1] < 4*distinct[0] {
			t.Errorf("load %v: sizes %v are not mixed", load, distinct)
		}
		for _, s := range sizes {
			if s <= 0 || s%quantum != 0 {
				t.Errorf("a pod of %d thousandths: want a positive multiple of %d", s, quantum)
			}
		}
		if !slices.Equal(sizes, newWorkload(120, load, capacity(fleet), 1)) {
			t.Errorf("load %v: the same seed gives other pods", load)
		}
		if slices.Equal(sizes, newWorkload(120, load, capacity(fleet), 2)) {
			t.Errorf("load %v: another seed gives the same pods", load)
		}
	}
	if err := fits(newWorkload(120, 0.6, capacity(fleet), 1), fleet); err != nil {
		t.Error(err)
	}
	if err := fits(newWorkload(1, 0.9, capacity(fleet), 1), fleet); err == nil {
		t.Error("one pod as large as all servers together fits one of them")
	}
}

// A fleet is of several kinds, each machine a little different, and the same for the same seed.
func TestFleet(t *testing.T) {
	fleet := mustFleet(t, 24, 1)
	again := mustFleet(t, 24, 1)
	models := map[string]bool{}
	for i := range fleet {
		s := &fleet[i]
		models[s.hardware.Name()+s.hardware.CPU] = true
		if s.deviation == 1 || math.Abs(s.deviation-1) > mostDeviation {
			t.Errorf("%s draws %v of the published figures", s.name, s.deviation)
		}
		if s.watts(0.5) != again[i].watts(0.5) {
			t.Errorf("%s draws something else for the same seed", s.name)
		}
		if s.watts(1) <= s.watts(0) || s.watts(0) <= 0 {
			t.Errorf("%s draws %v idle and %v full", s.name, s.watts(0), s.watts(1))
		}
	}
	if len(models) < 6 {
		t.Errorf("%d kinds of servers, want at least 6", len(models))
	}
}
