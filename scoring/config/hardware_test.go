package config

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/sensors"
)

// Which model a machine has can go by its labels, by what its label says of its hardware, and by what its BMC says.
func TestModelsByHardwareAndSelector(t *testing.T) {
	c := parse(t, "", `models:
- {name: west, kind: linear, idleWatts: 1, peakWatts: 2, selector: "zone in (west, southwest), !old"}
- {name: r7, kind: linear, idleWatts: 1, peakWatts: 2, hardware: "PowerEdge R7*"}
- {name: exact, kind: linear, idleWatts: 1, peakWatts: 2, hardware: ProLiant DL360 Gen10}
- {name: epyc, kind: linear, idleWatts: 1, peakWatts: 2, hardware: "*EPYC 77*"}
- {name: table, kind: published}
- {name: rest, kind: prior}`)
	for _, x := range []struct {
		labels map[string]string
		told   sensors.Hardware
		want   string
	}{
		{map[string]string{"zone": "west"}, sensors.Hardware{}, "west"},
		{map[string]string{"zone": "west", "old": ""}, sensors.Hardware{}, "rest: "},
		{map[string]string{HardwareLabel: "poweredge_r750"}, sensors.Hardware{}, "r7"},
		{nil, sensors.Hardware{System: "HPE ProLiant DL360 Gen10"}, "exact"},
		{nil, sensors.Hardware{System: "HPE ProLiant DL360 Gen10 Plus"}, "rest: "},
		{nil, sensors.Hardware{System: "Made-up", CPU: "AMD EPYC 7763 64-Core Processor"}, "epyc"},
		{nil, sensors.Hardware{System: "Dell Inc. PowerEdge R6515"}, "table: Dell PowerEdge R6515"},
		{map[string]string{HardwareLabel: "Dell_PowerEdge_R610"}, sensors.Hardware{System: "Dell Inc. PowerEdge R6515"}, "table: Dell PowerEdge R610"},
	} {
		s, err := c.Bind(scoring.Machine{Name: "n", Cores: 8, Labels: x.labels, Hardware: x.told})
		if err != nil || !strings.HasPrefix(s.Model, x.want) {
			t.Errorf("%v %+v has %q, %v: want %q", x.labels, x.told, s.Model, err, x.want)
		}
	}
}

// What a BMC tells brings a prior closer, as a label would.
func TestPriorByWhatTheBMCTells(t *testing.T) {
	s, err := power.FindServer("Dell PowerEdge R740")
	if err != nil {
		t.Fatal(err)
	}
	c := parse(t, "", "models: [{name: guess, kind: prior}]")
	width := func(h sensors.Hardware) power.Watts {
		t.Helper()
		spec, err := c.Bind(scoring.Machine{Name: "n", Hardware: h})
		if err != nil {
			t.Fatal(err)
		}
		in, err := power.PredictInterval(t.Context(), spec.Predictor, power.State{Utilization: 0.5}, 0.9)
		if err != nil || s.Watts[5] < in.Low || s.Watts[5] > in.High {
			t.Errorf("%+v: %v W is not within %v, %v", h, s.Watts[5], in, err)
		}
		return in.High / in.Low
	}
	nothing, cpu := width(sensors.Hardware{}), width(sensors.Hardware{CPU: s.CPU, Chips: s.Chips, Cores: s.Cores, Threads: s.Threads})
	system := width(sensors.Hardware{System: "Dell Inc. PowerEdge R740", CPU: s.CPU, Chips: s.Chips, Cores: s.Cores, Threads: s.Threads, MemoryGB: s.MemoryGB})
	if !(system <= cpu && cpu < nothing/2) {
		t.Errorf("the interval spans a factor of %.2f by system, %.2f by CPU, %.2f by nothing", system, cpu, nothing)
	}
}

