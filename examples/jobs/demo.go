package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/examples/internal/gridsource"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// demoStart is when the demonstration's clock begins: a Monday.
var demoStart = time.Date(2024, 6, 3, 6, 0, 0, 0, time.UTC)

// demoGrid makes up the intensity of three zones, hour by hour, for two months before the start and eight days after: a day's rhythm with
// its own noise and weather of some days. What is forecast is only what the past tells.
func demoGrid(now func() time.Time) (*grid.Series, error) {
	var points []grid.Point
	for z, zone := range []struct {
		name        string
		mean, swing float64
		dip         float64 // hour of the day, UTC
	}{{"solar", 320, 170, 12}, {"wind", 260, 60, 3}, {"coal", 620, 50, 13}} {
		rnd := rand.New(rand.NewPCG(7, uint64(z)))
		weather, noise := 0.0, 0.0
		for h := -60 * 24; h < 8*24; h++ {
			at := demoStart.Add(time.Duration(h) * time.Hour)
			weather = 0.98*weather + 0.2*rnd.NormFloat64()
			noise = 0.7*noise + rnd.NormFloat64()
			v := zone.mean - zone.swing*math.Cos(2*math.Pi*(float64(at.Hour())-zone.dip)/24) + zone.mean*(0.12*weather+0.02*noise)
			points = append(points, grid.Point{Zone: zone.name, Signal: grid.AverageLifeCycle, Start: at, End: at.Add(time.Hour), Value: max(20, v), Source: "made up"})
		}
	}
	return grid.NewSeries(grid.AverageLifeCycle, points, now)
}

// demoMachines are four servers at each of three sites, of three generations.
func demoMachines() ([]Machine, []Site, error) {
	sites := []Site{{Name: "solar", Zone: "solar", PUE: 1.2}, {Name: "wind", Zone: "wind", PUE: 1.35}, {Name: "coal", Zone: "coal", PUE: 1.1}}
	var list []Machine
	for _, s := range sites {
		for i, curve := range [][]power.Watts{{110, 190, 250, 330}, {95, 180, 260, 385}, {60, 150, 240, 300}, {180, 260, 340, 420}} {
			c, err := power.EvenPiecewise(curve...)
			if err != nil {
				return nil, nil, err
			}
			list = append(list, Machine{Name: fmt.Sprintf("%s-%d", s.Name, i+1), Site: s.Name, Cores: 32, Memory: 128 << 30, Curve: c})
		}
	}
	return list, sites, nil
}

// demoJobs are drawn at random: half an hour to the longest of 2 to 16 cores, submitted within half a day, with half a day to a
// day and a half of slack.
func demoJobs(n int, longest time.Duration, suspendable bool) (jobs []wireJob, submit []time.Duration) {
	rnd := rand.New(rand.NewPCG(11, 1))
	for i := range n {
		at := time.Duration(rnd.Float64() * float64(12*time.Hour))
		d := time.Duration((0.5 + (longest.Hours()-0.5)*rnd.Float64()*rnd.Float64()) * float64(time.Hour)).Truncate(time.Minute)
		slack := time.Duration((12 + 24*rnd.Float64()) * float64(time.Hour))
		jobs = append(jobs, wireJob{ID: fmt.Sprintf("job-%03d", i+1), CPU: float64(int(2) << rnd.IntN(4)), MemoryGiB: 4, Seconds: d.Seconds(), Tag: "demo", Suspend: suspendable,
			Deadline: new(demoStart.Add(at + slack + time.Duration(1.2*float64(d))).Truncate(time.Second))})
		submit = append(submit, at)
	}
	slices.Sort(submit)
	return jobs, submit
}

