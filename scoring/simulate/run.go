package simulate

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/rand/v2"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// ErrOrder says that a workload's clock went backwards.
var ErrOrder = errors.New("jobs are not in the order of their arrival")

// States of a node.
const (
	isOn uint8 = iota
	isOff
	isSuspended
	isBooting
	isDown
)

// server is the truth about one node.
type server struct {
	curve   *power.Piecewise
	work    float64
	speed   float64
	use     float64 // cores of speed 1
	watts   float64
	state   uint8
	gen     uint32 // overtakes evReady and evOff
	ready   int64
	first   int32 // running jobs, a list
	jobs    int32
	outage  int // the next one
	since   int64
	joules  float64
	useTime float64
	onTime  float64
	perWork float64 // joules a core-second so far: what a job pays for its use
	site    int32
}

// live is a job that waits or runs.
type live struct {
	job     Job
	batch   batch.Job
	class   string
	node    int32 // or -1
	started int64 // when its work would have begun had it never been stopped
	first   int64 // when it began
	begun   bool
	ran     int64 // before it was stopped
	slice   int64 // how long it may run now; 0 is to the end
	length  int64 // how long it runs in all on its present server
	ends    int64
	use     float64
	done    float64 // cores·seconds of work, for the mean use
	useAt   int64
	gen     uint32
	prev    int32
	next    int32 // on the node, or free
	joules  float64
	paid    float64 // the server's perWork when the job last paid
}

type simulation struct {
	cfg     *Config
	ctx     context.Context
	cluster *batch.Cluster
	servers []server
	jobs    []live
	free    int32
	events  eventHeap
	pending []int32
	rnd     *rand.Rand

	now        int64
	from, to   int64
	total      float64 // watts of all servers
	on         int
	load       batch.Load
	bound      *batch.Bound
	boundWatts float64
	stale      bool // boundWatts is of an older load
	energy     float64
	boundJ     float64
	lifetimes  batch.Lifetimes
	shares     map[string]*share
	allShares  share
	classes    map[[2]float64]string
	learners   []*learner
	wait       waits
	turn       waits
	res        Result
	liveN      int
	running    int
	nextTrace  int64
	planned    bool
	planJobs   []batch.Job
	planSlots  []int32
	updates    int
	sites      []site
	released   int // at the end of pending, to be planned together
	heldN      int
}

type share struct{ sum, n float64 }

