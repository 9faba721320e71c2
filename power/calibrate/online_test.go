package calibrate_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/calibrate"
	"github.com/leastwatt/leastwatt/power/prior"
	"github.com/leastwatt/leastwatt/power/prior/priortest"
)

// A stream of readings with 2 % noise, at loads as PlanetLab's machines have them, teaches the curve of a server
// whose CPU the prior has never seen: within 60 readings to 3 % and within 600 to 1.5 %, at every point of the
// curve that was visited, on average over the servers.
func TestStream(t *testing.T) {
	servers, loads := priortest.HeldOut(t), priortest.PlanetLab(t)
	for _, known := range []string{"year", "data sheet"} {
		rng := rand.New(rand.NewPCG(11, 13))
		for _, n := range []int{5, 20, 60, 600} {
			var at, all [prior.Points]tally
			var covered, priorErr, noise tally
			drifts := 0
			for i := range servers {
				s := &servers[i]
				h := prior.Hardware{Year: s.Year}
				if known == "data sheet" {
					h = s.Hardware
					h.System = ""
				}
				o := calibrate.NewOnline(s.Belief(t, h), calibrate.OnlineOptions{})
				truth := s.Curve(t)
				var visited [prior.Points]bool
				load := stream(loads, rng)
				for range n {
					u := load()
					visited[int(u*10+0.5)] = true
					if _, err := o.Observe(power.State{Utilization: u}, noisy(truth.At(u), rng)); err != nil {
						t.Fatal(err)
					}
				}
				m, err := o.Model()
				if err != nil {
					t.Fatal(err)
				}
				drifts += o.Drifts()
				noise.add(o.Noise())
				for k := range prior.Points {
					e := math.Abs(float64(m.Curve().At(float64(k)/10)/s.Watts[k]) - 1)
					all[k].add(e)
					if visited[k] {
						at[k].add(e)
					}
				}
				// Readings to come, at loads to come.
				for range 20 {
					u := load()
					w := noisy(truth.At(u), rng)
					in, err := m.PredictInterval(t.Context(), power.State{Utilization: u}, 0.9)
					if err != nil {
						t.Fatal(err)
					}
					covered.add(truth01(in.Low <= w && w <= in.High))
				}
				_ = priorErr
			}
			worst, sum, rest := 0.0, tally{}, tally{}
			for k := range at {
				if at[k].n > 0 {
					worst = max(worst, at[k].mean())
				}
				sum.sum, sum.n = sum.sum+at[k].sum, sum.n+at[k].n
				rest.sum, rest.n = rest.sum+all[k].sum, rest.n+all[k].n
			}
			t.Logf("%-10s known, %3d readings: MAPE at visited points %.2f %% (worst point %.2f %%), at all points %.2f %%; 90 %% intervals hold %.1f %% of readings to come; %d drifts in %d servers; noise %.2f %%",
				known, n, 100*sum.mean(), 100*worst, 100*rest.mean(), 100*covered.mean(), drifts, len(servers), 100*noise.mean())
			switch n {
			case 60:
				atMost(t, "worst visited point", worst, 0.03)
			case 600:
				atMost(t, "worst visited point", worst, 0.015)
			}
			if n >= 60 && !(covered.mean() >= 0.88 && covered.mean() <= 0.92) {
				t.Errorf("after %d readings 90 %% intervals hold %.3f", n, covered.mean())
			}
			if drifts > len(servers)/50 {
				t.Errorf("%d drifts on servers that do not change", drifts)
			}
		}
	}
}

type tally struct {
	sum float64
	n   int
}

func (c *tally) add(v float64) { c.sum += v; c.n++ }
func (c *tally) mean() float64 { return c.sum / float64(max(c.n, 1)) }
func truth01(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

func atMost(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(got <= want) {
		t.Errorf("%s: %.4f, want at most %.4f", what, got, want)
	}
}

func noisy(w power.Watts, rng *rand.Rand) power.Watts {
	return w * power.Watts(1+0.02*rng.NormFloat64())
}

// stream follows one machine after another, each from some time of its day.
func stream(loads [][]float64, rng *rand.Rand) func() float64 {
	row, at := loads[rng.IntN(len(loads))], rng.IntN(288)
	return func() float64 {
		if at >= len(row) {
			row, at = loads[rng.IntN(len(loads))], 0
		}
		at++
		return row[at-1]
	}
}

func BenchmarkOnline(b *testing.B) {
	belief, err := prior.Default().Belief(prior.Hardware{Year: 2020, Threads: 128})
	if err != nil {
		b.Fatal(err)
	}
	o := calibrate.NewOnline(belief, calibrate.OnlineOptions{})
	s := power.State{Node: "n", InletTemp: new(power.Celsius(24))}
	rng := rand.New(rand.NewPCG(1, 2))
	b.ReportAllocs()
	for b.Loop() {
		s.Utilization += 0.0937
		if s.Utilization > 1 {
			s.Utilization--
		}
		if _, err := o.Observe(s, power.Watts(200+200*s.Utilization+rng.Float64())); err != nil {
			b.Fatal(err)
		}
	}
}
