package prior

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
)

// FitOptions tune [Fit]. The zero value works.
type FitOptions struct {
	// Bandwidth is the standard deviation, in years, of the window in which servers count for a year; 0
	// means 2.
	Bandwidth float64

	// Background is the weight of a server far from the year; 0 means 0.02.
	Background float64

	// Source says where the curves are from.
	Source string
}

func (o FitOptions) withDefaults() FitOptions {
	o.Bandwidth, o.Background = cmp.Or(o.Bandwidth, 2), cmp.Or(o.Background, 0.02)
	return o
}

// minServers is below what a covariance of 16 dimensions is not worth having.
const minServers = 3 * dims

// Fit makes a prior of published curves, at least 48 of them. The spread of its intervals and the kinship of
// servers are measured with every server's CPU left out in turn.
func Fit(servers []Published, o FitOptions) (*Prior, error) {
	if len(servers) < minServers {
		return nil, fmt.Errorf("fit prior: %d servers: at least %d are needed", len(servers), minServers)
	}
	for i := range servers {
		s := &servers[i]
		if err := s.Validate(); err != nil {
			return nil, fmt.Errorf("fit prior: server %d: %w", i, err)
		}
		if s.mask()|1<<3 != 1<<attributes-1 || s.Year == 0 {
			return nil, fmt.Errorf("fit prior: server %d, %q: only the TDP may be unknown", i, s.System)
		}
	}
	if told := len(servers) - unknownTDP(servers); told < minServers {
		return nil, fmt.Errorf("fit prior: %d of %d servers tell their TDP: at least %d are needed", told, len(servers), minServers)
	}
	t := &trainer{opts: o.withDefaults(), servers: servers}
	t.rows = complete(servers)
	p := t.prior(func(int) bool { return true })
	p.source = o.Source
	t.measure(p)
	return p, nil
}

func unknownTDP(servers []Published) (n int) {
	for i := range servers {
		if !(servers[i].TDP > 0) {
			n++
		}
	}
	return n
}

type trainer struct {
	opts    FitOptions
	servers []Published
	rows    [][dims]float64
}

// complete returns the servers as vectors. An unknown TDP is filled in with what the others predict.
func complete(servers []Published) [][dims]float64 {
	rows := make([][dims]float64, len(servers))
	full := make([]float64, len(servers))
	for i := range servers {
		rows[i] = servers[i].vector()
		if servers[i].TDP > 0 {
			full[i] = 1
		} else {
			rows[i][Points+3] = 0 // does not count
		}
	}
	g := moments(rows, full)
	for i := range rows {
		if full[i] != 0 {
			continue
		}
		fill := g
		for k := range dims {
			if k != Points+3 {
				var along [dims]float64
				along[k] = 1
				fill.observe(&along, rows[i][k], attributeVariance)
			}
		}
		rows[i][Points+3] = fill.mean[Points+3]
	}
	return rows
}

// year returns the moments around a year of the servers that keep says count; 0 means any year.
func (t *trainer) year(year int, keep func(i int) bool) gaussian {
	w := make([]float64, len(t.servers))
	for i := range w {
		if !keep(i) {
			continue
		}
		w[i] = 1
		if year != 0 {
			d := float64(t.servers[i].Year-year) / t.opts.Bandwidth
			w[i] = math.Exp(-d*d/2) + t.opts.Background
		}
	}
	g := moments(t.rows, w)
	for i := range g.cov {
		g.cov[i][i] += ExactNoise * ExactNoise
	}
	return g
}

// prior makes the prior of the servers that keep says count.
func (t *trainer) prior(keep func(i int) bool) *Prior {
	p := &Prior{any: t.year(0, keep), series: t.names(keep)}
	last := 0
	for i := range t.servers {
		if y := t.servers[i].Year; keep(i) {
			p.count++
			last = max(last, y)
			if p.first == 0 || y < p.first {
				p.first = y
			}
		}
	}
	for y := p.first; y <= last; y++ {
		p.years = append(p.years, t.year(y, keep))
	}
	for i := range p.spread {
		p.spread[i] = 1
	}
	return p
}

