package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/leastwatt/leastwatt/scoring/simulate"
	"github.com/leastwatt/leastwatt/scoring/simulate/trace"
	"github.com/leastwatt/leastwatt/sensors/grid"
)

// gridOptions are the flags about sites and what a kilowatt-hour costs there.
type gridOptions struct {
	sites, carbon, prices, rates, objective string
	start                                   string
	slack                                   time.Duration
	suspend, perfect                        bool
	carbonPrice, threshold                  float64

	world *world // what they say
	// profiled names the site that stands for a site and a profile of KubeEnergyScheduler's nodes, where carbon goes by these.
	profiled map[[2]string]string
}

func (g *gridOptions) define(f *flag.FlagSet) {
	f.StringVar(&g.sites, "sites", "", "sites: embedded; nodes, by the profiles in KubeEnergyScheduler's -nodes; or its CSV id,PUE,k,ci_region: a region is a column of -carbon and -prices, or a profile such as sine:300:150:86400, and without -carbon the nodes' profiles count")
	f.StringVar(&g.carbon, "carbon", "", "CSV of carbon intensity, gCO2eq/kWh: a time column and one zone a column; without -sites each zone is a site")
	f.StringVar(&g.prices, "prices", "", "CSV of prices, in the same shape; headers like FR (EUR/MWh) are understood")
	f.StringVar(&g.rates, "rates", "", "exchange rates into one currency where prices are in several: EUR=1.08,CAD=0.74,USD=1")
	f.StringVar(&g.objective, "objective", "grams", "what strategies that go by the grid look at: grams or money")
	f.Float64Var(&g.carbonPrice, "carbon-price", 0, "money a tonne of CO2 equivalent, added to the price where the objective is money")
	f.Float64Var(&g.threshold, "threshold", 0, "what a kilowatt-hour may cost before threshold delays work, in grams or money with PUE, as Compute Gardener's is set once; 0 is the mean that the forecast has for the next day")
	f.StringVar(&g.start, "start", "", "when the simulation starts within -carbon, as 2023-06-01T00:00:00Z; empty is 120 days in, or a third of a shorter file")
	f.DurationVar(&g.slack, "slack", 24*time.Hour, "how much later than at once each job may end, with sites")
	f.BoolVar(&g.suspend, "suspend", false, "all jobs may be stopped and go on later, with sites")
	f.BoolVar(&g.perfect, "perfect", false, "tell strategies what the grid will really be instead of a forecast")
}

// on tells whether sites were asked for.
func (g *gridOptions) on() bool { return g.sites != "" || g.carbon != "" || g.prices != "" }

// world is the sites and what their grids were, hour by hour.
type world struct {
	sites   []place
	start   time.Time
	money   string            // the currency of prices
	outlook map[bool]*outlook // what the oracle hears is at true; runs in parallel share them
}

// place is one site.
type place struct {
	id, region       string
	pue, factor      float64
	intensity, price hours
}

const (
	profileHours = 120 * 24 // of history and future that a profile gets
	embeddedDays = 60
)

// embeddedSites are three made-up grids: even and clean, sunny, and dirty.
var embeddedSites = []trace.KubeEnergySite{
	{ID: "north", PUE: 1.1, K: 1, Region: "sine:70:15:86400"},
	{ID: "south", PUE: 1.3, K: 1, Region: "sine:320:180:86400"},
	{ID: "east", PUE: 1.4, K: 1, Region: "randwalk:450:750:3600"},
}