// demo runs the whole service on a clock that runs fast, hands it jobs over HTTP, and prints what became of them.
func demo(ctx context.Context, o *options, out io.Writer, log *slog.Logger) error {
	if !(o.speed >= 1 && o.speed <= 100_000) || o.demoJobs < 1 || o.demoJobs > 5000 {
		return fmt.Errorf("-speed %v, -jobs %d: want 1 to 100000, and 1 to 5000", o.speed, o.demoJobs)
	}
	if o.longest = cmp.Or(o.longest, 5*time.Hour); o.longest < time.Hour || o.longest > 24*time.Hour {
		return fmt.Errorf("-longest %v: want 1h to 24h", o.longest)
	}
	began := time.Now()
	o.now = func() time.Time { return demoStart.Add(time.Duration(float64(time.Since(began)) * o.speed)) }
	truth, err := demoGrid(o.now)
	if err != nil {
		return err
	}
	feed, err := gridsource.Over(gridsource.Honest{HistorySource: truth}, gridsource.Options{Zones: truth.Zones(), Now: o.now, Logger: log})
	if err != nil {
		return err
	}
	o.source, o.strategy = feed, cmp.Or(o.strategy, SpaceTime)
	if err := feed.Refresh(ctx); err != nil {
		return err
	}
	began = time.Now() // the models have learned; before the first decision
	if o.machines, o.places, err = demoMachines(); err != nil {
		return err
	}
	if o.data, err = os.MkdirTemp("", "leastwatt-jobs-"); err != nil {
		return err
	}
	defer os.RemoveAll(o.data)
	virtual := func(d time.Duration) time.Duration {
		return max(time.Duration(float64(d)/o.speed), 20*time.Millisecond)
	}
	o.tick, o.lookEvery, o.scrapeEvery = virtual(time.Minute), virtual(30*time.Minute), virtual(10*time.Minute)
	live, stop, err := demoExporters(o)
	if err != nil {
		return err
	}
	defer stop()
	o.listen = "127.0.0.1:0"
	var url string
	o.listening = func(u string) {
		url = u
		if !o.asJSON {
			fmt.Fprintf(out, "page: %s\n%d emulated nodes at 3 sites, clock ×%g, strategy %s\n", u, len(o.machines), o.speed, o.strategy)
		}
	}
	jobs, submit := demoJobs(o.demoJobs, o.longest, o.suspendable)
	sum := summary{Strategy: o.strategy, Jobs: len(jobs)}
	o.during = func(ctx context.Context, e *Engine) error {
		live.set(e)
		for i, at := range submit {
			if sleep(ctx, time.Duration(float64(at)/o.speed)-time.Since(began)) != nil {
				break // the time is over
			}
			if err := post(ctx, url+"/jobs", jobs[i]); err != nil && ctx.Err() == nil {
				return err
			}
		}
		for {
			s := e.status()
			if s.Done+s.Failed == len(jobs) || sleep(ctx, 50*time.Millisecond) != nil {
				break
			}
		}
		done, err := e.store.List(context.WithoutCancel(ctx), Done, "", len(jobs))
		if err != nil {
			return err
		}
		sum.Done = len(done)
		sum.Status = e.status()
		return sum.compare(done, o, truth)
	}
	if err := run(ctx, o, out, log); err != nil {
		return err
	}
	if o.asJSON {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(sum)
	}
	return sum.print(out)
}

func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(max(d, 0)):
		return nil
	}
}

func post(ctx context.Context, url string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1000))
		return fmt.Errorf("%s: %s: %s", url, resp.Status, text)
	}
	return nil
}

// liveEngine is the engine that the emulated exporters ask what their node does.
type liveEngine struct {
	mu sync.Mutex
	e  *Engine // guarded by mu; nil before the service runs
}

func (l *liveEngine) set(e *Engine) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.e = e
}

// demoExporters emulates Scaphandre on every node: it measures what the node's curve says of the jobs on it.
func demoExporters(o *options) (*liveEngine, func(), error) {
	l := &liveEngine{}
	o.endpoints = make(map[string]scaphandre.Endpoint)
	var servers []io.Closer
	stop := func() {
		for _, s := range servers {
			_ = s.Close()
		}
	}
	for i := range o.machines {
		m := &o.machines[i]
		s, err := emulate.Listen(nil, emulate.NewScaphandre(func() emulate.Machine {
			x := emulate.Blank()
			l.mu.Lock()
			defer l.mu.Unlock()
			u := 0.0
			if l.e != nil {
				l.e.mu.Lock()
				u = l.e.fleet.use(i) / m.Cores
				l.e.mu.Unlock()
			}
			x.CPUWatts, x.DRAMWatts = float64(m.Curve.At(u)), 0
			return x
		}, emulate.ExporterOptions{}))
		if err != nil {
			stop()
			return nil, nil, err
		}
		servers = append(servers, s)
		o.endpoints[m.Name] = scaphandre.Endpoint{URL: s.URL + "/metrics"}
	}
	return l, stop, nil
}
