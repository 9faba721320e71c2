package flow

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// bruteForce tries every integral flow of a tiny network.
func bruteForce(p *Problem) (best int64, feasible bool) {
	best = math.MaxInt64
	balance := append([]int64(nil), p.supply...)
	var try func(a int, cost int64)
	try = func(a int, cost int64) {
		if a == len(p.arcs) {
			for _, b := range balance {
				if b != 0 {
					return
				}
			}
			feasible = true
			best = min(best, cost)
			return
		}
		e := p.arcs[a]
		for f := int64(0); f <= e.capacity; f++ {
			balance[e.from] -= f
			balance[e.to] += f
			try(a+1, cost+f*e.cost)
			balance[e.from] += f
			balance[e.to] -= f
		}
	}
	try(0, 0)
	return best, feasible
}

// checkOptimal proves a solution by its own conditions: conservation, bounds and complementary slackness.
func checkOptimal(t *testing.T, p *Problem, cost int64) {
	t.Helper()
	balance := append([]int64(nil), p.supply...)
	var sum int64
	for i, a := range p.arcs {
		if a.flow < 0 || a.flow > a.capacity {
			t.Fatalf("arc %d carries %d of %d", i, a.flow, a.capacity)
		}
		balance[a.from] -= a.flow
		balance[a.to] += a.flow
		sum += a.flow * a.cost
		reduced := a.cost + p.Price(int(a.from)) - p.Price(int(a.to))
		if reduced < 0 && a.flow < a.capacity || reduced > 0 && a.flow > 0 {
			t.Fatalf("arc %d (%+v) has reduced cost %d", i, a, reduced)
		}
	}
	for v, b := range balance {
		if b != 0 {
			t.Fatalf("node %d is off balance by %d", v, b)
		}
	}
	if sum != cost {
		t.Fatalf("cost %d, flows cost %d", cost, sum)
	}
}

func tiny(r *rand.Rand) *Problem {
	p := new(Problem)
	n := 1 + r.IntN(5)
	for range n {
		p.AddNode(0)
	}
	for range r.IntN(7) {
		if _, err := p.AddArc(r.IntN(n), r.IntN(n), int64(r.IntN(3)), int64(r.IntN(11)-4)); err != nil {
			panic(err)
		}
	}
	shift(r, p)
	return p
}

func shift(r *rand.Rand, p *Problem) {
	for range r.IntN(3) {
		v, u := r.IntN(len(p.supply)), r.IntN(len(p.supply))
		p.SetSupply(v, p.supply[v]+1)
		p.SetSupply(u, p.supply[u]-1)
	}
}

// TestSolveAgainstBruteForce solves tiny networks cold, changes them and solves them warm.
func TestSolveAgainstBruteForce(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 1))
	solved := 0
	for n := range 6000 {
		p := tiny(r)
		for step := range 4 {
			best, feasible := bruteForce(p)
			cost, err := p.Solve()
			switch {
			case feasible && err != nil:
				t.Fatalf("case %d.%d: %v", n, step, err)
			case !feasible && !errors.Is(err, ErrInfeasible):
				t.Fatalf("case %d.%d: cost %d, error %v, want ErrInfeasible", n, step, cost, err)
			case feasible:
				solved++
				if cost != best {
					t.Fatalf("case %d.%d: cost %d, want %d: %+v %v", n, step, cost, best, p.arcs, p.supply)
				}
				checkOptimal(t, p, cost)
			}
			switch {
			case r.IntN(2) == 0 && len(p.arcs) > 0:
				p.SetCost(r.IntN(len(p.arcs)), int64(r.IntN(11)-4))
			case r.IntN(2) == 0 && len(p.arcs) > 0:
				p.SetCapacity(r.IntN(len(p.arcs)), int64(r.IntN(3)))
			default:
				shift(r, p)
			}
		}
	}
	if solved < 1000 {
		t.Errorf("only %d cases were feasible", solved)
	}
}

// schedule builds jobs -> machines -> sink with convex machine costs and a way out for each job.
func schedule(r *rand.Rand, jobs, machines, arcs int) *Problem {
	p := new(Problem)
	for range jobs {
		p.AddNode(1)
	}
	for range machines {
		p.AddNode(0)
	}
	sink := p.AddNode(int64(-jobs))
	for j := range jobs {
		for range arcs {
			must(p.AddArc(j, jobs+r.IntN(machines), 1, int64(r.IntN(1_000_000))))
		}
		must(p.AddArc(j, sink, 1, 1_000_000_000))
	}
	for m := range machines {
		costs := make([]int64, 4)
		c := int64(r.IntN(1_000_000))
		for k := range costs {
			costs[k] = c
			c += int64(r.IntN(200_000))
		}
		if _, _, err := p.AddConvex(jobs+m, sink, costs); err != nil {
			panic(err)
		}
	}
	return p
}

func must(a int, err error) {
	if err != nil {
		panic(err)
	}
}

