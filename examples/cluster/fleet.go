package main

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// A server is one simulated machine, as it truly is. Only the plant (which plays its sensors) and the
// final account know it; the scheduler sees sensors and published figures.
type server struct {
	name     string
	hardware power.Server
	curve    *power.Piecewise // published, of the hardware

	// No two machines of a model draw the same. deviation is the factor on the published curve;
	// perDegree is how much more it draws per °C of inlet temperature, as a share.
	deviation float64
	perDegree float64

	// inlet is the temperature of the air at its place in the room while the machine is idle.
	inlet power.Celsius
}

const (
	// deviation of one machine from the published figures of its model: at most 3 %. Variation
	// between parts of one kind is commonly a few percent.
	mostDeviation = 0.03

	// A busy server breathes some of its own exhaust: this much warmer at full load.
	recirculation power.Celsius = 2

	// referenceInlet is where a machine draws what its curve says.
	referenceInlet power.Celsius = 23

	// 0.35 to 0.5 % more power per °C of inlet temperature between 23 and 30 °C: Coroamă,
	// "Temperature Optimisation in Data Centres", arXiv:2509.26163 (2025).
	leastPerDegree, mostPerDegree = 0.0035, 0.005

	// quantum is the step of pod sizes in thousandths of a core, and so of every server's load.
	quantum = 100
)

// kinds is how many different servers a fleet is drawn from, if it has so many machines.
const kinds = 10

// newFleet draws n machines of different models. The same seed gives the same fleet.
func newFleet(n int, seed uint64) ([]server, error) {
	rng := rand.New(rand.NewPCG(seed, 1))
	// Servers that may still be found in one room: small ones would hold no pod of a cluster's size.
	models := slices.DeleteFunc(power.Servers(), func(s power.Server) bool {
		return s.Year < 2012 || s.Threads < 32 || s.Threads > 256
	})
	if len(models) < 6 {
		return nil, fmt.Errorf("the table of servers has %d that fit: want at least 6", len(models))
	}
	rng.Shuffle(len(models), func(i, j int) { models[i], models[j] = models[j], models[i] })
	models = models[:min(len(models), kinds)]
	slices.SortStableFunc(models, func(a, b power.Server) int { return cmp.Compare(a.Year, b.Year) })
	fleet := make([]server, n)
	width := len(fmt.Sprint(n))
	for i := range fleet {
		model := models[i*len(models)/max(n, len(models))]
		fleet[i] = server{
			name:      fmt.Sprintf("node-%0*d", width, i+1),
			hardware:  model,
			curve:     model.Curve(),
			deviation: 1 + mostDeviation*(2*rng.Float64()-1),
			perDegree: leastPerDegree + (mostPerDegree-leastPerDegree)*rng.Float64(),
			inlet:     21 + 5*power.Celsius(rng.Float64()),
		}
	}
	return fleet, nil
}

// cores is how many CPUs its operating system counts.
func (s *server) cores() float64 { return float64(s.hardware.Threads) }

// inletAt is the temperature of the air it breathes at a utilization.
func (s *server) inletAt(utilization float64) power.Celsius {
	return s.inlet + recirculation*power.Celsius(utilization)
}

// watts is what the machine truly draws at a utilization.
func (s *server) watts(utilization float64) power.Watts {
	warm := 1 + s.perDegree*float64(s.inletAt(utilization)-referenceInlet)
	return s.curve.At(utilization) * power.Watts(s.deviation*warm)
}

// capacity is the cores of all servers together.
func capacity(fleet []server) float64 {
	total := 0.0
	for i := range fleet {
		total += fleet[i].cores()
	}
	return total
}
