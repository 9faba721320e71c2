package endpoints

import (
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/types"

	"github.com/leastwatt/leastwatt/balancing"
)

// A Measurement is what a Service did over the last interval, in the whole cluster.
type Measurement struct {
	Service types.NamespacedName

	// Rates is requests a second by port, as [Options.Rate] names them; "" is a Service's only port. Where only
	// connections are counted, a connection counts as a request, and so does what is learned of its CPU; an
	// annotation must then say the CPU of a connection.
	Rates map[string]float64

	// Cores is the CPU that the Service's endpoints used, in cores of speed 1; nil where that is not known.
	Cores *float64
}

// Learner keeps live request rates, and learns from them and the CPU use of the endpoints what a request costs. Its
// methods Rate and CPU are what [Options] want. The zero value is ready to use, concurrently.
type Learner struct {
	// MaxAge is for how long a rate counts after it was measured; 0 means 5 minutes. What was learned of the CPU stays.
	MaxAge time.Duration

	mu sync.Mutex
	m  map[types.NamespacedName]*learned // guarded by mu
}

type learned struct {
	at          time.Time
	rates       map[string]float64
	cpu         balancing.CPULearner
	n           int
	rate, cores float64 // sums that forget as cpu does
}

// A Learner needs so many measurements before it takes the CPU of all requests together for theirs.
const (
	fewMeasurements = 5
	forgetting      = 0.99 // as CPULearner's default memory of 100 samples
)

// Observe adds what was measured at a time. A measurement that is not finite or negative counts as none.
func (l *Learner) Observe(at time.Time, all []Measurement) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.m == nil {
		l.m = make(map[types.NamespacedName]*learned)
	}
	for _, m := range all {
		sum, ok := 0.0, true
		for _, r := range m.Rates {
			sum += r
			ok = ok && r >= 0 && r <= maxRate
		}
		if !ok || len(m.Rates) == 0 {
			continue
		}
		s := l.m[m.Service]
		if s == nil {
			s = new(learned)
			l.m[m.Service] = s
		}
		s.at, s.rates = at, m.Rates
		if m.Cores != nil && s.cpu.Observe(sum, *m.Cores) == nil {
			s.n++
			s.rate, s.cores = s.rate*forgetting+sum, s.cores*forgetting+*m.Cores
		}
	}
}

// Forget drops what is known of Services that keep says are gone.
func (l *Learner) Forget(keep func(types.NamespacedName) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k := range l.m {
		if !keep(k) {
			delete(l.m, k)
		}
	}
}

// Rate returns a port's requests a second, and false while it is not known or too old.
func (l *Learner) Rate(service types.NamespacedName, port string) (float64, bool) {
	maxAge := l.MaxAge
	if maxAge <= 0 {
		maxAge = 5 * time.Minute
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.m[service]
	if s == nil || time.Since(s.at) > maxAge {
		return 0, false
	}
	r, ok := s.rates[port]
	return r, ok
}

// CPU returns the work of one request in core-seconds, and false while it is not known. All ports of a Service count
// together.
func (l *Learner) CPU(service types.NamespacedName, _ string) (float64, bool) {
	i, ok := l.Interval(service)
	return i.Estimate, ok
}

// Interval returns the work of one request with its bounds. Until the rate has moved enough to tell what a request costs
// from what its endpoints use at rest, it is all the CPU over all requests, which can only be too much; Low is 0 then.
func (l *Learner) Interval(service types.NamespacedName) (balancing.Interval, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := l.m[service]
	if s == nil {
		return balancing.Interval{}, false
	}
	return s.interval()
}

func (s *learned) interval() (balancing.Interval, bool) {
	if i, err := s.cpu.CPU(); err == nil {
		return i, true
	}
	if s.n < fewMeasurements || !(s.rate > 0) || !(s.cores > 0) || s.cores/s.rate > balancing.MaxCPU {
		return balancing.Interval{}, false
	}
	mean := s.cores / s.rate
	return balancing.Interval{Estimate: mean, High: mean}, true
}

var (
	rateDesc = prometheus.NewDesc("leastwatt_service_requests_per_second", "Requests a second of a Service port in the whole cluster, as last measured; new connections where only those are counted.", []string{"namespace", "service", "port"}, nil)
	cpuDesc  = prometheus.NewDesc("leastwatt_service_request_cpu_seconds", "Work of one request as learned: the estimate and its 95 % bounds.", []string{"namespace", "service", "bound"}, nil)
)

// Describe implements prometheus.Collector.
func (l *Learner) Describe(ch chan<- *prometheus.Desc) {
	ch <- rateDesc
	ch <- cpuDesc
}

// Collect implements prometheus.Collector.
func (l *Learner) Collect(ch chan<- prometheus.Metric) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for k, s := range l.m {
		for port, r := range s.rates {
			ch <- prometheus.MustNewConstMetric(rateDesc, prometheus.GaugeValue, r, k.Namespace, k.Name, port)
		}
		if i, ok := s.interval(); ok {
			for bound, v := range map[string]float64{"low": i.Low, "estimate": i.Estimate, "high": i.High} {
				ch <- prometheus.MustNewConstMetric(cpuDesc, prometheus.GaugeValue, v, k.Namespace, k.Name, bound)
			}
		}
	}
}

// A Backend is a pod behind a Service, and its node.
type Backend struct {
	Pod  types.NamespacedName
	Node string
}

// Backends returns the pods behind each Service of the last sync, those that EndpointSlices name, each once: those too
// that policies or hints leave to other nodes.
func (p *Proxier) Backends() map[types.NamespacedName][]Backend {
	s := p.metrics.last.Load()
	if s == nil {
		return nil
	}
	out := make(map[types.NamespacedName][]Backend)
	for i := range s.ports {
		sp := &s.ports[i]
		known := out[sp.key]
		add := func(b Backend) {
			if b.Pod.Name != "" && !slices.Contains(known, b) {
				known = append(known, b)
			}
		}
		for _, e := range sp.endpoints {
			add(Backend{e.pod, e.node})
		}
		for _, b := range sp.others {
			add(b)
		}
		out[sp.key] = known
	}
	return out
}
