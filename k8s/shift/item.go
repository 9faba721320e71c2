package shift

import (
	"fmt"
	"math"
	"strconv"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// item is a piece of work that waits.
type item struct {
	kind     string
	object   client.Object
	policy   Policy
	zone     string
	cores    float64
	duration time.Duration
	watts    float64
	latest   time.Time // the latest start
	promised time.Time // the latest start as the object says it; zero: it does not
	began    time.Time // of what was released and may still run; zero is unknown
	written  bool      // latest is promised
	bad      error     // an annotation that cannot be read: the work is released

	// release changes the object so that the work may start.
	release func(o client.Object)
	status  bool // the change is of the object's status
}

// kWh is what the work is expected to draw, at the building's meter.
func (i *item) kWh() float64 { return i.watts / 1000 * i.duration.Hours() * i.policy.PUE }

func (i *item) String() string {
	return fmt.Sprintf("%s %s/%s", i.kind, i.object.GetNamespace(), i.object.GetName())
}

// newItem reads what an object tells of its work. Annotations of inner, such as a pod template's, count where the object has none.
func newItem(kind string, o client.Object, policy Policy, cores float64, limit time.Duration, inner map[string]string) *item {
	i := &item{kind: kind, object: o, policy: policy, zone: policy.Zone, cores: cores, duration: policy.Duration.Duration}
	told := func(name string) (string, bool) {
		if v, ok := o.GetAnnotations()[name]; ok {
			return v, true
		}
		v, ok := inner[name]
		return v, ok
	}
	if limit > 0 {
		i.duration = limit
	}
	if v, ok := told(ZoneAnnotation); ok {
		if i.zone = v; len(v) > 64 { // it is told in events
			i.zone, i.bad = policy.Zone, fmt.Errorf("annotation %s is %.40q…: want the name of a zone, of at most 64 bytes", ZoneAnnotation, v)
		}
	}
	const longest = 365 * 24 * time.Hour
	if v, ok := told(DurationAnnotation); ok {
		if d, err := time.ParseDuration(v); err == nil && d > 0 && d <= longest {
			i.duration = d
		} else {
			i.bad = fmt.Errorf("annotation %s is %.40q: want a duration such as 90m", DurationAnnotation, v)
		}
	}
	i.watts = cores * policy.WattsPerCore
	if v, ok := told(WattsAnnotation); ok {
		if w, err := strconv.ParseFloat(v, 64); err == nil && w >= 0 && w < 1e9 {
			i.watts = w
		} else {
			i.bad = fmt.Errorf("annotation %s is %.40q: want watts", WattsAnnotation, v)
		}
	}
	created := o.GetCreationTimestamp().Time
	i.latest = created.Add(policy.MaxDelay.Duration)
	asked := false // the object itself says when
	if v, ok := told(MaxDelayAnnotation); ok {
		if d, err := time.ParseDuration(v); err == nil && d >= 0 && d <= longest {
			i.latest, asked = created.Add(d), true
		} else {
			i.bad = fmt.Errorf("annotation %s is %.40q: want a duration such as 6h", MaxDelayAnnotation, v)
		}
	}
	if v, ok := told(DeadlineAnnotation); ok {
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			i.latest = t.Add(-time.Duration(math.Min(float64(i.duration)*policy.Margin, float64(math.MaxInt64)/2)))
			asked = true
		} else {
			i.bad = fmt.Errorf("annotation %s is %.40q: want RFC 3339", DeadlineAnnotation, v)
		}
	}
	if v, ok := o.GetAnnotations()[ReleaseByAnnotation]; ok {
		if t, err := time.Parse(time.RFC3339, v); err == nil {
			i.promised = t
			if i.written = !asked || !i.latest.Before(t); i.written {
				i.latest = t // what was promised holds, even if a policy has changed since
			}
		} else {
			i.bad = fmt.Errorf("annotation %s is %.40q: want RFC 3339", ReleaseByAnnotation, v)
		}
	}
	return i
}

// requests returns the cores that a pod requests.
func requests(s *v1.PodSpec) float64 {
	if s.Resources != nil {
		if q, ok := s.Resources.Requests[v1.ResourceCPU]; ok {
			return q.AsApproximateFloat64()
		}
	}
	sum, first := 0.0, 0.0
	for i := range s.Containers {
		sum += s.Containers[i].Resources.Requests.Cpu().AsApproximateFloat64()
	}
	for i := range s.InitContainers {
		c := &s.InitContainers[i]
		cores := c.Resources.Requests.Cpu().AsApproximateFloat64()
		if c.RestartPolicy != nil && *c.RestartPolicy == v1.ContainerRestartPolicyAlways {
			sum += cores // a sidecar
		} else {
			first = max(first, cores)
		}
	}
	return max(sum, first)
}