// TestSolveWarm states that a warm solution is as good as a cold one, and takes fewer pivots.
func TestSolveWarm(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 2))
	for range 20 {
		p := schedule(r, 60, 40, 6)
		cost, err := p.Solve()
		if err != nil {
			t.Fatal(err)
		}
		checkOptimal(t, p, cost)
		cold := p.Pivots()
		for range 5 {
			a := r.IntN(p.Arcs())
			p.SetCost(a, max(0, p.arcs[a].cost-int64(r.IntN(1000))))
		}
		// A job leaves and its supply with it.
		p.SetSupply(3, 0)
		p.SetSupply(100, p.supply[100]+1)
		warm, err := p.Solve()
		if errors.Is(err, ErrInfeasible) {
			t.Fatal(err)
		}
		checkWarm := p.Pivots()
		p.Reset()
		again, err := p.Solve()
		if err != nil || again != warm {
			t.Fatalf("cold %d, warm %d, error %v", again, warm, err)
		}
		if checkWarm >= cold {
			t.Errorf("%d pivots warm, %d cold", checkWarm, cold)
		}
	}
}

func TestSolveErrors(t *testing.T) {
	build := func(f func(p *Problem)) error {
		p := new(Problem)
		f(p)
		_, err := p.Solve()
		return err
	}
	line := func(p *Problem, supply, capacity, cost int64) {
		p.AddNode(supply)
		p.AddNode(-supply)
		must(p.AddArc(0, 1, capacity, cost))
	}
	cases := []struct {
		name string
		err  error
		f    func(p *Problem)
	}{
		{"empty", nil, func(*Problem) {}},
		{"unbalanced", ErrUnbalanced, func(p *Problem) { p.AddNode(3) }},
		{"no arc", ErrInfeasible, func(p *Problem) { p.AddNode(1); p.AddNode(-1) }},
		{"too narrow", ErrInfeasible, func(p *Problem) { line(p, 5, 4, 1) }},
		{"negative cycle without limit", ErrUnbounded, func(p *Problem) {
			line(p, 1, Infinite, -1)
			must(p.AddArc(1, 0, Infinite, 0))
		}},
		{"negative loop without limit", ErrUnbounded, func(p *Problem) { p.AddNode(0); must(p.AddArc(0, 0, Infinite, -1)) }},
		{"negative cycle with a limit", nil, func(p *Problem) {
			line(p, 1, Infinite, -3)
			must(p.AddArc(1, 0, 7, 1))
		}},
		{"cycle of zero cost", nil, func(p *Problem) {
			line(p, 1, Infinite, 0)
			must(p.AddArc(1, 0, Infinite, 0))
		}},
		{"cost overflow", ErrOverflow, func(p *Problem) { line(p, 1, 1, math.MaxInt64/2) }},
		{"least cost", ErrOverflow, func(p *Problem) { line(p, 1, 1, math.MinInt64) }},
		{"supply overflow", ErrOverflow, func(p *Problem) { line(p, math.MaxInt64/2, Infinite, 0) }},
		{"capacity overflow", ErrOverflow, func(p *Problem) { line(p, 1, math.MaxInt64/2, 0) }},
		{"total overflow", ErrOverflow, func(p *Problem) { line(p, 1<<60, Infinite, 1<<50) }},
	}
	for _, c := range cases {
		if err := build(c.f); !errors.Is(err, c.err) {
			t.Errorf("%s: error %v, want %v", c.name, err, c.err)
		}
	}
	p := new(Problem)
	if _, err := p.AddArc(0, 1, 1, 1); err == nil {
		t.Error("an arc between no nodes passes")
	}
	p.AddNode(0)
	if _, err := p.AddArc(0, 0, -1, 1); err == nil {
		t.Error("a negative capacity passes")
	}
	if _, _, err := p.AddConvex(0, 0, []int64{3, 2}); err == nil || p.Arcs() != 0 {
		t.Error("falling costs pass as convex")
	}
	// Without a solution there is no price.
	q := new(Problem)
	line(q, 1, 1, 5)
	if q.Price(0) != 0 || q.Price(1) != 0 {
		t.Error("a price before the first solution")
	}
	if _, err := q.Solve(); err != nil || q.Price(1)-q.Price(0) != 5 {
		t.Errorf("prices %d and %d, %v", q.Price(0), q.Price(1), err)
	}
	q.AddNode(0)
	if v := q.AddNode(0); q.Price(v) != 0 {
		t.Error("a price of a node that no solution has")
	}
}

