package batch

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
)

// Options tune the strategies that [New] makes. The zero value is the default of each.
type Options struct {
	// Seed is for strategies that draw at random.
	Seed uint64

	// Grid is what the strategies of CarbonNames go by; they need one.
	Grid Grid
	// Carbon tunes them.
	Carbon CarbonOptions

	// Weights are leastwatt's; nil is [DefaultWeights].
	Weights *Weights
}

// Names returns the names of all strategies, baselines first. New also knows "ecsched-mostloaded", ECSched's other cost.
func Names() []string {
	return []string{"fcfs", "roundrobin", "random", "leastallocated", "mostallocated", "kubernetes", "minmin", "maxmin", "tetris",
		"energyaware", "wao", "peaks", "ecsched", "leastwatt"}
}

// New returns the strategy with a name.
func New(name string, o Options) (Strategy, error) {
	w := DefaultWeights()
	if o.Weights != nil {
		w = *o.Weights
		if err := w.Validate(); err != nil {
			return nil, err
		}
	}
	rules := map[string]rule{
		"fcfs":           firstFit{},
		"roundrobin":     &roundRobin{},
		"random":         &random{rnd: rand.New(rand.NewPCG(o.Seed, 0x72616e64))},
		"leastallocated": &ranked{plain: &leastAllocated{}, repeated: repeated{cost: shares(freeScore)}},
		"mostallocated":  &ranked{plain: &mostAllocated{}, repeated: repeated{cost: shares(reservedScore)}},
		"kubernetes":     &ranked{plain: kubernetes{}, repeated: repeated{cost: shares(kubernetesScore)}},
		"energyaware":    &ranked{plain: energyAware{}, repeated: repeated{cost: addedBy, more: true, use: true}},
		"wao":            newWAO(),
		"peaks":          newPEAKS(),
	}
	if r, ok := rules[name]; ok {
		return &greedy{name: name, rule: r}, nil
	}
	switch name {
	case "leastwatt":
		return newLeastwatt(w), nil
	case "minmin", "maxmin":
		return newCompletion(name), nil
	case "tetris":
		return newTetris(), nil
	case "ecsched", "ecsched-mostloaded":
		return newECSched(name != "ecsched"), nil
	}
	if slices.Contains(CarbonNames(), name) {
		return newCarbon(name, o)
	}
	known := append(Names(), CarbonNames()...)
	slices.Sort(known)
	return nil, fmt.Errorf("no strategy is named %q; there are %s", name, strings.Join(known, ", "))
}