// Run simulates a workload. It stops with an error for an invalid configuration or job, when the workload yields an error, and
// when ctx is done. Jobs that no node can take are counted, not looped over. Memory is linear in the
// jobs that wait or run at one time.
func Run(ctx context.Context, cfg Config, w Workload) (*Result, error) {
	s, err := newSimulation(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	next, stop := iter.Pull2(w)
	defer stop()
	if err := s.loop(next); err != nil {
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
	s := &simulation{cfg: cfg, ctx: ctx, sites: newSites(cfg.Sites), cluster: c, servers: make([]server, len(nodes)), free: -1,
		rnd:  rand.New(rand.NewPCG(cfg.Seed, 0x1ea57)),
		from: int64(cfg.From), to: int64(cfg.To), shares: map[string]*share{}, classes: map[[2]float64]string{}}
	if s.to == 0 {
		s.to = math.MaxInt64
	}
	if cfg.Bound {
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
	}
	if cfg.Rebalancer != nil {
		if cfg.RebalanceEvery == 0 {
			cfg.RebalanceEvery = 10 * time.Minute
		}
		s.events.push(int64(cfg.RebalanceEvery), evRebalance, 0, 0)
	}
	if cfg.Window <= 0 {
		cfg.Window = 100
	}
	s.res.Strategy = cfg.Strategy.Name()
	return s, nil
}

// node returns the configuration of server i.
func (s *simulation) node(i int) *Node { return &s.cfg.Nodes[s.cluster.Original(i)] }

// loop takes arrivals and events in the order of time.
func (s *simulation) loop(next func() (Job, error, bool)) error {
	job, err, more := next()
	var last time.Duration
	for n := 0; ; n++ {
		if n&0xfff == 0 {
			if err := s.ctx.Err(); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		at := int64(math.MaxInt64)
		if more {
			if err := job.Validate(); err != nil {
				return err
			}
			if job.Arrival < last {
				return fmt.Errorf("%w: job %q arrives at %v, after one at %v", ErrOrder, job.Name, job.Arrival, last)
			}
			at = int64(job.Arrival)
		}
		if len(s.events.events) > 0 && s.events.events[0].at <= at && (more || s.busy() || s.to != math.MaxInt64) {
			e := s.events.pop()
			if e.at >= s.to {
				s.advance(s.to)
				return nil
			}
			s.advance(e.at)
			s.res.Events++
			if err := s.handle(e); err != nil {
				return err
			}
			continue
		}
		if !more {
			s.advance(min(s.to, s.now)) // nothing is left to happen
			if s.to != math.MaxInt64 {
				s.advance(s.to)
			}
			return nil
		}
		if at >= s.to {
			s.advance(s.to)
			return nil
		}
		// All that arrives at one instant is decided together.
		s.advance(at)
		fresh := len(s.pending)
		for more && err == nil && int64(job.Arrival) == at {
			if err := job.Validate(); err != nil {
				return err
			}
			last = job.Arrival
			s.res.Events++
			s.arrive(job)
			job, err, more = next()
		}
		if s.cfg.Every > 0 {
			s.tick()
		} else if err := s.plan(fresh, len(s.pending)); err != nil {
			return err
		}
	}
}

// busy tells whether jobs are left; otherwise only the clockwork of samples is.
func (s *simulation) busy() bool { return s.liveN > 0 }

// advance moves the clock and pays for the time between.
func (s *simulation) advance(at int64) {
	if at <= s.now {
		return
	}
	if s.cfg.Trace > 0 {
		for s.nextTrace <= at {
			s.sampleSeries()
			s.nextTrace += int64(s.cfg.Trace)
		}
	}
	a, b := max(s.now, s.from), min(at, s.to)
	if b > a {
		dt := float64(b-a) / 1e9
		s.energy += s.facility() * dt
		for k := range s.sites {
			s.sites[k].pay(a, b)
		}
		if s.bound != nil {
			s.boundJ += s.leastWatts() * dt
		}
	}
	s.now = at
}

// facility is the power of all servers with the answer of the room to it.
func (s *simulation) facility() float64 {
	w := s.total
	if len(s.sites) > 0 {
		w = 0
		for k := range s.sites {
			w += s.sites[k].watts * s.sites[k].pue
		}
		return w
	}
	if in := s.cfg.Inlet; in != nil {
		// w = total·(1 + k·(base + r·w − reference)), solved for w.
		k := in.Coefficient
		d := 1 - k*in.PerKilowatt/1000*s.total
		w = s.total * (1 + k*float64(in.Base-in.Reference)) / max(d, 0.1)
		w = max(w, 0)
	}
	if s.cfg.PUE > 0 {
		w *= s.cfg.PUE
	}
	return w
}

func (s *simulation) leastWatts() float64 {
	if s.stale {
		s.boundWatts = float64(s.bound.At(s.load))
		s.stale = false
	}
	if len(s.sites) > 0 {
		return s.boundWatts * leastPUE(s.sites)
	}
	if s.cfg.Inlet == nil && s.cfg.PUE == 0 {
		return s.boundWatts
	}
	keep := s.total
	s.total = s.boundWatts
	w := s.facility()
	s.total = keep
	return w
}

// setPower brings a server's power up to date with its state and use.
func (s *simulation) setPower(i int) {
	v := &s.servers[i]
	n := s.node(i)
	var w float64
	switch v.state {
	case isOn:
		w = float64(v.curve.At(v.use / v.work))
	case isOff:
		w = float64(n.OffPower)
	case isSuspended:
		w = float64(n.Suspend.Power)
	case isBooting:
		if w = float64(n.WakeWatts); w == 0 {
			w = float64(v.curve.Idle())
		}
	}
	if !(v.work > 0) && v.state == isOn {
		w = float64(v.curve.Idle())
	}
	s.total += w - v.watts
	if v.site >= 0 {
		s.sites[v.site].watts += w - v.watts
	}
	v.watts = w
	if s.updates++; s.updates&0xffff == 0 { // wash out the rounding of many small steps
		s.total = 0
		for k := range s.sites {
			s.sites[k].watts = 0
		}
		for k := range s.servers {
			s.total += s.servers[k].watts
			if n := s.servers[k].site; n >= 0 {
				s.sites[n].watts += s.servers[k].watts
			}
		}
	}
}

// settle books what a server has drawn since its last change.
func (s *simulation) settle(i int) {
	v := &s.servers[i]
	if dt := float64(s.now-v.since) / 1e9; dt > 0 && v.use > 0 {
		v.perWork += v.watts / v.use * dt
	}
	a, b := max(v.since, s.from), min(s.now, s.to)
	if b > a {
		dt := float64(b-a) / 1e9
		v.joules += v.watts * dt
		if v.work > 0 {
			v.useTime += v.use / v.work * dt
		}
		if v.state == isOn || v.state == isBooting {
			v.onTime += dt
		}
	}
	v.since = s.now
}
