package batch

import (
	"context"
	"math"
	"testing"

	"github.com/leastwatt/leastwatt/scoring"
)

// oracle is a scorer that says what it was told to say.
type oracle []float64

func (o oracle) Score(_ context.Context, _ scoring.Demand, nodes []scoring.Node) ([]scoring.Cost, error) {
	costs := make([]scoring.Cost, len(nodes))
	for i, n := range nodes {
		costs[i] = scoring.Cost{Node: n.Name, Value: o[i], Unit: scoring.Watts}
	}
	return costs, nil
}

// TestCostsThatAreNoNumbers: whatever a scorer answers, a cost that is a number wins, and the job is placed even where none is.
func TestCostsThatAreNoNumbers(t *testing.T) {
	nan, inf := math.NaN(), math.Inf(1)
	p := curve(t, 10, 20)
	for _, c := range []struct {
		costs oracle
		want  int
	}{{oracle{nan, 7, inf}, 1}, {oracle{-inf, inf, 9}, 2}, {oracle{nan, nan, nan}, 0}, {oracle{inf, -inf, nan}, 0}} {
		cl, err := NewCluster(t.Context(), []Node{node("a", 8, p), node("b", 8, p), node("c", 8, p)}, ClusterOptions{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := FromScorer("oracle", c.costs).Plan(t.Context(), 0, []Job{job("1", 1)}, cl)
		if err != nil || len(got.Assigned) != 1 || got.Assigned[0].Node != c.want {
			t.Errorf("costs %v: %+v, %v; want node %d", c.costs, got, err, c.want)
		}
	}
}
