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
	"text/tabwriter"
	"time"

	"github.com/leastwatt/leastwatt/examples/internal/gridsource"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring/batch/spacetime"
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

// demoJobs are drawn at random: half an hour to five hours of 2 to 16 cores, submitted within half a day, with half a day to a
// day and a half of slack.
func demoJobs(n int) (jobs []wireJob, submit []time.Duration) {
	rnd := rand.New(rand.NewPCG(11, 1))
	for i := range n {
		at := time.Duration(rnd.Float64() * float64(12*time.Hour))
		d := time.Duration((0.5 + 4.5*rnd.Float64()*rnd.Float64()) * float64(time.Hour)).Truncate(time.Minute)
		slack := time.Duration((12 + 24*rnd.Float64()) * float64(time.Hour))
		jobs = append(jobs, wireJob{ID: fmt.Sprintf("job-%03d", i+1), CPU: float64(int(2) << rnd.IntN(4)), MemoryGiB: 4, Seconds: d.Seconds(), Tag: "demo",
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
	jobs, submit := demoJobs(o.demoJobs)
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

// A summary is what the demonstration prints.
type summary struct {
	Strategy     string  `json:"strategy"`
	Jobs         int     `json:"jobs"`
	Done         int     `json:"done"`        // fewer if the time was over before
	Late         int     `json:"late"`        // ended after their deadline
	Grams        float64 `json:"carbonGrams"` // by the intensities that came
	AtOnceGrams  float64 `json:"atOnceGrams"` // everything at once, where it draws the least
	OracleGrams  float64 `json:"oracleGrams"` // the same planner, all jobs and all intensities known beforehand
	OracleShare  float64 `json:"oracleShare"` // of the saving; NaN is never printed
	Status       Status  `json:"status"`
	MeanHeldSecs float64 `json:"meanHeldSeconds"`
}

// compare works out what would have been emitted without holding anything back, and by an oracle.
func (s *summary) compare(done []*Job, o *options, truth *grid.Series) error {
	f, err := newFleet(context.Background(), o.machines, o.places)
	if err != nil {
		return err
	}
	const slot = 15 * time.Minute
	const slots = 7 * 24 * 4
	p := spacetime.Problem{Sites: f.capacity(demoStart, slot, slots)}
	real := make([][]float64, len(p.Sites))
	for k := range p.Sites {
		ps, err := truth.Forecast(context.Background(), f.sites[k].Zone, demoStart, demoStart.Add(slots*slot))
		if err != nil {
			return err
		}
		o := &Outlook{Points: [][]grid.Point{ps}}
		real[k] = make([]float64, slots)
		for t := range slots {
			from := demoStart.Add(time.Duration(t) * slot)
			real[k][t] = o.mean(0, from, from.Add(slot)) * f.sites[k].factor()
		}
	}
	for _, j := range done {
		length := int((j.Duration + slot - 1) / slot)
		x := spacetime.Job{Name: j.ID, Size: j.CPU, Length: length, Earliest: int(j.Submitted.Sub(demoStart) / slot), Latest: int(j.latest(1.2, 0).Sub(demoStart) / slot), Energy: make([]float64, len(p.Sites))}
		for k := range p.Sites {
			x.Energy[k] = f.leastWatts(k, j) / 1000 * j.Duration.Hours() / float64(length)
		}
		p.Jobs = append(p.Jobs, x)
		if !math.IsNaN(j.Grams) {
			s.Grams += j.Grams
		}
		s.MeanHeldSecs += j.Started.Sub(j.Submitted).Seconds() / float64(len(done))
		if j.Ended.After(j.Deadline) {
			s.Late++
		}
	}
	solve := func(atOnce bool) (float64, error) {
		q := spacetime.Problem{Sites: slices.Clone(p.Sites), Jobs: slices.Clone(p.Jobs)}
		for k := range q.Sites {
			q.Sites[k].Cost = real[k]
			if atOnce { // knows nothing of the grid
				q.Sites[k].Cost = slices.Repeat([]float64{f.sites[k].factor()}, slots)
			}
		}
		for i := range q.Jobs {
			if atOnce {
				q.Jobs[i].Latest = q.Jobs[i].Earliest
			}
		}
		plan, err := spacetime.Solve(q)
		if err != nil {
			return 0, err
		}
		sum := 0.0
		for i, x := range plan.Placements {
			for t := x.Start; t < x.Start+q.Jobs[i].Length; t++ {
				sum += q.Jobs[i].Energy[x.Site] * real[x.Site][t]
			}
		}
		return sum, nil
	}
	if len(done) == 0 {
		return nil
	}
	if s.AtOnceGrams, err = solve(true); err != nil {
		return err
	}
	if s.OracleGrams, err = solve(false); err != nil {
		return err
	}
	if d := s.AtOnceGrams - s.OracleGrams; d > 0 {
		s.OracleShare = (s.AtOnceGrams - s.Grams) / d
	}
	return nil
}

func (s *summary) print(out io.Writer) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "node\tjobs\tenergy kWh\tmeasured kWh\tcarbon kg\tmean g/kWh\tturnaround\t")
	measured := make(map[string]float64)
	for _, n := range s.Status.Nodes {
		measured[n.Name] = n.KWh
	}
	for _, k := range s.Status.ByNode {
		intensity := "?"
		if k.Intensity != nil {
			intensity = fmt.Sprintf("%.0f", *k.Intensity)
		}
		fmt.Fprintf(w, "%s\t%d\t%.2f\t%.2f\t%.2f\t%s\t%v\t\n", k.Node, k.Jobs, k.KWh, measured[k.Node], k.Grams/1000, intensity, time.Duration(k.Turnaround*float64(time.Second)).Round(time.Minute))
	}
	if err := w.Flush(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(out, "%d of %d jobs done, %d after their deadline, held %v in the mean\ncarbon %.2f kg; everything at once %.2f kg; perfect forecast %.2f kg: %.0f %% of the possible saving reached\n",
		s.Done, s.Jobs, s.Late, time.Duration(s.MeanHeldSecs*float64(time.Second)).Round(time.Minute), s.Grams/1000, s.AtOnceGrams/1000, s.OracleGrams/1000, 100*s.OracleShare)
	return err
}
