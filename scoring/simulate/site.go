package simulate

import (
	"fmt"
	"math"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// A Site is a place with servers, one grid and one PUE.
type Site struct {
	Name string

	// PUE multiplies the energy of the servers; 0 means 1. Factor multiplies grams beside it, for what a user wants to add
	// (KubeEnergyScheduler's k); 0 means 1.
	PUE, Factor float64

	// Intensity is what really was, in gCO2eq/kWh, one value for each Step from the start of the simulation; the last one goes on. Price is the
	// same in money per kWh. Either may be empty: nothing is counted then.
	Intensity, Price []float64
	Step             time.Duration // 0 means an hour
}

func (s *Site) validate() error {
	switch {
	case s.PUE != 0 && !(s.PUE >= 1 && s.PUE < 100):
		return fmt.Errorf("simulate: site %q: PUE is %v: want 1 or more", s.Name, s.PUE)
	case !(s.Factor >= 0) || math.IsInf(s.Factor, 0):
		return fmt.Errorf("simulate: site %q: factor is %v: want 0 or more", s.Name, s.Factor)
	case s.Step < 0:
		return fmt.Errorf("simulate: site %q: step is %v", s.Name, s.Step)
	}
	for k, v := range s.Intensity {
		if !finite(v) {
			return fmt.Errorf("simulate: site %q: intensity %d is %v: want a finite number, 0 or more", s.Name, k, v)
		}
	}
	for k, v := range s.Price {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("simulate: site %q: price %d is %v: want a finite number", s.Name, k, v)
		}
	}
	return nil
}

// SiteResult is one site over the whole measurement.
type SiteResult struct {
	Name   string
	Energy power.Joules // times PUE
	Grams  float64      // of CO2 equivalent, times PUE and factor
	Money  float64      // times PUE
}

// site is what the simulation keeps of a Site.
type site struct {
	name             string
	watts            float64 // of its servers
	pue, factor      float64
	step             int64
	intensity, price []float64
	joules           float64
	grams, money     float64
}

func newSites(from []Site) []site {
	sites := make([]site, len(from))
	for i, f := range from {
		sites[i] = site{name: f.Name, pue: f.PUE, factor: f.Factor, step: int64(f.Step), intensity: f.Intensity, price: f.Price}
		if f.PUE == 0 {
			sites[i].pue = 1
		}
		if f.Factor == 0 {
			sites[i].factor = 1
		}
		if f.Step == 0 {
			sites[i].step = int64(time.Hour)
		}
	}
	return sites
}

const joulesPerKWh = 3.6e6

// pay books what the site draws between two times, during which its power is constant.
func (s *site) pay(a, b int64) {
	s.joules += s.watts * s.pue * float64(b-a) / 1e9
	grams, money := s.perWatt(a, b)
	s.grams += s.watts * grams
	s.money += s.watts * money
}

// perWatt is what a watt of servers costs between two times.
func (s *site) perWatt(a, b int64) (grams, money float64) {
	for a < b {
		k := a / s.step
		end := min(b, (k+1)*s.step)
		kwh := s.pue * float64(end-a) / 1e9 / joulesPerKWh
		grams += kwh * s.factor * at(s.intensity, k)
		money += kwh * at(s.price, k)
		a = end
	}
	return grams, money
}

// rate is what the site costs an hour at a time.
func (s *site) rate(t int64) (grams, money float64) {
	kw := s.watts * s.pue / 1000
	return kw * s.factor * at(s.intensity, t/s.step), kw * at(s.price, t/s.step)
}

func at(series []float64, k int64) float64 {
	if len(series) == 0 {
		return 0
	}
	return series[min(k, int64(len(series)-1))]
}

func (s *site) result() SiteResult {
	return SiteResult{Name: s.name, Energy: power.Joules(s.joules), Grams: s.grams, Money: s.money}
}

func leastPUE(sites []site) float64 {
	least := math.Inf(1)
	for k := range sites {
		least = min(least, sites[k].pue)
	}
	return least
}

func (s *simulation) siteOf(i int) int32 {
	for k := range s.sites {
		if s.sites[k].name == s.node(i).Site {
			return int32(k)
		}
	}
	return -1
}
