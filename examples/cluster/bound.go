package main

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/leastwatt/leastwatt/power"
)

// lowerBound returns the fewest watts at which the servers could carry so many cores of work together, if
// pods could be cut into parts and all servers stay on: each true curve is replaced by its lower convex
// envelope and the envelopes are filled in the order of their slopes. No placement of pods whose
// sizes are multiples of quantum draws less.
func lowerBound(fleet []server, demand float64) (power.Watts, error) {
	if all := capacity(fleet); demand > all {
		return 0, fmt.Errorf("the pods need %.1f cores and the servers have %.0f", demand, all)
	}
	type segment struct{ cores, slope float64 } // slope in watts per core
	var segments []segment
	var sum power.Watts
	for i := range fleet {
		hull := envelope(points(&fleet[i]))
		sum += power.Watts(hull[0].watts)
		for k := 1; k < len(hull); k++ {
			wide := hull[k].cores - hull[k-1].cores
			segments = append(segments, segment{wide, (hull[k].watts - hull[k-1].watts) / wide})
		}
	}
	slices.SortFunc(segments, func(a, b segment) int { return cmp.Compare(a.slope, b.slope) })
	for _, s := range segments {
		take := min(s.cores, demand)
		sum += power.Watts(take * s.slope)
		if demand -= take; demand <= 0 {
			break
		}
	}
	return sum, nil
}

// point is a load and what it draws.
type point struct{ cores, watts float64 }

// points are all loads that pods can put on a server. The curve between them is never reached, so the
// envelope of the points is a bound although the true curve is not made of straight lines: the
// inlet temperature rises with the load.
func points(s *server) []point {
	steps := s.hardware.Threads * 1000 / quantum
	p := make([]point, steps+1)
	for i := range p {
		u := float64(i) / float64(steps)
		p[i] = point{cores: u * s.cores(), watts: float64(s.watts(u))}
	}
	return p
}

// envelope returns the corners of the lower convex envelope of points that are sorted by cores.
func envelope(points []point) []point {
	var hull []point
	for _, p := range points {
		for len(hull) >= 2 {
			a, b := hull[len(hull)-2], hull[len(hull)-1]
			if (b.watts-a.watts)*(p.cores-b.cores) < (p.watts-b.watts)*(b.cores-a.cores) {
				break // b lies below the line from a to p
			}
			hull = hull[:len(hull)-1]
		}
		hull = append(hull, p)
	}
	return hull
}
