package batch

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// TestLeastwattTakesTheLeast: what the strategy chooses is the node of least cost by its formula, the fullest among equals, then the earlier
// name, whatever it has chosen before and whatever it has left out of the look.
func TestLeastwattTakesTheLeast(t *testing.T) {
	for n := range 40 {
		r := rand.New(rand.NewPCG(uint64(n), 7))
		nodes := mixed(t, r, []int{30, 300}[n/2%2])
		for i := range 10 { // some are alike
			nodes[i+10].Capacity, nodes[i+10].Allocatable, nodes[i+10].Predictor = nodes[i].Capacity, nodes[i].Allocatable, nodes[i].Predictor
		}
		nodes[r.IntN(len(nodes))].Predictor = nil
		c := fresh(t, nodes, n%2 == 0)
		l := newLeastwatt(DefaultWeights())
		now := time.Duration(0)
		type placed struct {
			job  Job
			node int
		}
		var on []placed
		for k := range 400 {
			now += time.Duration(r.IntN(60)) * time.Second
			if len(on) > 0 && r.IntN(3) == 0 {
				x := r.IntN(len(on))
				c.Release(on[x].node, &on[x].job)
				on[x] = on[len(on)-1]
				on = on[:len(on)-1]
			}
			j := job(fmt.Sprint(k), float64(1+r.IntN(24)))
			j.Demand.Lifetime = time.Duration(r.IntN(3)) * time.Hour
			j.Demand.CPU *= 0.5 + 0.5*r.Float64()
			if !c.switchOff {
				l.price.look(c, now)
			}
			q := l.question(&j, now, c)
			want, least, unknown := -1, math.Inf(1), -1
			for i := range c.nodes {
				switch {
				case !c.Fits(i, &j):
				case c.env[i] == nil:
					unknown = i
				default:
					if v := q.cost(i, c.fitCPU[i], math.Inf(1)); v < least || v == least && c.tie(i) < c.tie(want) {
						want, least = i, v
					}
				}
			}
			if want < 0 {
				want = unknown
			}
			p, err := l.Plan(t.Context(), now, []Job{j}, c)
			if err != nil {
				t.Fatal(err)
			}
			got := -1
			if len(p.Assigned) > 0 {
				got = p.Assigned[0].Node
				on = append(on, placed{j, got})
			}
			if got != want {
				t.Fatalf("case %d, job %d of %v cores: node %d, want %d", n, k, j.Requests.CPU, got, want)
			}
		}
	}
}

// TestWhatNothingFills: a job that leaves so little of a server that nothing will fill it goes where it draws the least by itself; one that leaves
// room for others goes where all of them together will.
func TestWhatNothingFills(t *testing.T) {
	// Full, the large server needs 2 W a core and the small one 2.1; with 10 cores at work they draw 22.3 and 21 W.
	nodes := []Node{node("large", 12, curve(t, 14, 24)), node("small", 10, curve(t, 14, 21))}
	for cores, want := range map[float64]string{2: "large", 10: "small"} {
		c := fresh(t, nodes, true)
		for i := range c.nodes {
			c.SetOff(i, true)
		}
		j := job("x", cores)
		j.Demand.Lifetime = time.Hour
		p, err := newLeastwatt(DefaultWeights()).Plan(t.Context(), 0, []Job{j}, c)
		if err != nil || len(p.Assigned) != 1 {
			t.Fatal(p, err)
		}
		if got := c.nodes[p.Assigned[0].Node].Name; got != want {
			t.Errorf("%v cores go to the %s server, want %s", cores, got, want)
		}
	}
}

// TestBoundTree: the tree leaves out no node where a job of so many cores may cost no more than the limit, whatever has changed, but those that have
// another before them that is alike.
func TestBoundTree(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	nodes := mixed(t, r, boundNodes+37)
	for i := range nodes { // four are alike, now and then
		from := &nodes[i/4*4]
		nodes[i].Capacity, nodes[i].Allocatable, nodes[i].Predictor = from.Capacity, from.Allocatable, from.Predictor
	}
	for _, off := range []bool{false, true} {
		c := fresh(t, nodes, off)
		type placed struct {
			node int
			job  Job
		}
		var on []placed
		var tree boundTree
		followed, alike := 0, 0
		for range 4000 {
			for range 1 + r.IntN(3) {
				switch i := r.IntN(c.Len()); {
				case r.IntN(8) == 0:
					c.SetUse(i, c.work[i]*r.Float64())
				case r.IntN(8) == 0:
					c.SetUse(i, 0)
				case r.IntN(200) == 0:
					c.SetDown(i, r.IntN(2) == 0)
				case len(on) > 0 && r.IntN(2) == 0:
					k := r.IntN(len(on))
					c.Release(on[k].node, &on[k].job)
					on[k] = on[len(on)-1]
					on = on[:len(on)-1]
				default:
					j := job("x", c.freeCPU[i]*r.Float64())
					c.Reserve(i, &j, 0)
					on = append(on, placed{i, j})
				}
			}
			if !tree.follow(c) {
				continue
			}
			followed++
			cpu, d, limit := 20*r.Float64(), 20*r.Float64(), 60*r.Float64()
			found := map[int]bool{}
			for k := tree.next(0, cpu, d, limit); k >= 0; k = tree.next(k+1, cpu, d, limit) {
				found[int(tree.node[k])] = true
			}
			for i := range c.nodes {
				may := cpu <= c.fitCPU[i] && c.floor[i]*d <= limit
				for k := range i {
					if may && c.curve[k] == c.curve[i] && c.work[k] == c.work[i] && c.use[k] == c.use[i] && c.fitCPU[k] == c.fitCPU[i] && (c.jobs[k] > 0) == (c.jobs[i] > 0) && !(off && c.jobs[i] > 0) {
						may = false
						alike++
					}
				}
				if may != found[i] {
					t.Fatalf("node %d: found %v, want %v", i, found[i], may)
				}
			}
		}
		if followed < 2000 || alike < 2000 {
			t.Errorf("the tree was followed %d times of 4000, and left out %d nodes that were like another", followed, alike)
		}
	}
}
