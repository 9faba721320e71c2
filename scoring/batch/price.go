package batch

import (
	"cmp"
	"slices"
	"time"
)

// A price tells what one more core would cost a cluster whose work were placed as the bound places it: the slope of the
// envelope up to which its servers would be filled.
type price struct {
	cluster *Cluster
	slopes  []float64 // of all segments, in order
	cores   []float64 // cumulated
	total   float64   // cores in use and placed since
	models  uint64    // how often the cluster's models had changed when they were sorted
	sorted  time.Duration
	summed  time.Duration
}

// How old what the price goes by may become, on the clock of Plan.
const (
	priceSorts = 10 * time.Minute
	priceSums  = time.Minute
)

// look brings the price up to date with the cluster.
func (p *price) look(c *Cluster, now time.Duration) {
	fresh := p.cluster != c || now < p.sorted || now < p.summed
	if fresh || now-p.sorted >= priceSorts {
		if p.cluster != c || p.models != c.models {
			p.sort(c)
		}
		p.cluster, p.models, p.sorted = c, c.models, now
	}
	if fresh || now-p.summed >= priceSums {
		p.total, p.summed = 0, now
		for _, u := range c.use {
			p.total += u
		}
	}
}

func (p *price) sort(c *Cluster) {
	type segment struct{ slope, cores float64 }
	var all []segment
	for i, e := range c.env {
		if e == nil || c.nodes[i].Down {
			continue
		}
		k := c.envKnots[i]
		for n := 1; n < len(k); n++ {
			w := k[n].Utilization - k[n-1].Utilization
			all = append(all, segment{float64(k[n].Watts-k[n-1].Watts) / w * c.perWork[i], w * c.work[i]})
		}
	}
	slices.SortFunc(all, func(a, b segment) int {
		return cmp.Or(cmp.Compare(a.slope, b.slope), cmp.Compare(a.cores, b.cores))
	})
	p.slopes, p.cores = p.slopes[:0], p.cores[:0]
	sum := 0.0
	for _, s := range all {
		sum += s.cores
		p.slopes, p.cores = append(p.slopes, s.slope), append(p.cores, sum)
	}
}

// of returns the price in watts a core when so many cores more are in use than now; 0 where nothing is known.
func (p *price) of(more float64) float64 {
	if len(p.slopes) == 0 {
		return 0
	}
	k, _ := slices.BinarySearch(p.cores, p.total+more)
	return p.slopes[min(k, len(p.slopes)-1)]
}
