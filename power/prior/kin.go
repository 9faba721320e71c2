package prior

import "strings"

// How two servers are related, closest first.
type relation int

const (
	sameSystem relation = iota
	sameCPU
	sameSeries
)

// related tells the closest relation of two servers.
func related(a, b *Hardware) (relation, bool) {
	cpuA, cpuB := CPUModel(a.CPU), CPUModel(b.CPU)
	switch {
	case cpuA != "" && cpuA == cpuB:
		if s := foldSystem(a.System); s != "" && s == foldSystem(b.System) {
			return sameSystem, true
		}
		return sameCPU, true
	case cpuSeries(a.CPU) != "" && cpuSeries(a.CPU) == cpuSeries(b.CPU):
		return sameSeries, true
	}
	return 0, false
}

// foldSystem drops what vendors put in brackets behind a model, case, and repeated spaces.
func foldSystem(s string) string {
	s, _, _ = strings.Cut(s, "(")
	return strings.ToLower(strings.Join(strings.Fields(s), " "))
}
