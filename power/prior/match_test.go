package prior_test

import (
	"math"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/prior"
	"github.com/leastwatt/leastwatt/power/prior/priortest"
)

// knowledge is what a cluster may know of a node's hardware.
var knowledge = []struct {
	name string
	of   func(prior.Hardware) prior.Hardware
}{
	{"CPU, threads, memory", func(h prior.Hardware) prior.Hardware {
		return prior.Hardware{CPU: h.CPU, Threads: h.Threads, MemoryGB: h.MemoryGB}
	}},
	{"system, CPU, chips, threads, memory", func(h prior.Hardware) prior.Hardware {
		return prior.Hardware{System: h.System, CPU: h.CPU, Chips: h.Chips, Threads: h.Threads, MemoryGB: h.MemoryGB}
	}},
}

type guess struct{ mape, alone, covered tallied }

type tallied struct {
	sum float64
	n   int
}

func (t *tallied) add(v float64) { t.sum += v; t.n++ }
func (t *tallied) mean() float64 { return t.sum / float64(max(t.n, 1)) }

func tableOf(servers []prior.Published) []power.Server {
	out := make([]power.Server, len(servers))
	for i, s := range servers {
		out[i] = power.Server{Model: s.System, CPU: s.CPU, Year: s.Year, Chips: s.Chips, Cores: s.Cores, Threads: s.Threads, MemoryGB: s.MemoryGB, Watts: s.Watts}
	}
	return out
}

// judge guesses one server from a table.
func judge(t *testing.T, into map[string]*guess, p *prior.Prior, table []power.Server, h prior.Hardware, watts *[prior.Points]power.Watts) {
	t.Helper()
	m, err := p.Match(h, table)
	if err != nil {
		t.Fatal(err)
	}
	alone, err := p.Belief(h)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []string{m.By, "all"} {
		if into[k] == nil {
			into[k] = &guess{}
		}
		g := into[k]
		e, a := errorsAt(&m.Belief, watts), errorsAt(&alone, watts)
		g.mape.add(mean(e[:]))
		g.alone.add(mean(a[:]))
		for k := range prior.Points {
			g.covered.add(holds(&m.Belief, k, watts[k]))
		}
	}
}

func report(t *testing.T, name string, into map[string]*guess) {
	for _, by := range []string{"system", "cpu", "series", "statistics", "all"} {
		if g := into[by]; g != nil {
			t.Logf("%-44s by %-10s %3d servers: MAPE %5.1f %%, by statistics alone %5.1f %%; 90 %% intervals hold %.1f %%",
				name, by, g.mape.n, 100*g.mape.mean(), 100*g.alone.mean(), 100*g.covered.mean())
		}
	}
}

// Each server of the embedded table is guessed from the others: kin help, on average. The prior itself has seen
// the servers; TestMatchUnseen leaves them out of that too.
func TestMatchEmbedded(t *testing.T) {
	servers := power.Servers()
	for _, k := range knowledge {
		into := make(map[string]*guess)
		for i, s := range servers {
			others := append(append([]power.Server(nil), servers[:i]...), servers[i+1:]...)
			h := k.of(prior.Hardware{System: s.Name(), CPU: s.CPU, Year: s.Year, Chips: s.Chips, Cores: s.Cores, Threads: s.Threads, MemoryGB: s.MemoryGB})
			judge(t, into, prior.Default(), others, h, &s.Watts)
		}
		report(t, k.name, into)
		if all := into["all"]; all.mape.mean() > all.alone.mean() {
			t.Errorf("%s: kin make the guess worse: %.4f and %.4f without", k.name, all.mape.mean(), all.alone.mean())
		}
	}
}

// The same with all published servers, in folds, the prior fitted without those that are guessed.
func TestMatchUnseen(t *testing.T) {
	servers := priortest.Published(t)
	const folds = 5
	for _, k := range knowledge {
		whole, embedded := make(map[string]*guess), make(map[string]*guess)
		for f := range folds {
			var train []prior.Published
			for i := range servers {
				if i%folds != f {
					train = append(train, servers[i])
				}
			}
			p, err := prior.Fit(train, prior.FitOptions{})
			if err != nil {
				t.Fatal(err)
			}
			table := tableOf(train)
			for i := range servers {
				if i%folds != f {
					continue
				}
				h := k.of(servers[i].Hardware)
				judge(t, whole, p, table, h, &servers[i].Watts)
				var others []power.Server
				for _, s := range power.Servers() {
					if s.Watts != servers[i].Watts {
						others = append(others, s)
					}
				}
				judge(t, embedded, p, others, h, &servers[i].Watts)
			}
		}
		report(t, "all published known; "+k.name, whole)
		report(t, "embedded table; "+k.name, embedded)
		if all := whole["all"]; all.mape.mean() > all.alone.mean() {
			t.Errorf("%s: kin make the guess worse: %.4f and %.4f without", k.name, all.mape.mean(), all.alone.mean())
		}
	}
}

// A match needs no more than a name, and says what it rests on; without any there is still a belief.
func TestMatchSays(t *testing.T) {
	for _, c := range []struct {
		h  prior.Hardware
		by string
	}{
		{prior.Hardware{}, "statistics"},
		{prior.Hardware{CPU: "Intel(R) Xeon(R) Platinum 8380 CPU @ 2.30GHz"}, "cpu"},
		{prior.Hardware{CPU: "Intel(R) Xeon(R) Platinum 8351N CPU @ 2.40GHz"}, "series"},
		{prior.Hardware{System: "Lenovo  thinksystem SR665", CPU: "AMD EPYC 7763 64-Core Processor"}, "system"},
		{prior.Hardware{CPU: "Neoverse-N1"}, "statistics"},
	} {
		m, err := prior.Default().Match(c.h, power.Servers())
		if err != nil {
			t.Fatal(err)
		}
		w, sd := m.At(0.5)
		if m.By != c.by || (len(m.Servers) == 0) != (c.by == "statistics") || !(w > 0) || !(sd > 0) || math.IsInf(float64(w), 0) {
			t.Errorf("%+v: by %s of %v, %v ± %.2f: want %s", c.h, m.By, m.Servers, w, sd, c.by)
		}
	}
}