// TestSolveAgainstSolvers compares with GLPK and CBC.
func TestSolveAgainstSolvers(t *testing.T) {
	solvers := []struct {
		name   string
		args   func(lp, out string) []string
		result *regexp.Regexp
	}{
		{"glpsol", func(lp, out string) []string { return []string{"--lp", lp, "-o", out} }, regexp.MustCompile(`Objective:\s+\w+ = (-?[0-9.e+]+)`)},
		{"cbc", func(lp, out string) []string { return []string{lp, "solve", "solu", out} }, regexp.MustCompile(`objective value\s+(-?[0-9.e+]+)`)},
	}
	for _, s := range solvers {
		t.Run(s.name, func(t *testing.T) {
			bin, err := exec.LookPath(s.name)
			if err != nil {
				t.Skipf("%s is not installed (Debian: apt-get install glpk-utils coinor-cbc)", s.name)
			}
			r := rand.New(rand.NewPCG(9, 9))
			for n := range 5 {
				p := schedule(r, 40+20*n, 30, 5)
				cost, err := p.Solve()
				if err != nil {
					t.Fatal(err)
				}
				dir := t.TempDir()
				lp, out := filepath.Join(dir, "p.lp"), filepath.Join(dir, "p.out")
				if err := os.WriteFile(lp, []byte(asLP(p)), 0o600); err != nil {
					t.Fatal(err)
				}
				if msg, err := exec.CommandContext(t.Context(), bin, s.args(lp, out)...).CombinedOutput(); err != nil {
					t.Fatalf("%v: %s", err, msg)
				}
				text, err := os.ReadFile(out)
				if err != nil {
					t.Fatal(err)
				}
				m := s.result.FindSubmatch(text)
				if m == nil {
					t.Fatalf("no objective in %.200s", text)
				}
				want, err := strconv.ParseFloat(string(m[1]), 64)
				if err != nil || math.Abs(want-float64(cost)) > 1e-6*math.Abs(want) {
					t.Errorf("case %d: cost %d, %s says %s", n, cost, s.name, m[1])
				}
			}
		})
	}
}

// asLP writes the problem in CPLEX LP format.
func asLP(p *Problem) string {
	var obj, bounds strings.Builder
	rows := make([]strings.Builder, len(p.supply))
	for i, a := range p.arcs {
		fmt.Fprintf(&obj, " %+d x%d\n", a.cost, i)
		fmt.Fprintf(&bounds, " 0 <= x%d <= %d\n", i, a.capacity)
		fmt.Fprintf(&rows[a.from], " + x%d\n", i)
		fmt.Fprintf(&rows[a.to], " - x%d\n", i)
	}
	var b strings.Builder
	b.WriteString("Minimize\n cost:\n" + obj.String() + "Subject To\n")
	for v := range rows {
		if rows[v].Len() > 0 {
			fmt.Fprintf(&b, " n%d:%s = %d\n", v, rows[v].String(), p.supply[v])
		}
	}
	b.WriteString("Bounds\n" + bounds.String() + "End\n")
	return b.String()
}

func FuzzSolve(f *testing.F) {
	f.Add([]byte{3, 1, 0, 255, 0, 1, 2, 3, 1, 2, 2, 4})
	f.Add([]byte{2, 9, 247, 0, 1, 255, 200, 1, 0, 255, 1})
	f.Fuzz(func(t *testing.T, raw []byte) {
		if len(raw) == 0 || len(raw) > 200 {
			return
		}
		n := int(raw[0]%8) + 1
		raw = raw[1:]
		p := new(Problem)
		for v := range n {
			s := int64(0)
			if v < len(raw) {
				s = int64(int8(raw[v]))
			}
			p.AddNode(s)
		}
		for raw = raw[min(n, len(raw)):]; len(raw) >= 4; raw = raw[4:] {
			capacity := int64(raw[2])
			if capacity == 255 {
				capacity = Infinite
			}
			must(p.AddArc(int(raw[0])%n, int(raw[1])%n, capacity, int64(int8(raw[3]))))
		}
		for range 2 {
			cost, err := p.Solve()
			switch {
			case err == nil:
				checkOptimal(t, p, cost)
			case !errors.Is(err, ErrUnbalanced) && !errors.Is(err, ErrInfeasible) && !errors.Is(err, ErrUnbounded) && !errors.Is(err, ErrOverflow):
				t.Fatal(err) // the limit on pivots above all
			}
			// Work, not time: no input of this size comes near the limit.
			if most := 20 * (p.Nodes() + p.Arcs() + 10); p.Pivots() > most {
				t.Fatalf("%d pivots for %d nodes and %d arcs: want at most %d", p.Pivots(), p.Nodes(), p.Arcs(), most)
			}
			if p.Arcs() > 0 {
				p.SetCapacity(0, 3)
				p.SetCost(p.Arcs()-1, -2)
			}
		}
	})
}

func BenchmarkSolve(b *testing.B) {
	for _, size := range []struct{ jobs, machines, arcs int }{{1000, 5000, 20}, {1000, 12500, 20}, {5000, 5000, 20}} {
		name := fmt.Sprintf("%dx%dx%d", size.jobs, size.machines, size.arcs)
		b.Run(name+"/cold", func(b *testing.B) {
			p := schedule(rand.New(rand.NewPCG(1, 1)), size.jobs, size.machines, size.arcs)
			for b.Loop() {
				p.Reset()
				if _, err := p.Solve(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(p.Pivots()), "pivots")
		})
		b.Run(name+"/warm", func(b *testing.B) {
			r := rand.New(rand.NewPCG(1, 1))
			p := schedule(r, size.jobs, size.machines, size.arcs)
			if _, err := p.Solve(); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				for range p.Arcs() / 100 { // one arc in a hundred changes
					p.SetCost(r.IntN(size.jobs*(size.arcs+1)), int64(r.IntN(1_000_000)))
				}
				if _, err := p.Solve(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(p.Pivots()), "pivots")
		})
	}
}
