package prior

import (
	"fmt"
	"math"

	"github.com/leastwatt/leastwatt/power"
)

// A Match is a belief about a server and the published servers that it rests on beside the statistics.
type Match struct {
	Belief

	// By tells what the server shares with them: "system" (and CPU), "cpu", "series" (the CPU's
	// generation), or "statistics" when it shares nothing.
	By string

	// Servers are the names of the published servers, closest relation only.
	Servers []string
}

var relationNames = [...]string{sameSystem: "system", sameCPU: "cpu", sameSeries: "series"}

// Match returns what is thought of a server when published servers are known beside the statistics, such as
// [power.Servers]. The closest kin, by system, by CPU or by the CPU's generation, lend what h lacks of their
// data sheets, and what is special about their curves counts as much as kinship was measured to tell.
// Without kin the belief is that of [Prior.Belief]. An invalid h is the error.
func (p *Prior) Match(h Hardware, servers []power.Server) (Match, error) {
	if err := h.Validate(); err != nil {
		return Match{}, err
	}
	closest := relation(len(relationNames))
	var kin []*power.Server
	of := namesOf(h.CPU)
	for i := range servers {
		with := namesOf(servers[i].CPU)
		if with.series != of.series && with.model != of.model || with == (cpuNames{}) {
			continue // most are no kin, which is told without looking at all that they are
		}
		r, ok := relatedBy(&h, hardwareOf(&servers[i]), of, with)
		if !ok || r > closest {
			continue
		}
		if r < closest {
			closest, kin = r, nil
		}
		kin = append(kin, &servers[i])
	}
	if len(kin) == 0 {
		b, err := p.Belief(h)
		return Match{Belief: b, By: "statistics"}, err
	}
	h = h.with(kin[0], closest)
	m := Match{By: relationNames[closest]}
	b, err := p.Belief(h)
	if err != nil {
		return m, err
	}
	rho := [...]float64{sameSystem: p.kin.System, sameCPU: p.kin.CPU, sameSeries: p.kin.Series}[closest]
	n := float64(len(kin))
	share := n * rho / (1 + (n-1)*rho) // of the mean of what is special about n kin
	for _, k := range kin {
		g := p.given(hardwareOf(k))
		for i, w := range k.Watts {
			b.Log[i] += share / n * (math.Log(float64(w)) - g.mean[i])
		}
		m.Servers = append(m.Servers, k.Name())
	}
	for i := range b.Covariance {
		for j := range b.Covariance[i] {
			b.Covariance[i][j] *= 1 - share*rho
		}
	}
	b.Source = fmt.Sprintf("%s, and %d published servers of the same %s", p.source, len(kin), m.By)
	m.Belief = b
	return m, nil
}

func hardwareOf(s *power.Server) *Hardware {
	return &Hardware{System: s.Name(), CPU: s.CPU, Year: s.Year, Chips: s.Chips, Cores: s.Cores, Threads: s.Threads, MemoryGB: s.MemoryGB}
}

// with fills in what kin tells of h: the same system has the same chips, and the same CPU the same cores a
// chip.
func (h Hardware) with(kin *power.Server, r relation) Hardware {
	if h.Year == 0 {
		h.Year = kin.Year
	}
	if r == sameSystem && h.Chips == 0 && (h.Cores == 0 || h.Cores == kin.Cores) && (h.Threads == 0 || h.Threads == kin.Threads) {
		h.Chips = kin.Chips
	}
	if r > sameCPU || kin.Chips == 0 {
		return h
	}
	cores, threads := kin.Cores/kin.Chips, kin.Threads/kin.Chips
	switch {
	case h.Chips == 0 && h.Threads > 0 && threads > 0 && h.Threads%threads == 0:
		h.Chips = h.Threads / threads
	case h.Chips == 0 && h.Cores > 0 && cores > 0 && h.Cores%cores == 0:
		h.Chips = h.Cores / cores
	}
	if h.Chips > 0 && h.Cores == 0 {
		h.Cores = h.Chips * cores
	}
	if h.Chips > 0 && h.Threads == 0 {
		h.Threads = h.Chips * threads
	}
	return h
}
