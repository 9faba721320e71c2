package simulate

import (
	"context"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// toSecond moves everything to the second node, at every call.
type toSecond struct{}

func (toSecond) Plan(_ context.Context, _ time.Duration, running []batch.Running, _ *batch.Cluster) ([]batch.Move, error) {
	var m []batch.Move
	for k := range running {
		if running[k].Node != 1 {
			m = append(m, batch.Move{Running: k, To: 1})
		}
	}
	return m, nil
}

// TestTransfer: a job goes on where it is until the node that it is moved to has booted; both draw meanwhile, and a node whose jobs have all ended before it
// was ready goes off again.
func TestTransfer(t *testing.T) {
	for _, c := range []struct {
		name     string
		duration time.Duration
		moves    int
		joules   float64
	}{
		// The first node draws 200 W with the job, the second 50 W while it boots from 600 s to 720 s, then 100 W.
		{"moved", 1000 * time.Second, 1, 720*200 + 120*50 + 280*100},
		{"ended before", 700 * time.Second, 0, 700*200 + 120*50},
		{"ended then", 720 * time.Second, 0, 720*200 + 120*50},
	} {
		nodes := []Node{testNode(t, "a", 4, 100, 200), testNode(t, "b", 4, 50, 100)}
		nodes[1].Wake = 2 * time.Minute
		res := run(t, Config{Nodes: nodes, Strategy: strategy(t, "fcfs"), SwitchOff: true, Rebalancer: toSecond{}, RebalanceEvery: 10 * time.Minute, To: time.Hour},
			testJob("j", 0, c.duration, 4))
		near(t, c.name, float64(res.Energy), c.joules)
		if res.Moves != c.moves || res.Finished != 1 || res.SwitchOns != 2 {
			t.Errorf("%s: %d moves, %d finished, %d switch-ons", c.name, res.Moves, res.Finished, res.SwitchOns)
		}
	}
}

// TestTransferToFailing: a node that fails while it boots for a job leaves it where it is, and has its room back.
func TestTransferToFailing(t *testing.T) {
	nodes := []Node{testNode(t, "a", 4, 100, 200), testNode(t, "b", 4, 50, 100)}
	nodes[1].Wake = 2 * time.Minute
	nodes[1].Failures = []Outage{{At: 11 * time.Minute, For: 5 * time.Minute}}
	res := run(t, Config{Nodes: nodes, Strategy: strategy(t, "fcfs"), SwitchOff: true, Rebalancer: toSecond{}, RebalanceEvery: 10 * time.Minute, To: time.Hour},
		testJob("j", 0, 24*time.Minute, 4), testJob("k", 25*time.Minute, time.Minute, 4))
	// The second attempt, at 20 minutes, is carried out at 22.
	if res.Moves != 1 || res.Finished != 2 || res.Restarted != 0 {
		t.Errorf("%d moves, %d finished, %d restarted", res.Moves, res.Finished, res.Restarted)
	}
}