// load reads what the flags name; nodes is -nodes.
func (g *gridOptions) load(seed uint64, nodes string) error {
	if !g.on() {
		return nil
	}
	if g.objective != "grams" && g.objective != "money" {
		return fmt.Errorf("-objective %s: want grams or money", g.objective)
	}
	if g.slack < 0 {
		return fmt.Errorf("-slack %v: want 0 or more", g.slack)
	}
	w := &world{}
	carbon, _, err := g.series(g.carbon, grid.AverageLifeCycle)
	if err != nil {
		return fmt.Errorf("-carbon: %w", err)
	}
	prices, currency, err := g.series(g.prices, grid.Price)
	if err != nil {
		return fmt.Errorf("-prices: %w", err)
	}
	w.money = currency
	sites := embeddedSites
	switch {
	case g.sites == "":
		sites = nil
		zones := carbon
		if len(zones) == 0 {
			zones = prices
		}
		for _, z := range sortedKeys(zones) {
			sites = append(sites, trace.KubeEnergySite{ID: z, PUE: 1, K: 1, Region: z})
		}
	case g.sites == sitesOfNodes:
		if sites, err = g.profiles(nodes, nil); err != nil {
			return err
		}
	case g.sites != "embedded":
		data, err := os.ReadFile(g.sites)
		if err != nil {
			return fmt.Errorf("-sites: %w", err)
		}
		if sites, err = trace.KubeEnergySites(g.sites, bytes.NewReader(data)); err != nil {
			return err
		}
		if g.carbon == "" && g.objective == "grams" && slices.ContainsFunc(sites, func(s trace.KubeEnergySite) bool { return !strings.Contains(s.Region, ":") }) {
			if sites, err = g.profiles(nodes, sites); err != nil {
				return fmt.Errorf("-sites %s has no profiles, and there is no -carbon: %w", g.sites, err)
			}
		}
	}
	if len(sites) == 0 {
		return fmt.Errorf("%s: no sites", g.sites+g.carbon+g.prices)
	}
	if err := w.begin(g.start, carbon, prices); err != nil {
		return err
	}
	for i, s := range sites {
		p := place{id: s.ID, region: s.Region, pue: s.PUE, factor: s.K}
		if strings.Contains(s.Region, ":") {
			if p.intensity, err = w.profile(s.Region, seed+uint64(i)); err != nil {
				return fmt.Errorf("site %s: %w", s.ID, err)
			}
		} else if g.carbon != "" || g.objective == "grams" {
			h, ok := carbon[s.Region]
			if !ok {
				return fmt.Errorf("site %s: -carbon %s has no zone %q; it has %s", s.ID, g.carbon, s.Region, strings.Join(sortedKeys(carbon), ", "))
			}
			p.intensity = h
		}
		if g.prices != "" {
			h, ok := prices[s.Region]
			if !ok {
				return fmt.Errorf("site %s: -prices %s has no zone %q; it has %s", s.ID, g.prices, s.Region, strings.Join(sortedKeys(prices), ", "))
			}
			p.price = h
		} else if g.objective == "money" {
			return fmt.Errorf("-objective money needs -prices")
		}
		w.sites = append(w.sites, p)
	}
	g.world = w
	w.outlook = map[bool]*outlook{false: g.newOutlook(g.perfect), true: g.newOutlook(true)}
	return nil
}

// sitesOfNodes is the value of -sites for those that the nodes name.
const sitesOfNodes = "nodes"

// profiles makes a site of each profile that KubeEnergyScheduler's nodes have at each of their sites, with PUE and factor of those that are known. This is
// how KubeEnergyScheduler counts carbon: by the node's profile, with PUE and k of its site.
func (g *gridOptions) profiles(spec string, known []trace.KubeEnergySite) ([]trace.KubeEnergySite, error) {
	file, _, err := counted(spec)
	if err != nil {
		return nil, err
	}
	if file == embeddedNodes {
		return nil, fmt.Errorf("-nodes %s: these servers have no ci_profile: give KubeEnergyScheduler's file of nodes, or -carbon", spec)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("profiles of -nodes: %w", err)
	}
	nodes, err := trace.KubeEnergyNodes(file, bytes.NewReader(data))
	if err != nil {
		return nil, fmt.Errorf("profiles of -nodes: %w", err)
	}
	bySite := map[string][]string{}
	for i := range nodes {
		n := &nodes[i]
		if n.Intensity.IsZero() {
			return nil, fmt.Errorf("%s: node %q has no ci_profile, by which its carbon would go: give it one, or -carbon", file, n.Name)
		}
		if p := n.Intensity.String(); !slices.Contains(bySite[n.Site], p) {
			bySite[n.Site] = append(bySite[n.Site], p)
		}
	}
	g.profiled = map[[2]string]string{}
	var out []trace.KubeEnergySite
	for _, id := range slices.Sorted(maps.Keys(bySite)) {
		s := trace.KubeEnergySite{PUE: 1, K: 1}
		if k := slices.IndexFunc(known, func(s trace.KubeEnergySite) bool { return s.ID == id }); k >= 0 {
			s = known[k]
		} else if known != nil && id != "" {
			return nil, fmt.Errorf("%s: nodes are at site %q, which is not among the sites", file, id)
		}
		for _, p := range bySite[id] {
			s.ID, s.Region = strings.TrimSpace(id+" "+p), p
			if id != "" && len(bySite[id]) == 1 {
				s.ID = id
			}
			g.profiled[[2]string{id, p}] = s.ID
			out = append(out, s)
		}
	}
	return out, nil
}

