package shift

import (
	"math"
	"slices"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch/arrivals"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
)

// arriving learns how much shifted work comes in each zone whose cores are limited, so that nothing waits for clean hours which others will fill. It is
// changed by rounds alone.
type arriving map[string]*arrivals.Learner

// leastCores is what work counts that requests none.
const leastCores = 1e-3

// see counts the work that has come after it was counted before, forgets the zones that are not limited any more, and tells whether a slot has passed or a zone
// is new.
func (a arriving) see(items []*item, cores map[string]float64, now, counted time.Time) (passed bool) {
	at := time.Duration(now.UnixNano())
	for zone := range a {
		if cores[zone] == 0 {
			delete(a, zone)
		}
	}
	for zone := range cores {
		if a[zone] == nil {
			a[zone], passed = arrivals.New(slot, at), true
		}
		passed = a[zone].Pass(at) || passed
	}
	for _, i := range items {
		l := a[i.zone]
		if l == nil {
			continue
		}
		created := i.object.GetCreationTimestamp().Time
		if !created.After(counted) {
			continue
		}
		j := arrivals.Job{Name: string(i.object.GetUID()), Submitted: time.Duration(created.UnixNano()), Cores: max(i.cores, leastCores), Duration: min(i.duration, horizon), Slack: i.latest.Sub(created)}
		if *i.policy.DryRun || i.bad != nil {
			j.Slack = -1
		}
		j.Load = i.kWh() / i.duration.Hours() / j.Cores
		l.See(j)
	}
	return passed
}

// in states the work that is expected in the zones of a problem, as jobs of it.
func (a arriving) in(now time.Time, zones []string, cores map[string]float64, p *spacetime.Problem, slots int) (out []spacetime.Job) {
	for z, zone := range zones {
		l := a[zone]
		if l == nil || !l.Any() || cores[zone] == 0 {
			continue
		}
		until := 0
		for i := range p.Jobs {
			if j := &p.Jobs[i]; !math.IsInf(j.Energy[z], 1) {
				until = max(until, j.Latest+j.Length)
			}
		}
		energy := slices.Repeat([]float64{math.Inf(1)}, len(zones))
		energy[z] = slot.Hours()
		out = append(out, l.Expect(arrivals.Plan{From: time.Duration(now.UnixNano()), Slot: slot, Until: until, Slots: slots, Every: int(time.Hour / slot), Energy: energy})...)
	}
	return out
}
