package simulate

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// Run simulates a workload. It stops with an error for an invalid configuration or job, when the workload yields an error, and
// when ctx is done. Jobs that no node can take are counted, not looped over. Memory is linear in the
// jobs that wait or run at one time.
func Run(ctx context.Context, cfg Config, w Workload) (*Result, error) {
	s, err := newSimulation(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	if err := s.loop(w); err != nil {
		return nil, fmt.Errorf("simulate %s at %v: %w", cfg.Strategy.Name(), time.Duration(s.now), err)
	}
	return s.result(), nil
}

func newSimulation(ctx context.Context, cfg *Config) (*simulation, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	nodes := make([]batch.Node, len(cfg.Nodes))
	truth := make([]*power.Piecewise, len(cfg.Nodes))
	for i := range cfg.Nodes {
		nodes[i] = cfg.Nodes[i].Node
		n := &nodes[i]
		if n.Predictor == nil {
			return nil, fmt.Errorf("simulate: node %q: %w: a simulated node needs its true one", n.Name, power.ErrNoModel)
		}
		var err error
		if truth[i], err = power.Tabulate(ctx, n.Predictor, n.State, 100); err != nil {
			return nil, fmt.Errorf("simulate: %w", err)
		}
		n.Predictor = truth[i]
		n.State.Utilization = 0
	}
	believed := nodes
	if cfg.Believe != nil {
		believed = append([]batch.Node(nil), nodes...)
		for i := range believed {
			believed[i].Predictor = nil
			if p := cfg.Believe(nodes[i].Name, truth[i]); p != nil {
				believed[i].Predictor = p
			}
		}
	}
	c, err := batch.NewCluster(ctx, believed, batch.ClusterOptions{SwitchOff: cfg.SwitchOff})
	if err != nil {
		return nil, fmt.Errorf("simulate: %w", err)
	}
	s := &simulation{cfg: cfg, ctx: ctx, clock: time.Now(), sites: newSites(cfg.Sites), cluster: c, servers: make([]server, len(nodes)), free: -1,
		rnd:  rand.New(rand.NewPCG(cfg.Seed, 0x1ea57)),
		from: int64(cfg.From), to: int64(cfg.To), shares: map[string]*share{}, classes: map[[2]float64]string{}}
	if s.to == 0 {
		s.to = math.MaxInt64
	}
	if cfg.Bound {
		if cfg.SwitchOff {
			for i := range nodes {
				nodes[i].OffPower = cfg.Nodes[i].asleep()
			}
		}
		if s.bound, err = batch.NewBound(ctx, nodes, cfg.SwitchOff); err != nil {
			return nil, fmt.Errorf("simulate: %w", err)
		}
		s.stale = true
	}
	for i := range s.servers {
		o := c.Original(i)
		v := &s.servers[i]
		*v = server{curve: truth[o], work: nodes[o].Capacity.Work(), speed: 1, first: -1, state: isOn}
		if nodes[o].Capacity.Speed > 0 {
			v.speed = nodes[o].Capacity.Speed
		}
		if cfg.SwitchOff {
			v.state = isOff
			c.SetOff(i, true)
		} else {
			s.on++
		}
		v.site = s.siteOf(i)
		s.setPower(i)
		s.nextOutage(i)
	}
	if sn := cfg.Sensors; sn != nil {
		s.learners = make([]*learner, len(nodes))
		s.events.push(int64(sn.Every), evSample, 0, 0)
		s.clocks++
	}
	if cfg.Rebalancer != nil {
		if cfg.RebalanceEvery == 0 {
			cfg.RebalanceEvery = 10 * time.Minute
		}
		s.events.push(int64(cfg.RebalanceEvery), evRebalance, 0, 0)
		s.clocks++
	}
	if cfg.Window <= 0 {
		cfg.Window = 100
	}
	s.ends, s.forgets, s.misfits = batch.UsesEnds(cfg.Strategy, c), batch.Forgets(cfg.Strategy), make([]batch.Resources, 0, 8)
	s.res.Strategy = cfg.Strategy.Name()
	return s, nil
}

// node returns the configuration of server i.
func (s *simulation) node(i int) *Node { return &s.cfg.Nodes[s.cluster.Original(i)] }
