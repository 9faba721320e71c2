package simulate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"sort"
	"time"
)

// A Generator makes a random workload: arrivals at a rate that may swing by the hour and come in bursts, and jobs drawn from Shapes,
// so that size, lifetime and use keep belonging together. The same seed gives the same workload.
type Generator struct {
	// Shapes are the jobs to draw from, for example all jobs of a trace; of their arrivals only how long before the deadline they are counts. Required.
	Shapes []Job

	// Rate is the mean number of arrivals a second. If it is 0, Load and Cores give it: the mean share of so many cores that
	// jobs reserve.
	Rate  float64
	Load  float64
	Cores float64

	// Until is when arrivals stop. Required.
	Until time.Duration

	// Daily is the amplitude of a sine with the period of a day, 0 to 1, at its peak Peak after the start.
	Daily float64
	Peak  time.Duration

	// Burst is the mean number of jobs that arrive at one instant; 0 and 1 are none, a Poisson process.
	Burst float64

	// Stationary starts with the jobs that a system would have that has run like this for ever, in the middle of
	// their lives. Their arrival is 0.
	Stationary bool

	// Longest cuts lifetimes; 0 is not at all.
	Longest time.Duration

	Seed uint64
}

// shapes returns the shapes with lifetimes cut.
func (g *Generator) shapes() []Job {
	out := make([]Job, 0, len(g.Shapes))
	for _, j := range g.Shapes {
		if g.Longest > 0 {
			j.Duration = min(j.Duration, g.Longest)
		}
		out = append(out, j)
	}
	return out
}

// MeanRate returns the mean number of arrivals a second.
func (g *Generator) MeanRate() (float64, error) {
	switch {
	case len(g.Shapes) == 0:
		return 0, errors.New("generator: no shapes to draw from")
	case g.Until <= 0:
		return 0, fmt.Errorf("generator: arrivals until %v", g.Until)
	case !(g.Daily >= 0 && g.Daily <= 1):
		return 0, fmt.Errorf("generator: daily amplitude %v is not within 0 and 1", g.Daily)
	case !(g.Burst >= 0 && g.Burst < 1e9):
		return 0, fmt.Errorf("generator: bursts of %v jobs", g.Burst)
	}
	if g.Rate > 0 && finite(g.Rate) {
		return g.Rate, nil
	}
	if !(g.Load > 0 && finite(g.Load)) || !(g.Cores > 0 && finite(g.Cores)) {
		return 0, fmt.Errorf("generator: rate %v, load %v of %v cores: want a rate, or both of the others", g.Rate, g.Load, g.Cores)
	}
	var work float64
	for _, j := range g.shapes() {
		work += j.Requests.CPU * j.Duration.Seconds()
	}
	if work /= float64(len(g.Shapes)); work > 0 {
		return g.Load * g.Cores / work, nil
	}
	return 0, errors.New("generator: the shapes do no work, so a load gives no rate")
}

// Workload returns the jobs, in order.
func (g *Generator) Workload() Workload {
	return func(yield func(Job, error) bool) {
		rate, err := g.MeanRate()
		if err != nil {
			yield(Job{}, err)
			return
		}
		r := rand.New(rand.NewPCG(g.Seed, 0x6a6f6273))
		shapes := g.shapes()
		n := 0
		emit := func(j Job, at time.Duration) bool {
			n++
			j.Name = fmt.Sprintf("job-%07d", n)
			if j.Deadline > 0 { // as long after its arrival as the shape's
				j.Deadline = at + max(j.Deadline-j.Arrival, 1)
			}
			j.Arrival = at
			return yield(j, nil)
		}
		if g.Stationary && !g.begin(r, rate, shapes, emit) {
			return
		}
		burst := max(1, g.Burst)
		peak := rate / burst * (1 + g.Daily)
		for t := 0.0; ; {
			t += r.ExpFloat64() / peak
			if t >= g.Until.Seconds() {
				return
			}
			// Thinning (Lewis and Shedler 1979): keep an arrival with the chance rate(t)/peak.
			if g.Daily > 0 && r.Float64()*(1+g.Daily) > 1+g.Daily*math.Cos(2*math.Pi*(t-g.Peak.Seconds())/86400) {
				continue
			}
			at := time.Duration(t * float64(time.Second))
			for size := geometric(r, burst); size > 0; size-- {
				if !emit(shapes[r.IntN(len(shapes))], at) {
					return
				}
			}
		}
	}
}

// geometric draws a whole number from 1 on with a given mean.
func geometric(r *rand.Rand, mean float64) int {
	if mean <= 1 {
		return 1
	}
	return 1 + int(math.Log(1-r.Float64())/math.Log(1-1/mean))
}

// begin emits the jobs in their middle: chosen in proportion to their lifetimes, a uniform share of which is over.
func (g *Generator) begin(r *rand.Rand, rate float64, shapes []Job, emit func(Job, time.Duration) bool) bool {
	cum := make([]float64, len(shapes))
	var sum float64
	for i, j := range shapes {
		sum += j.Duration.Seconds()
		cum[i] = sum
	}
	if sum <= 0 {
		return true
	}
	for range poisson(r, rate*sum/float64(len(shapes))) {
		j := shapes[min(sort.SearchFloat64s(cum, r.Float64()*sum), len(shapes)-1)]
		left := r.Float64()
		past := time.Duration((1 - left) * float64(j.Duration))
		j.Duration -= past
		if j.Deadline > 0 {
			j.Deadline = max(j.Deadline-past, 1)
		}
		if len(j.Profile) > 0 {
			if k := int(past / j.Step); k > 0 {
				j.Profile = j.Profile[min(k, len(j.Profile)-1):]
			}
		}
		if !emit(j, 0) {
			return false
		}
	}
	return true
}

// poisson draws by counting exponential gaps, or by the normal approximation where the mean is large.
func poisson(r *rand.Rand, mean float64) int {
	if mean > 1e4 {
		return max(0, int(math.Round(mean+math.Sqrt(mean)*r.NormFloat64())))
	}
	n := -1
	for t := 0.0; t < mean; n++ {
		t += r.ExpFloat64()
	}
	return max(n, 0)
}