// begin settles when the simulation starts: where the user says, else 120 days after the first hour that is known, or a third of
// what there is.
func (w *world) begin(start string, all ...map[string]hours) error {
	var first, last time.Time
	for _, m := range all {
		for _, h := range m {
			end := h.from.Add(time.Duration(len(h.values)) * time.Hour)
			if first.IsZero() || h.from.After(first) {
				first = h.from
			}
			if last.IsZero() || end.Before(last) {
				last = end
			}
		}
	}
	switch {
	case start != "":
		t, err := time.Parse(time.RFC3339, start)
		if err != nil {
			return fmt.Errorf("-start %s: want a time such as 2023-06-01T00:00:00Z", start)
		}
		if !first.IsZero() && (t.Before(first) || !t.Before(last)) {
			return fmt.Errorf("-start %s: the series go from %v until %v", start, first, last)
		}
		w.start = t.UTC().Truncate(time.Hour)
	case first.IsZero():
		w.start = time.Date(2024, 6, 1, 0, 0, 0, 0, time.UTC)
	default:
		w.start = first.Add(min(120*24*time.Hour, last.Sub(first)/3)).Truncate(time.Hour)
	}
	return nil
}

// profile makes the hours of one of KubeEnergyScheduler's profiles around the start.
func (w *world) profile(text string, seed uint64) (hours, error) {
	h := hours{from: w.start.Add(-embeddedDays * 24 * time.Hour)}
	now := h.from
	p, err := grid.ParseProfile(text, grid.AverageLifeCycle, seed, func() time.Time { return now })
	if err != nil {
		return h, err
	}
	for range profileHours {
		pt, err := p.Current(context.Background(), text)
		if err != nil {
			return h, err
		}
		h.values = append(h.values, pt.Value)
		now = now.Add(time.Hour)
	}
	return h, nil
}

// simulated returns the sites as the simulator pays them. An hour that no file knows is paid as the last one that was known.
func (w *world) simulated(horizon time.Duration) []simulate.Site {
	var out []simulate.Site
	n := int(horizon/time.Hour) + 1
	for _, p := range w.sites {
		s := simulate.Site{Name: p.id, PUE: p.pue, Factor: p.factor}
		if len(p.intensity.values) > 0 {
			s.Intensity = w.filled(&p.intensity, n)
		}
		if len(p.price.values) > 0 {
			s.Price = w.filled(&p.price, n)
		}
		out = append(out, s)
	}
	return out
}

// settle gives each node a site: its own, if it names one, else the sites in turn.
func (w *world) settle(nodes []simulate.Node) error {
	for i := range nodes {
		n := &nodes[i]
		if n.Site == "" {
			n.Site = w.sites[i%len(w.sites)].id
		} else if !slices.ContainsFunc(w.sites, func(p place) bool { return p.id == n.Site }) {
			return fmt.Errorf("node %q is at site %q, which is not among the sites", n.Name, n.Site)
		}
	}
	return nil
}

// due gives each job a deadline: once and a tenth its duration, and the slack.
func (g *gridOptions) due(work simulate.Workload) simulate.Workload {
	return func(yield func(simulate.Job, error) bool) {
		n := 0
		for j, err := range work {
			if n++; j.Name == "" {
				j.Name = fmt.Sprintf("job-%06d", n)
			}
			if j.Deadline == 0 && g.slack > 0 {
				j.Deadline = j.Arrival + j.Duration + j.Duration/10 + g.slack
			}
			j.Suspend = j.Suspend || g.suspend
			if !yield(j, err) {
				return
			}
		}
	}
}