// Bindings say which model of a folder a machine has, before names do.
func TestBindings(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"n1", "big", "epyc"} {
		if err := model.WriteFile(filepath.Join(dir, name+".json"), &model.Model{Name: name, Form: power.Linear{Idle: 50, Peak: 150}}); err != nil {
			t.Fatal(err)
		}
	}
	c := parse(t, dir, `models:
- name: m
  kind: file
  file: .
  bindings: [{model: big, node: n2}, {model: big, selector: "size=big"}, {model: epyc, hardware: "*EPYC*"}]
- {name: rest, kind: prior}`)
	for _, x := range []struct {
		m    scoring.Machine
		want string
	}{
		{scoring.Machine{Name: "n1"}, "m: n1"},
		{scoring.Machine{Name: "n1", Labels: map[string]string{"size": "big"}}, "m: big"},
		{scoring.Machine{Name: "n2"}, "m: big"},
		{scoring.Machine{Name: "n3", Hardware: sensors.Hardware{CPU: "AMD EPYC 7763"}}, "m: epyc"},
		{scoring.Machine{Name: "n4"}, "rest: "},
	} {
		if s, err := c.Bind(x.m); err != nil || !strings.HasPrefix(s.Model, x.want) {
			t.Errorf("%+v has %q, %v: want %q", x.m, s.Model, err, x.want)
		}
	}
	for _, x := range []struct{ yaml, want string }{
		{"file: ., bindings: [{model: nobody, node: a}]", `models[0].bindings: [0]: the folder has no model "nobody"; it has big, epyc, n1`},
		{"file: ., bindings: [{model: big}]", "models[0].bindings: binding 0: give exactly one"},
		{"file: big.json, bindings: [{model: big, node: a}]", "models[0].bindings: are for a folder"},
		{"file: ., selector: 'a in b'", "models[0].selector: label selector"},
	} {
		if _, err := Parse(filepath.Join(dir, "site.yaml"), []byte("models: [{kind: file, "+x.yaml+"}]")); err == nil || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: error is %v", x.yaml, err)
		}
	}
}

// In a running site, BMCs are asked in the background, a few at once and not again before tomorrow; one that hangs or
// fails keeps its machine at the statistics, and no decision waits. What was learned before is not lost.
func TestSiteAsksForHardware(t *testing.T) {
	for _, learns := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			c := parse(t, "", fmt.Sprintf("models: [{name: guess, kind: prior, learn: %v}]", learns))
			l, err := newLive(c, new(SiteOptions))
			if err != nil {
				t.Fatal(err)
			}
			l.readings = &table{}
			l.site = scoring.NewSite(l, l.bind, scoring.SiteOptions{})
			var asked, now, most atomic.Int64
			l.hardware.ask = func(ctx context.Context, node string) (sensors.Hardware, error) {
				most.Store(max(most.Load(), now.Add(1)))
				defer now.Add(-1)
				switch node {
				case "hangs":
					<-ctx.Done()
					return sensors.Hardware{}, &sensors.Error{Err: sensors.ErrUnreachable}
				case "silent":
					return sensors.Hardware{}, &sensors.Error{Err: sensors.ErrNoReading}
				}
				asked.Add(1)
				time.Sleep(time.Second)
				return sensors.Hardware{System: "Dell Inc. PowerEdge R740"}, nil
			}
			l.site.Put(scoring.Machine{Name: "hangs", Cores: 8})
			l.site.Put(scoring.Machine{Name: "silent", Cores: 8})
			for i := range 40 {
				l.site.Put(scoring.Machine{Name: fmt.Sprint(i), Cores: 8})
			}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			wg.Go(func() {
				if err := l.site.Run(ctx); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(20 * time.Second)
			synctest.Wait()
			for _, n := range []string{"0", "39", "hangs", "silent"} {
				x := l.site.View().Node(n)
				if x.Err != nil {
					t.Fatalf("%s: %v", n, x.Err)
				}
				b := x.Model
				if learns { // which says only that it has learned
					m, ok := l.machine(n)
					spec, err := l.config.Bind(m)
					if err != nil || !ok {
						t.Fatal(err)
					}
					b = spec.Model
				}
				if known := n == "0" || n == "39"; strings.Contains(b, "same system") != known {
					t.Errorf("learn %v: %s goes by %q", learns, n, b)
				}
			}
			if learns {
				for _, n := range l.learners { // the day that follows is for the other case
					if s, _ := n.learn.Status("0"); s.Readings < 3 || s.Readings > 5 {
						t.Errorf("%d readings were taken in: want those from before too", s.Readings)
					}
				}
			}
			if m := most.Load(); m > errandsAtOnce {
				t.Errorf("%d BMCs were asked at once", m)
			}
			if learns {
				cancel()
				wg.Wait()
				return
			}
			first := asked.Load()
			time.Sleep(23 * time.Hour)
			if n := asked.Load(); n != first || n != 40 {
				t.Errorf("%d questions on the first day, %d later: want 40 and no more", first, n)
			}
			l.site.Remove("0")
			time.Sleep(2 * time.Hour)
			if n := asked.Load(); n != 79 {
				t.Errorf("%d questions on the second day: want 39", n-40)
			}
			if len(l.hardware.known) != 39 {
				t.Errorf("%d machines are remembered", len(l.hardware.known))
			}
			cancel()
			wg.Wait()
		})
	}
}
