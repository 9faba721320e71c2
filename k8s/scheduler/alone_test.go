package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	v1 "k8s.io/api/core/v1"

	"github.com/leastwatt/leastwatt/scoring"
)

// onlyTogether hides that a scorer can do more than score all candidates at once.
type onlyTogether struct{ scoring.Scorer }

// With an objective each server is judged by itself only where that makes no difference: over random cycles of pods of many sizes, of all candidates or a few, while servers
// fill up and die and tariffs change, come and go, every score is the one that it has when all candidates are priced together.
func TestObjectiveAloneIsAsTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := rand.New(rand.NewPCG(5, 8))
		s := newSite(curves(t, 60)...)
		var places []*scoring.Meter
		for i := range 5 {
			places = append(places, meter(fmt.Sprint("z", i), scoring.Tariff{Intensity: float64(100 * i), Price: 0.1 * float64(i-1), PUE: 1.2}))
		}
		for i := range s.specs {
			s.specs[i].Meter = places[r.IntN(len(places))]
		}
		objective := scoring.Objective{Power: scoring.EnvelopePower{}, Unit: scoring.MoneyPerHour, CarbonPrice: 80}
		s.scorer = objective
		one := s.start(t, "")
		s.scorer = onlyTogether{objective}
		all := s.start(t, "")
		infos := s.infos()
		sizes := []string{"100m", "1", "2500m", "7", "30", "100"}
		alone, mixed := 0, 0
		for round := range 400 {
			switch {
			case r.IntN(20) == 0: // a tariff changes, or is away for a while
				t := scoring.Tariff{Intensity: 800 * r.Float64(), Price: r.Float64() - 0.2, PUE: 1 + r.Float64()}
				if r.IntN(3) == 0 {
					t = [...]scoring.Tariff{{Err: errors.New("away")}, {PriceErr: errors.New("away")}}[r.IntN(2)]
				}
				places[r.IntN(len(places))].Set(t)
				time.Sleep(lasting) // prices hold so long
			case r.IntN(30) == 0:
				for _, m := range places {
					m.Set(scoring.Tariff{Intensity: 300, Price: r.Float64()})
				}
				time.Sleep(lasting)
			case r.IntN(10) == 0:
				load := make([]float64, len(s.specs))
				for i := range load {
					if load[i] = r.Float64(); r.IntN(6) == 0 {
						load[i] = math.NaN()
					}
				}
				s.refresh(t, s.now, load...)
			}
			if round == 0 {
				s.refresh(t, s.now, 0.3, 0.6)
			}
			nodes := slices.Clone(infos)
			r.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
			if r.IntN(2) == 0 {
				nodes = nodes[:1+r.IntN(20)]
			}
			p := pod(fmt.Sprint("p", round), sizes[r.IntN(len(sizes))])
			got, scores := cycle(t, one, p, nodes)
			want, others := cycle(t, all, p, nodes)
			if one.separate() {
				alone++
			} else {
				mixed++
			}
			if got == nil || want == nil { // where none is known, one of them may say so and the other step aside
				for name, x := range got {
					if x != rawUnknown && x != rawOver {
						t.Fatalf("round %d: %s has the raw score %d, and together nothing is known", round, name, x)
					}
				}
				for name, x := range want {
					if x != rawUnknown && x != rawOver {
						t.Fatalf("round %d: %s has the raw score %d together, and alone nothing is known", round, name, x)
					}
				}
			} else if !maps.Equal(got, want) || !maps.Equal(scores, others) {
				t.Fatalf("round %d, alone %t: raw scores %v, want %v; scores %v, want %v", round, one.separate(), got, want, scores, others)
			}
			placed := nodes[r.IntN(len(nodes))].(*fakeNode)
			placed.add(p)
		}
		if alone < 50 || mixed < 50 {
			t.Errorf("%d cycles of servers by themselves and %d of all together: want many of both", alone, mixed)
		}
	})
}

// A counted is a scorer of watts that counts of how many servers it is asked.
type counted struct {
	scoring.EnvelopePower
	asked *int
}

