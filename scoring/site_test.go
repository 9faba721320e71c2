package scoring_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// readings are what a test says they are.
type readings struct {
	mu    sync.Mutex
	nodes []string
	load  float64
	fail  chan error
}

func (r *readings) SetNodes(nodes []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.nodes = nodes
}

func (r *readings) Snapshot() *sensors.Snapshot {
	r.mu.Lock()
	defer r.mu.Unlock()
	m := make(map[string]*sensors.NodeReadings)
	for _, n := range r.nodes {
		m[n] = &sensors.NodeReadings{Node: n, Readings: []sensors.Reading{{Kind: sensors.CPUUtilization, Value: r.load, At: time.Now(), Source: "test"}}}
	}
	return sensors.NewSnapshot(time.Now(), m)
}

func (r *readings) Run(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case err := <-r.fail:
		return err
	}
}

func bindLinear(m scoring.Machine) (scoring.Spec, error) {
	if m.Labels["odd"] != "" {
		return scoring.Spec{}, errors.New("nobody knows it")
	}
	return scoring.Spec{Predictor: power.Linear{Idle: 50, Peak: 150}, Model: "line"}, nil
}

func TestSiteFollowsItsMachines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := &readings{load: 0.25}
		s := scoring.NewSite(r, bindLinear, scoring.SiteOptions{Refresh: time.Minute})
		s.Put(scoring.Machine{Name: "b", Cores: 8, Address: "10.0.0.2"})
		var failed error
		var wg sync.WaitGroup
		wg.Go(func() { failed = s.Run(ctx) })
		synctest.Wait()
		time.Sleep(time.Second)
		if n := s.View().Node("b"); n == nil || n.Err != nil || n.Capacity.Cores != 8 || n.State.Utilization != 0.25 {
			t.Errorf("b is %+v", n)
		}
		if m, ok := s.Machine("b"); !ok || m.Address != "10.0.0.2" {
			t.Errorf("machine b is %+v, %v", m, ok)
		}
		s.Put(scoring.Machine{Name: "a", Cores: 4, Labels: map[string]string{"odd": "yes"}})
		s.Put(scoring.Machine{Name: "c", Cores: 4})
		time.Sleep(time.Second) // far less than the refresh
		var names []string
		for n := range s.View().All {
			if i := s.View().Index(n.Name); &s.View().Nodes()[i] != n || s.View().Node(n.Name) != n {
				t.Errorf("%s is not at its index, %d", n.Name, i)
			}
			names = append(names, n.Name)
		}
		if !slices.Equal(names, []string{"a", "b", "c"}) {
			t.Errorf("nodes are %v", names)
		}
		if err := s.View().Node("a").Err; err == nil || !strings.Contains(err.Error(), "nobody knows it") {
			t.Errorf("a fails with %v", err)
		}
		s.Remove("b")
		time.Sleep(time.Second)
		if s.View().Node("b") != nil || s.View().Index("b") != -1 || s.View().Len() != 2 {
			t.Errorf("b is still there")
		}
		cancel()
		wg.Wait()
		if failed != nil {
			t.Errorf("Run ended with %v", failed)
		}
	})
}

// A site whose readings end by themselves says so, and does not go on with a view that grows old.
func TestSiteEndsWithItsReadings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, cause := range []error{errors.New("out of files"), nil} {
			r := &readings{fail: make(chan error, 1)}
			r.fail <- cause
			s := scoring.NewSite(r, bindLinear, scoring.SiteOptions{})
			if err := s.Run(t.Context()); err == nil || cause != nil && !errors.Is(err, cause) {
				t.Errorf("readings ended with %v, Run with %v", cause, err)
			}
		}
	})
}

func ExampleSite() {
	bmc := sensors.SourceFunc(func(_ context.Context, node string) ([]sensors.Reading, error) {
		return []sensors.Reading{{Kind: sensors.CPUUtilization, Value: 0.5, At: time.Now(), Source: "bmc"}}, nil
	})
	site := scoring.NewSite(sensors.NewPoller(bmc, nil, sensors.PollerOptions{}), bindLinear, scoring.SiteOptions{})
	site.Put(scoring.Machine{Name: "n1", Cores: 32})
	// While site.Run runs, its view holds n1 at half load.
	m, ok := site.Machine("n1")
	fmt.Println(m.Cores, ok, site.View().Len())
	// Output: 32 true 0
}
