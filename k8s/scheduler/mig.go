package scheduler

import (
	"regexp"
	"strconv"
)

// mig is a GPU instance as NVIDIA's device plugin names it: with so many compute slices and so much memory.
var mig = regexp.MustCompile(`^nvidia\.com/mig-([1-7])g\.([0-9]+gb)`)

// quarters are the memory of the profiles, by compute slices, of GPUs that have four slices and not seven: the A30 and the RTX PRO 6000 Blackwell
// (NVIDIA Multi-Instance GPU User Guide, supported profiles). One with 1g.24gb is taken for an H100's.
var quarters = map[string][]string{"1": {"6gb"}, "2": {"12gb", "48gb"}, "4": {"24gb", "96gb"}}

// gpuShare returns how much of a GPU one of a resource is.
func gpuShare(name string) float64 {
	m := mig.FindStringSubmatch(name)
	if m == nil {
		return 1
	}
	slices, all := m[1], 7.0
	for _, memory := range quarters[slices] {
		if memory == m[2] {
			all = 4
		}
	}
	n, _ := strconv.Atoi(slices)
	return float64(n) / all
}