func (c counted) AppendScore(ctx context.Context, costs []scoring.Cost, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	*c.asked += len(nodes)
	return c.EnvelopePower.AppendScore(ctx, costs, d, nodes)
}

// While all tariffs are known, the next pod of a size has those servers priced that have changed, as with watts; a server that nobody has a model
// for is in nobody's way. Otherwise all candidates are priced for each pod.
func TestObjectivePricesWhatChanged(t *testing.T) {
	for name, x := range map[string]struct {
		change func(s *fleetSite)
		most   int
	}{
		"all known":             {func(*fleetSite) {}, 1},
		"no model and no place": {func(s *fleetSite) { s.specs[7].Predictor, s.specs[7].Meter = nil, nil }, 1},
		"a tariff is away":      {func(s *fleetSite) { s.specs[7].Meter = meter("dark", scoring.Tariff{Err: errors.New("away")}) }, 40},
		"a place is not known":  {func(s *fleetSite) { s.specs[0].Meter = nil }, 40},
		"too many places": {func(s *fleetSite) {
			for i := range s.specs {
				s.specs[i].Meter = meter(fmt.Sprint(i), scoring.Tariff{Intensity: 300})
			}
		}, 40 + 2*mostMeters},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := 40
				if name == "too many places" {
					n += 2 * mostMeters
				}
				s := newSite(curves(t, n)...)
				z := meter("z", scoring.Tariff{Intensity: 300})
				for i := range s.specs {
					s.specs[i].Meter = z
				}
				x.change(s)
				asked := 0
				s.scorer = scoring.Objective{Power: counted{asked: &asked}, Unit: scoring.GramsPerHour}
				p := s.start(t, "")
				s.refresh(t, s.now, 0.3)
				infos := s.infos()
				next := func(name string) *v1.Pod {
					asked = 0
					pd := pod(name, "1")
					cycle(t, p, pd, infos)
					return pd
				}
				pd := next("first")
				if asked < n-1 {
					t.Errorf("the first pod has %d of %d servers priced", asked, n)
				}
				infos[3].(*fakeNode).add(pd)
				if next("second"); asked > x.most || x.most == n && asked < n {
					t.Errorf("the second pod has %d servers priced, want %d", asked, x.most)
				}
				moved := s.specs[11]
				moved.Meter = meter("elsewhere", scoring.Tariff{Err: errors.New("away")})
				s.fleet.Put(moved)
				s.refresh(t, s.now, 0.3)
				if p.separate() {
					t.Error("a server has moved to a place whose tariff is away, and the next pod has servers priced by themselves")
				}
			})
		})
	}
}

// A losing is a scorer of watts beside which a tariff is lost.
type losing struct {
	scoring.EnvelopePower
	lose func()
}

func (l losing) AppendScore(ctx context.Context, costs []scoring.Cost, d scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	l.lose()
	return l.EnvelopePower.AppendScore(ctx, costs, d, nodes)
}

// A tariff that is lost while servers are priced makes those of its place unknown, and no others: their costs are in one unit.
func TestObjectiveLosesATariffMidway(t *testing.T) {
	s := newSite(curves(t, 3*piece)...)
	lost, kept := meter("a", scoring.Tariff{Intensity: 100}), meter("b", scoring.Tariff{Intensity: 300})
	for i := range s.specs {
		if s.specs[i].Meter = kept; i < piece {
			s.specs[i].Meter = lost
		}
	}
	s.scorer = scoring.Objective{Power: losing{lose: func() { lost.Set(scoring.Tariff{Err: errors.New("away")}) }}, Unit: scoring.GramsPerHour}
	p := s.start(t, "")
	s.refresh(t, s.now, 0.3)
	raw, _ := cycle(t, p, pod("p", "1"), s.infos())
	for i, sp := range s.specs {
		if unknown := raw[sp.Name] == rawUnknown; unknown != (i < piece) {
			t.Fatalf("server %d of %d has the raw score %d: want that of the first %d to be unknown", i, len(s.specs), raw[sp.Name], piece)
		}
	}
}
