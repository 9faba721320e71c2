package simulate

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// Fit returns a generator of work like that of a trace: its jobs as shapes, so that sizes, lifetimes and use are distributed, and belong together,
// as there; its mean rate; the swing of its arrivals over the day, which is the part of them in the first harmonic of 24 hours (Fisher's periodogram),
// 0 where so much would also come about by chance once in a hundred traces; and the mean number of jobs that arrive at one instant. The
// caller sets Until, and Load in the place of Rate where another load is wanted. Jobs are in the order of their arrival.
func Fit(jobs []Job) (Generator, error) {
	g := Generator{Shapes: jobs}
	if len(jobs) < 2 {
		return g, fmt.Errorf("generator: %d jobs do not show how they arrive", len(jobs))
	}
	first := jobs[0].Arrival
	var sin, cos, instants float64
	last := time.Duration(-1)
	for i := range jobs {
		at := jobs[i].Arrival
		if at < first || at < last {
			return g, fmt.Errorf("%w: job %q", ErrOrder, jobs[i].Name)
		}
		if at > last {
			instants++
		}
		last = at
		s, c := math.Sincos(2 * math.Pi * at.Seconds() / 86400)
		sin, cos = sin+s, cos+c
	}
	span := (last - first).Seconds()
	if span <= 0 {
		return g, errors.New("generator: all jobs arrive at one instant")
	}
	n := float64(len(jobs))
	g.Rate = n / span
	g.Burst = n / instants
	// Of less than a day the harmonic says nothing. For n/burst independent arrivals, the square of the amplitude times n/4 is exponentially
	// distributed with mean 1.
	if amplitude := 2 * math.Hypot(sin, cos) / n; span >= 86400 && amplitude*amplitude*instants/4 > math.Log(100) {
		g.Daily = min(1, amplitude)
		peak := math.Mod(math.Atan2(sin, cos)/(2*math.Pi)+1, 1)
		g.Peak = time.Duration(peak * 86400 * float64(time.Second))
	}
	return g, nil
}

// A Kind is one part of a synthetic workload: jobs of some sizes, each equally likely, whose lifetimes are log-normal.
type Kind struct {
	Class  string
	Share  float64   // of all jobs
	Cores  []float64 // the sizes
	Memory float64   // bytes a core
	Median time.Duration
	Sigma  float64 // of the logarithm of the lifetime; 0 gives all the same
}

// Mix draws shapes for a [Generator] from kinds of jobs, in the order of the kinds: of each its share of n, rounded down. The same seed gives the
// same shapes.
func Mix(kinds []Kind, n int, seed uint64) ([]Job, error) {
	r := rand.New(rand.NewPCG(seed, 0x73796e74))
	var jobs []Job
	for _, k := range kinds {
		if !(k.Share >= 0 && k.Share <= 1) || len(k.Cores) == 0 || k.Median < 0 || !(k.Sigma >= 0 && k.Sigma < 10) {
			return nil, fmt.Errorf("generator: kind %q: share %v, sizes %v, median %v, sigma %v: want a share within 0 and 1, a size and a lifetime", k.Class, k.Share, k.Cores, k.Median, k.Sigma)
		}
		for range int(float64(n) * k.Share) {
			c := k.Cores[r.IntN(len(k.Cores))]
			life := k.Median.Seconds() * math.Exp(k.Sigma*r.NormFloat64())
			j := Job{Duration: time.Duration(min(life, 1e9) * float64(time.Second)), Class: k.Class, Requests: batch.Resources{CPU: c, Memory: c * k.Memory}}
			if err := j.Validate(); err != nil {
				return nil, fmt.Errorf("generator: kind %q: %w", k.Class, err)
			}
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}

// KubeEnergyMix draws n shapes for a [Generator] as KubeEnergyScheduler's own generator does (pkg/generator of g-uva/KubEnergySched): a quarter each, but
// for chance, of tiny, batch, memory-heavy and periodic jobs, whose cores, GiB and seconds are whole numbers, each as likely as the others. There they arrive
// as a Poisson process of one a second, a Rate of 1. The same seed gives the same shapes.
func KubeEnergyMix(n int, seed uint64) []Job {
	kinds := [...]struct {
		class                  string
		cores, memory, seconds [2]int // from, to
	}{
		{"tiny", [2]int{1, 1}, [2]int{1, 1}, [2]int{30, 59}},
		{"batch", [2]int{4, 8}, [2]int{4, 16}, [2]int{300, 600}},
		{"memory-heavy", [2]int{2, 2}, [2]int{16, 32}, [2]int{120, 180}},
		{"periodic", [2]int{8, 16}, [2]int{8, 12}, [2]int{200, 400}},
	}
	r := rand.New(rand.NewPCG(seed, 0x6b6573))
	draw := func(b [2]int) float64 { return float64(b[0] + r.IntN(b[1]-b[0]+1)) }
	jobs := make([]Job, max(n, 0))
	for i := range jobs {
		k := &kinds[r.IntN(len(kinds))]
		jobs[i] = Job{Class: k.class, Requests: batch.Resources{CPU: draw(k.cores), Memory: draw(k.memory) * (1 << 30)},
			Duration: time.Duration(draw(k.seconds)) * time.Second}
	}
	return jobs
}

// SmallMediumLarge is a mix of many small and short jobs, some of middle size, and few large and long ones.
func SmallMediumLarge() []Kind {
	const perCore = 2 << 30
	return []Kind{
		{Class: "small", Share: 0.7, Cores: []float64{0.5, 1, 2}, Memory: perCore, Median: 8 * time.Minute, Sigma: 1.2},
		{Class: "medium", Share: 0.22, Cores: []float64{2, 4, 8}, Memory: perCore, Median: 45 * time.Minute, Sigma: 1.2},
		{Class: "large", Share: 0.08, Cores: []float64{8, 12, 16}, Memory: perCore, Median: 180 * time.Minute, Sigma: 1},
	}
}
