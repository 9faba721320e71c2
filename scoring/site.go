package scoring

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
)

// Readings are the measurements that a [Site] joins to its models, read in the background.
type Readings interface {
	// SetNodes says which nodes to read from now on. It is called before Run and while it runs.
	SetNodes(nodes []string)

	// Snapshot returns what the nodes measured last; it may be nil and does not block.
	Snapshot() *sensors.Snapshot

	// Run reads until ctx ends.
	Run(ctx context.Context) error
}

// A SoonReader is Readings that can be told to read nodes before they are due. ReadSoon does not block.
type SoonReader interface {
	Readings
	ReadSoon(nodes ...string)
}

// ReadSoon has nodes read before they are due, where the readings are a [SoonReader], and does nothing where they are not.
func ReadSoon(r Readings, nodes ...string) {
	if s, ok := r.(SoonReader); ok {
		s.ReadSoon(nodes...)
	}
}

// A Machine is a server as the cluster knows it.
type Machine struct {
	Name    string
	Address string // host or IP address, where the cluster knows one
	Labels  map[string]string
	Cores   float64 // as its operating system counts them

	// Hardware is what the machine itself says that it is, for example by its BMC; zero where nobody asked.
	Hardware sensors.Hardware
}

// SiteOptions tune a [Site]. The zero value works.
type SiteOptions struct {
	Fleet FleetOptions

	// Refresh is how often readings and models are joined anew; 0 means two seconds.
	Refresh time.Duration

	// Logger is told what fails in the background; nil discards it.
	Logger *slog.Logger
}

// A Site is the servers of one place while they come and go: it binds a model to each machine that joins,
// has its sensors read, and keeps a [Fleet] refreshed. What decides reads View.
type Site struct {
	readings Readings
	bind     func(Machine) (Spec, error)
	fleet    *Fleet
	refresh  time.Duration
	log      *slog.Logger
	changed  chan struct{}

	putting  sync.Mutex // held while machines are bound, so that none is bound again after it was removed
	mu       sync.Mutex
	machines map[string]Machine // guarded by mu
}

// NewSite returns a site without machines. The function bind tells what is known of a machine; where it
// fails, the machine is unknown for that reason. A capacity without cores is taken from the machine.
func NewSite(r Readings, bind func(Machine) (Spec, error), o SiteOptions) *Site {
	if o.Refresh <= 0 {
		o.Refresh = 2 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return &Site{readings: r, bind: bind, fleet: NewFleet(o.Fleet), refresh: o.Refresh, log: o.Logger,
		changed: make(chan struct{}, 1), machines: make(map[string]Machine)}
}

// Readings returns what the site is read by.
func (s *Site) Readings() Readings { return s.readings }

// Put adds a machine or replaces what is known of it. While Run runs it shows in the view within moments.
func (s *Site) Put(m Machine) {
	s.putting.Lock()
	defer s.putting.Unlock()
	s.put(m)
}

// Rebind binds machines anew: for when what is known of them has changed. Without names, it binds all; names that are
// not of machines are left alone.
func (s *Site) Rebind(names ...string) {
	s.putting.Lock()
	defer s.putting.Unlock()
	var machines []Machine
	s.mu.Lock()
	if len(names) == 0 {
		machines = slices.Collect(maps.Values(s.machines))
	}
	for _, n := range names {
		if m, ok := s.machines[n]; ok {
			machines = append(machines, m)
		}
	}
	s.mu.Unlock()
	for _, m := range machines {
		s.put(m)
	}
}

func (s *Site) put(m Machine) {
	spec, err := s.bind(m)
	if err != nil {
		spec = Spec{Err: err}
	}
	spec.Name = m.Name
	if spec.Capacity.Cores == 0 {
		spec.Capacity.Cores = m.Cores
	}
	s.fleet.Put(spec)
	s.mu.Lock()
	s.machines[m.Name] = m
	s.mu.Unlock()
	s.touch()
}

// Remove forgets a machine.
func (s *Site) Remove(name string) {
	s.putting.Lock()
	defer s.putting.Unlock()
	s.fleet.Remove(name)
	s.mu.Lock()
	delete(s.machines, name)
	s.mu.Unlock()
	s.touch()
}

// Machine returns what was put under a name. Sources of readings ask it for addresses and labels.
func (s *Site) Machine(name string) (Machine, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.machines[name]
	return m, ok
}

// ReadSoon has machines read before they are due, as when what is known of their sensors has changed: see [ReadSoon]. One that has
// just joined is read at once anyway.
func (s *Site) ReadSoon(names ...string) { ReadSoon(s.readings, names...) }

func (s *Site) touch() {
	select {
	case s.changed <- struct{}{}:
	default:
	}
}

// View returns the servers as of the last refresh. It costs one atomic load.
func (s *Site) View() *View { return s.fleet.View() }

// Run reads sensors and refreshes the view until ctx ends, and returns after all it started has ended.
func (s *Site) Run(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.setNodes()
	var wg sync.WaitGroup
	var failed error
	wg.Go(func() {
		defer cancel()
		if err := s.readings.Run(ctx); ctx.Err() == nil {
			failed = fmt.Errorf("sensors are no longer read: %w", cmp.Or(err, errEnded))
		}
	})
	s.loop(ctx)
	cancel()
	wg.Wait()
	return failed
}

var errEnded = errors.New("the readings ended by themselves")

// settle is how long a burst of machines that join is gathered before one refresh.
const settle = 50 * time.Millisecond

func (s *Site) loop(ctx context.Context) {
	tick := time.NewTicker(s.refresh)
	defer tick.Stop()
	for {
		if err := s.fleet.Refresh(ctx, s.readings.Snapshot(), time.Now()); err != nil && ctx.Err() == nil {
			s.log.ErrorContext(ctx, "view not refreshed", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.changed:
			wait := time.NewTimer(settle)
			select {
			case <-ctx.Done():
				wait.Stop()
				return
			case <-wait.C:
			}
			s.setNodes()
		}
	}
}

func (s *Site) setNodes() {
	s.mu.Lock()
	names := slices.Sorted(maps.Keys(s.machines))
	s.mu.Unlock()
	s.readings.SetNodes(names)
}
