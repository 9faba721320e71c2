package power_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/leastwatt/leastwatt/power"
)

// counted is a batch predictor that counts its calls. It is not comparable.
type counted struct {
	power.Predictor
	calls *int
	_     []int
}

func (c counted) PredictBatch(ctx context.Context, states []power.State, out []power.Estimate) {
	*c.calls++
	power.PredictAll(ctx, c.Predictor, states, out)
}

func TestByNodeAsksASharedModelOnce(t *testing.T) {
	calls := 0
	shared := &counted{Predictor: power.Linear{Idle: 10, Peak: 20}, calls: &calls}
	curve, err := power.EvenPiecewise(1, 2)
	if err != nil {
		t.Fatal(err)
	}
	uncomparable := 0
	p := power.NewByNode(map[string]power.Predictor{
		"a": shared, "b": curve, "c": shared, "d": nil,
		"e": counted{Predictor: power.Linear{Idle: 7, Peak: 7}, calls: &uncomparable},
	}, nil)
	states := []power.State{{Node: "a"}, {Node: "b"}, {Node: "c", Utilization: 1}, {Node: "d"}, {Node: "x"}, {Node: "e"}}
	out := make([]power.Estimate, len(states))
	power.PredictAll(t.Context(), p, states, out)
	for i, want := range []power.Watts{10, 1, 20, -1, -1, 7} {
		if want < 0 {
			if !errors.Is(out[i].Err, power.ErrNoModel) {
				t.Errorf("%s: error %v, want ErrNoModel", states[i].Node, out[i].Err)
			}
			continue
		}
		if out[i].Err != nil || out[i].Watts != want {
			t.Errorf("%s: %v, %v; want %v", states[i].Node, out[i].Watts, out[i].Err, want)
		}
	}
	if calls != 1 {
		t.Errorf("the shared model was asked %d times, want 1", calls)
	}
}

// However batches follow one another, in order, out of it, with strangers and NaN, each state has the answer
// that it has alone.
func TestByNodeRemembersNoWrongModel(t *testing.T) {
	models := map[string]power.Predictor{}
	var states []power.State
	for i := range 200 {
		name := fmt.Sprintf("n%d", i)
		if i%3 > 0 {
			models[name] = must(power.EvenPiecewise(power.Watts(i), power.Watts(2*i+1)))
		} else if i%2 > 0 {
			models[name] = power.Linear{Idle: power.Watts(i), Peak: power.Watts(3 * i)}
		}
		states = append(states, power.State{Node: name, Utilization: float64(i) / 200})
	}
	p := power.NewByNode(models, nil)
	out := make([]power.Estimate, len(states))
	rng := rand.New(rand.NewPCG(1, 2))
	for round := range 40 {
		switch round % 4 {
		case 1:
			rng.Shuffle(len(states), func(i, j int) { states[i], states[j] = states[j], states[i] })
		case 2:
			states[rng.IntN(len(states))].Utilization = math.NaN()
		case 3:
			states[rng.IntN(len(states))].Node = "stranger"
		}
		n := len(states) - round%2
		power.PredictAll(t.Context(), p, states[:n], out[:n])
		for i, s := range states[:n] {
			w, err := p.Predict(t.Context(), s)
			if out[i].Watts != w || fmt.Sprint(out[i].Err) != fmt.Sprint(err) {
				t.Fatalf("round %d, %+v: %v, %v in a batch; %v, %v alone", round, s, out[i].Watts, out[i].Err, w, err)
			}
		}
	}
}

func ExampleByNode() {
	old, err := power.FindServer("Dell PowerEdge R610")
	if err != nil {
		panic(err)
	}
	recent, err := power.FindServer("Dell PowerEdge R6515")
	if err != nil {
		panic(err)
	}
	p := power.NewByNode(map[string]power.Predictor{"rack1-a": old.Curve(), "rack1-b": recent.Curve()}, nil)
	states := []power.State{{Node: "rack1-a", Utilization: 0.5}, {Node: "rack1-b", Utilization: 0.5}}
	out := make([]power.Estimate, len(states))
	power.PredictAll(context.Background(), p, states, out)
	fmt.Println(out[0].Watts, out[1].Watts)
	// Output: 145.00 W 169.00 W
}