// names gathers what CPU names tell.
func (t *trainer) names(keep func(i int) bool) map[string]series {
	rows := make(map[string][]int)
	for i := range t.servers {
		if s := cpuSeries(t.servers[i].CPU); s != "" && keep(i) {
			rows[s] = append(rows[s], i)
		}
	}
	out := make(map[string]series, len(rows))
	for name, members := range rows {
		if len(members) < 2 {
			continue // one server's data sheet is no statistic
		}
		s := series{ServerSeen: len(members)}
		// A CPU counts once, however many servers have it: what is asked is how far another one differs.
		cores, tdp := make(map[string]float64), make(map[string]float64)
		for _, i := range members {
			s.Year += float64(t.servers[i].Year) / float64(len(members))
			cpu := CPUModel(t.servers[i].CPU)
			cores[cpu] = t.rows[i][Points+1] - t.rows[i][Points]
			tdp[cpu] = t.rows[i][Points+3]
		}
		s.CoresLog, s.CoresSD = meanSD(cores)
		s.TDPLog, s.TDPSD = meanSD(tdp)
		out[name] = s
	}
	return out
}

// meanSD returns mean and standard deviation of the logarithms of one figure of a series' CPUs. Half a CPU of
// the spread among all series, about 30 %, is added, so that two that agree are not taken for a law.
func meanSD(cpus map[string]float64) (mean, sd float64) {
	const guess = 0.3
	names := slices.Sorted(maps.Keys(cpus)) // sums in one order, so that the file repeats
	for _, k := range names {
		mean += cpus[k] / float64(len(cpus))
	}
	squares := 0.5 * guess * guess
	for _, k := range names {
		squares += (cpus[k] - mean) * (cpus[k] - mean)
	}
	return mean, math.Sqrt(squares / (float64(len(cpus)) - 0.5))
}

// measure sets the prior's spread and kinship from predictions of each server by the others, all those
// with its CPU left out.
func (t *trainer) measure(p *Prior) {
	n := len(t.servers)
	key := make([]string, n)
	for i := range key {
		key[i] = cmp.Or(CPUModel(t.servers[i].CPU), t.servers[i].CPU)
	}
	folds := make(map[string]*Prior)
	for i, k := range key {
		if folds[k] == nil {
			folds[k] = t.prior(func(j int) bool { return key[j] != key[i] })
		}
	}
	for known := range p.spread {
		var z []float64
		for i := range t.servers {
			fold, h := folds[key[i]], t.servers[i].Hardware.only(known)
			if h.mask() != known {
				continue // its TDP is unknown
			}
			g := fold.given(&h)
			for k := range Points {
				z = append(z, math.Abs(t.rows[i][k]-g.mean[k])/math.Sqrt(g.cov[k][k]))
			}
		}
		if len(z) > 0 {
			p.spread[known] = quantile(z, 0.9) / 1.6448536269514722 // the normal distribution's 95 % quantile
		}
	}
	p.kin = t.kinship(p)
}

// only returns h with its names forgotten, and all attributes outside a mask.
func (h Hardware) only(mask int) Hardware {
	h.System, h.CPU = "", ""
	if mask&1 == 0 {
		h.Chips = 0
	}
	if mask&2 == 0 {
		h.Cores = 0
	}
	if mask&4 == 0 {
		h.Threads = 0
	}
	if mask&8 == 0 {
		h.TDP = 0
	}
	if mask&16 == 0 {
		h.MemoryGB = 0
	}
	return h
}

// quantile returns the q-quantile of v, which it sorts.
func quantile(v []float64, q float64) float64 {
	slices.Sort(v)
	return v[min(int(q*float64(len(v))), len(v)-1)]
}

// kinship correlates what is left of the levels of pairs of servers after their data sheets.
func (t *trainer) kinship(p *Prior) Kinship {
	left := make([]float64, len(t.servers))
	for i := range t.servers {
		h := t.servers[i].Hardware
		h.CPU = ""
		g := p.given(&h)
		v := 0.0
		for k := range Points {
			left[i] += (t.rows[i][k] - g.mean[k])
			for j := range Points {
				v += g.cov[k][j]
			}
		}
		left[i] /= math.Sqrt(v)
	}
	squares := 0.0
	for _, d := range left {
		squares += d * d / float64(len(left))
	}
	var sum, pairs [3]float64
	for i := range left {
		for j := range i {
			if r, ok := related(&t.servers[i].Hardware, &t.servers[j].Hardware); ok {
				sum[r] += left[i] * left[j] / squares
				pairs[r]++
			}
		}
	}
	for r := range sum {
		sum[r] = min(max(sum[r]/max(pairs[r], 1), 0), 0.95)
	}
	return Kinship{System: sum[sameSystem], CPU: sum[sameCPU], Series: sum[sameSeries]}
}
