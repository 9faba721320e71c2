package prior

import (
	"slices"
	"strings"
	"sync"

	"github.com/leastwatt/leastwatt/power"
)

// How two servers are related, closest first.
type relation int

const (
	sameSystem relation = iota
	sameCPU
	sameSeries
)

// related tells the closest relation of two servers.
func related(a, b *Hardware) (relation, bool) {
	return relatedBy(a, b, namesOf(a.CPU), namesOf(b.CPU))
}

func relatedBy(a, b *Hardware, of, with cpuNames) (relation, bool) {
	switch {
	case of.model != "" && of.model == with.model:
		if SameSystem(a.System, b.System) {
			return sameSystem, true
		}
		return sameCPU, true
	case of.series != "" && of.series == with.series:
		return sameSeries, true
	}
	return 0, false
}

// cpuNames are what a CPU's text says: [CPUModel] and cpuSeries.
type cpuNames struct{ model, series string }

// published are the names of the CPUs of [power.Servers], by their texts: to read them again for every machine would be most of the work of
// a match.
var published = sync.OnceValue(func() map[string]cpuNames {
	all := make(map[string]cpuNames)
	for _, s := range power.Servers() {
		all[s.CPU] = cpuNames{CPUModel(s.CPU), cpuSeries(s.CPU)}
	}
	return all
})

func namesOf(cpu string) cpuNames {
	if n, ok := published()[cpu]; ok {
		return n
	}
	return cpuNames{CPUModel(cpu), cpuSeries(cpu)}
}

// SameSystem tells whether two texts name the same system: "PowerEdge R740", "Dell PowerEdge R740 (Intel Xeon Gold
// 6140, 2.30 GHz)" and a BMC's "Dell Inc. PowerEdge R740" do. Case, what stands in brackets, legal forms of makers
// and makers that only one of them names do not matter.
func SameSystem(a, b string) bool {
	x, y := systemWords(a), systemWords(b)
	if len(x) > len(y) {
		x, y = y, x
	}
	if len(x) < len(y) && len(x) < 2 { // one word is too little to go by without its maker
		return false
	}
	return len(x) > 0 && slices.Equal(x, y[len(y)-len(x):])
}

// systemWords returns the words of a system's name that tell it from others.
func systemWords(s string) []string {
	s, _, _ = strings.Cut(strings.ToLower(s), "(")
	for _, maker := range []string{"hewlett packard enterprise", "hewlett-packard enterprise", "hewlett-packard", "hewlett packard", "hpe"} {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(s), maker+" "); ok {
			s = "hp " + rest
			break
		}
	}
	return slices.DeleteFunc(strings.Fields(s), func(w string) bool {
		return slices.Contains([]string{"inc", "corp", "corporation", "incorporated", "company", "co", "ltd", "limited", "gmbh", "ag"}, strings.Trim(w, ".,"))
	})
}
