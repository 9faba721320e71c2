package learn_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/model"
	"github.com/leastwatt/leastwatt/power/powertest"
	"github.com/leastwatt/leastwatt/power/prior"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/learn"
	"github.com/leastwatt/leastwatt/sensors"
)

var epoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func reading(kind sensors.Kind, v float64, at time.Time) sensors.Reading {
	return sensors.Reading{Kind: kind, Value: v, At: at, Source: "test"}
}

func snapshot(at time.Time, nodes ...*sensors.NodeReadings) *sensors.Snapshot {
	m := make(map[string]*sensors.NodeReadings)
	for _, n := range nodes {
		m[n.Node] = n
	}
	return sensors.NewSnapshot(at, m)
}

func pair(node string, u, w float64, at time.Time) *sensors.NodeReadings {
	return &sensors.NodeReadings{Node: node, Readings: []sensors.Reading{reading(sensors.CPUUtilization, u, at), reading(sensors.Power, w, at)}}
}

func start(node string) (prior.Belief, error) {
	return learn.FromHardware(prior.Default(), power.Servers(), func(string) prior.Hardware { return prior.Hardware{Year: 2021, Threads: 128} })(node)
}

func Example() {
	learner := learn.New(start, learn.Options{})
	now := epoch
	for i := range 60 {
		now = now.Add(15 * time.Second)
		u := float64(i%8) / 10
		learner.Take(snapshot(now, pair("node-1", u, 150+260*u, now)), now)
	}
	w, err := learner.Predict(context.Background(), power.State{Node: "node-1", Utilization: 0.5})
	s, _ := learner.Status("node-1")
	fmt.Printf("%.0f W after %d readings, %v\n", float64(w), s.Readings, err)
	// Output:
	// 280 W after 60 readings, <nil>
}

// Servers of the embedded table, started from the prior without being named, are learned from their readings:
// after an hour at a reading every 15 s the model of each is far better than the prior on readings to come.
func TestHourOfReadings(t *testing.T) {
	servers := power.Servers()
	learner := learn.New(func(name string) (prior.Belief, error) { return prior.Default().Belief(prior.Hardware{}) }, learn.Options{})
	rng := rand.New(rand.NewPCG(1, 2))
	now := epoch
	loads := make([]float64, len(servers))
	step := func(i int) float64 {
		loads[i] = min(max(loads[i]+0.1*rng.NormFloat64(), 0.05), 0.9)
		return loads[i]
	}
	for range 240 {
		now = now.Add(15 * time.Second)
		var nodes []*sensors.NodeReadings
		for i := range servers {
			u := step(i)
			nodes = append(nodes, pair(servers[i].Name(), u, float64(servers[i].Curve().At(u))*(1+0.02*rng.NormFloat64()), now))
		}
		if n := learner.Take(snapshot(now, nodes...), now); n != len(nodes) {
			t.Fatalf("%d of %d pairs were taken", n, len(nodes))
		}
	}
	blank, err := prior.Default().Belief(prior.Hardware{})
	if err != nil {
		t.Fatal(err)
	}
	var learned, unlearned float64
	for i := range servers {
		u := step(i)
		w, err := learner.Predict(t.Context(), power.State{Node: servers[i].Name(), Utilization: u})
		if err != nil {
			t.Fatal(err)
		}
		truth := servers[i].Curve().At(u)
		p, _ := blank.At(u)
		learned += math.Abs(float64(w/truth)-1) / float64(len(servers))
		unlearned += math.Abs(float64(p/truth)-1) / float64(len(servers))
	}
	t.Logf("prior %.1f %%, after an hour %.2f %%", 100*unlearned, 100*learned)
	if learned > 0.015 {
		t.Errorf("after an hour the models are off by %.4f", learned)
	}
}

// A pair counts once, and only when both readings are there, fresh and of about one time.
func TestWhatCounts(t *testing.T) {
	now := epoch.Add(time.Hour)
	for name, n := range map[string]*sensors.NodeReadings{
		"no power":       {Node: "n", Readings: []sensors.Reading{reading(sensors.CPUUtilization, 0.5, now)}},
		"no utilization": {Node: "n", Readings: []sensors.Reading{reading(sensors.Power, 200, now)}},
		"stale":          pair("n", 0.5, 200, now.Add(-time.Hour)),
		"not together":   {Node: "n", Readings: []sensors.Reading{reading(sensors.CPUUtilization, 0.5, now), reading(sensors.Power, 200, now.Add(-2*time.Minute))}},
		"implausible":    pair("n", 7, 200, now),
		"no watts":       pair("n", 0.5, 0, now),
	} {
		l := learn.New(start, learn.Options{})
		if got := l.Take(snapshot(now, n), now); got != 0 {
			t.Errorf("%s: %d pairs were taken", name, got)
		}
		if s, _ := l.Status("n"); s.Readings != 0 {
			t.Errorf("%s: %d readings", name, s.Readings)
		}
	}
	l := learn.New(start, learn.Options{})
	for range 3 {
		l.Take(snapshot(now, pair("n", 0.5, 200, now)), now)
	}
	if s, _ := l.Status("n"); s.Readings != 1 {
		t.Errorf("one pair in three snapshots counted %d times", s.Readings)
	}
	if l.Take(nil, now) != 0 {
		t.Error("no snapshot taught something")
	}
}

// What was learned survives a restart, in a file that package model reads; a broken file is not used.
func TestRestart(t *testing.T) {
	dir := t.TempDir()
	name := "rack/1 node..2"
	first := learn.New(start, learn.Options{Dir: dir})
	now := epoch
	teach := func(l *learn.Learner, n int) {
		for i := range n {
			now = now.Add(15 * time.Second)
			u := float64(i%10) / 10
			l.Take(snapshot(now, pair(name, u, 100+100*u, now)), now)
		}
	}
	teach(first, 100)
	if err := first.Save(); err != nil {
		t.Fatal(err)
	}
	second := learn.New(start, learn.Options{Dir: dir})
	if err := second.Add(name); err != nil {
		t.Fatal(err)
	}
	for u := 0.0; u <= 1; u += 0.25 {
		s := power.State{Node: name, Utilization: u}
		a, errA := first.Predict(t.Context(), s)
		b, errB := second.Predict(t.Context(), s)
		if a != b || errA != nil || errB != nil {
			t.Errorf("at %.2f: %v before and %v after the restart (%v, %v)", u, a, b, errA, errB)
		}
	}
	if s, _ := second.Status(name); s.Readings != 100 || s.Prior {
		t.Errorf("after the restart: %+v", s)
	}
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("files: %v, %v", files, err)
	}
	if err := os.WriteFile(files[0], []byte(`{"format":"leastwatt.model/1"`), 0o600); err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	third := learn.New(start, learn.Options{Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err := third.Add(name); err != nil {
		t.Fatal(err)
	}
	if s, _ := third.Status(name); s.Readings != 0 || !s.Prior || !strings.Contains(log.String(), "model file not used") {
		t.Errorf("with a broken file: %+v, log %q", s, log.String())
	}
}

// A drift is told, with its size, and logged; a stuck sensor too.
func TestDriftIsTold(t *testing.T) {
	var log bytes.Buffer
	l := learn.New(start, learn.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	rng := rand.New(rand.NewPCG(1, 2))
	now := epoch
	teach := func(n int, watts func(u float64) float64) {
		for range n {
			now = now.Add(15 * time.Second)
			u := rng.Float64()
			l.Take(snapshot(now, pair("n", u, watts(u), now)), now)
		}
	}
	server := func(f float64) func(float64) float64 {
		return func(u float64) float64 { return f * (100 + 100*u) * (1 + 0.02*rng.NormFloat64()) }
	}
	teach(300, server(1))
	if s, _ := l.Status("n"); s.Drifts != 0 || s.Stuck {
		t.Errorf("nothing changed: %+v", s)
	}
	teach(50, server(1.1))
	if s, _ := l.Status("n"); s.Drifts == 0 || s.Shift < 0.03 || s.Drifted.IsZero() {
		t.Errorf("10 %% more: %+v", s)
	}
	teach(30, func(float64) float64 { return 155 })
	if s, _ := l.Status("n"); !s.Stuck {
		t.Errorf("one figure for all loads: %+v", s)
	}
	for _, want := range []string{"draws differently", "stuck=true"} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("the log does not tell %q", want)
		}
	}
}

func TestUnknownNode(t *testing.T) {
	l := learn.New(start, learn.Options{})
	if _, err := l.Predict(t.Context(), power.State{Node: "n"}); !errors.Is(err, power.ErrNoModel) {
		t.Error(err)
	}
	if _, err := l.PredictInterval(t.Context(), power.State{Node: "n"}, 0.9); !errors.Is(err, power.ErrNoModel) {
		t.Error(err)
	}
	if l.Model("n") != nil {
		t.Error("a model of an unknown node")
	}
	fails := learn.New(func(string) (prior.Belief, error) { return prior.Belief{}, errors.New("no belief") }, learn.Options{})
	if err := fails.Add("n"); err == nil {
		t.Error("a node without a start was added")
	}
}

func TestConformance(t *testing.T) {
	l := learn.New(start, learn.Options{})
	if err := l.Add("n"); err != nil {
		t.Fatal(err)
	}
	if err := powertest.TestPredictor(l, power.State{Node: "n"}, power.State{Node: "n", Utilization: 0.4}); err != nil {
		t.Error(err)
	}
}

// Every machine of a site has a model, marked as a prior until readings come; other failures stay failures.
func TestBind(t *testing.T) {
	l := learn.New(start, learn.Options{})
	bind := l.Bind(func(m scoring.Machine) (scoring.Spec, error) {
		if m.Name == "broken" {
			return scoring.Spec{}, errors.New("no such curve")
		}
		return scoring.Spec{Name: m.Name, Capacity: power.Capacity{Cores: m.Cores}}, fmt.Errorf("none fits: %w", power.ErrNoModel)
	})
	s, err := bind(scoring.Machine{Name: "n", Cores: 8})
	if err != nil || !s.Prior || s.Predictor == nil || s.Capacity.Cores != 8 || !strings.HasPrefix(s.Model, "prior: ") {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := bind(scoring.Machine{Name: "broken"}); err == nil {
		t.Error("a failure became a model")
	}
	// A fleet sees the model change without being told.
	fleet := scoring.NewFleet(scoring.FleetOptions{})
	fleet.Put(s)
	for _, prior := range []bool{true, false} {
		snap := snapshot(epoch, pair("n", 0.5, 200, epoch))
		if err := fleet.Refresh(t.Context(), snap, epoch); err != nil {
			t.Fatal(err)
		}
		n := fleet.View().Node("n")
		if n.Err != nil || n.Prior != prior || strings.HasPrefix(n.Model, "prior") != prior {
			t.Errorf("want prior %v: %q, %v, %v", prior, n.Model, n.Prior, n.Err)
		}
		l.Take(snap, epoch)
	}
	if s, err := bind(scoring.Machine{Name: "n", Cores: 8}); err != nil || s.Prior {
		t.Errorf("after a reading: %+v, %v", s, err)
	}
}

// Run takes, forgets nodes that are gone, saves at its end, and returns when its context does; readers need
// not wait.
func TestRun(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l := learn.New(start, learn.Options{Dir: dir, Forget: time.Hour})
		gone := pair("gone", 0.4, 150, time.Now())
		var wg sync.WaitGroup
		wg.Go(func() {
			err := l.Run(ctx, func() *sensors.Snapshot {
				now := time.Now()
				return snapshot(now, gone, pair("stays", 0.5, 180+float64(now.Second()), now))
			})
			if err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			for ctx.Err() == nil {
				if _, err := l.Predict(ctx, power.State{Node: "stays", Utilization: 0.3}); err != nil && !errors.Is(err, power.ErrNoModel) {
					t.Error(err)
				}
				time.Sleep(time.Second)
			}
		})
		time.Sleep(30 * time.Minute)
		if l.Model("gone") == nil || l.Model("stays") == nil {
			t.Error("a node has no model")
		}
		time.Sleep(2 * time.Hour)
		if l.Model("gone") != nil {
			t.Error("a node that is gone is still in memory")
		}
		cancel()
		wg.Wait()
	})
	for _, name := range []string{"gone.json", "stays.json"} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Error(err)
		}
	}
}

func BenchmarkTake(b *testing.B) {
	l := learn.New(start, learn.Options{})
	now := epoch
	n := pair("n", 0.5, 200, now)
	s := snapshot(now, n)
	b.ReportAllocs()
	for b.Loop() {
		now = now.Add(time.Second)
		n.Readings[0].At, n.Readings[1].At = now, now
		n.Readings[1].Value = 200 + float64(now.Second())
		l.Take(s, now)
	}
}

// When more is known of a node's hardware than at first, it starts anew from that with the readings there were; one
// that has learned for long, or the same knowledge once more, changes nothing.
func TestRestartWithBetterKnowledge(t *testing.T) {
	hardware := prior.Hardware{Threads: 72}
	l := learn.New(func(node string) (prior.Belief, error) {
		return learn.FromHardware(prior.Default(), power.Servers(), func(string) prior.Hardware { return hardware })(node)
	}, learn.Options{})
	server, err := power.FindServer("Dell PowerEdge R740")
	if err != nil {
		t.Fatal(err)
	}
	now := epoch
	teach := func(n int) {
		for range n {
			now = now.Add(15 * time.Second)
			l.Take(snapshot(now, pair("n", 0.5, float64(server.Watts[5]), now)), now)
		}
	}
	peak := func() float64 {
		w, err := l.Predict(t.Context(), power.State{Node: "n", Utilization: 1})
		if err != nil {
			t.Fatal(err)
		}
		return math.Abs(float64(w/server.Watts[10]) - 1)
	}
	teach(3)
	before := peak()
	hardware = prior.Hardware{System: server.Name(), CPU: server.CPU, Chips: server.Chips, Cores: server.Cores, Threads: server.Threads, MemoryGB: server.MemoryGB, Year: server.Year}
	for range 2 {
		if err := l.Restart("n"); err != nil {
			t.Fatal(err)
		}
		if s, _ := l.Status("n"); s.Readings != 3 {
			t.Errorf("%d readings after the restart: want the 3 from before", s.Readings)
		}
	}
	if after := peak(); after >= before {
		t.Errorf("at a load that was never seen the model is off by %.3f, before more was known by %.3f", after, before)
	}
	teach(100)
	hardware = prior.Hardware{Threads: 8}
	was := peak()
	if err := l.Restart("n"); err != nil || peak() != was {
		t.Errorf("a node that had learned for long was started anew: %v", err)
	}
	if err := l.Restart("stranger"); err != nil {
		t.Error(err)
	}
}

// memory is a store of what another program learns.
type memory struct{ of map[string]*model.Model }

func (m memory) Load(node string) (*model.Model, error) { return m.of[node], nil }

// keeper keeps what is learned here too.
type keeper struct{ memory }

func (k keeper) Save(node string, m *model.Model) error { k.of[node] = m; return nil }

// What another program has learned by now counts where it rests on more readings and few were taken in here, however
// often it is looked for; what was learned here long since stays, and what was kept here is not learned twice.
func TestRestartFromAStore(t *testing.T) {
	const level = 0.5
	now := epoch
	teach := func(l *learn.Learner, n int, watts float64) {
		for range n {
			now = now.Add(15 * time.Second)
			l.Take(snapshot(now, pair("n", level, watts, now)), now)
		}
	}
	other := keeper{memory{make(map[string]*model.Model)}}
	teacher := learn.New(start, learn.Options{Store: other})
	learned := func(readings int) *model.Model { // by the other program, after so many readings more
		teach(teacher, readings, 300)
		if err := teacher.Save(); err != nil {
			t.Fatal(err)
		}
		return other.of["n"]
	}
	store := memory{make(map[string]*model.Model)}
	l := learn.New(start, learn.Options{Store: store})
	expect := func(what string, readings int) {
		t.Helper()
		for range 2 {
			if err := l.Restart("n"); err != nil {
				t.Fatal(err)
			}
		}
		if s, _ := l.Status("n"); s.Readings != readings || s.Prior != (readings == 0) {
			t.Errorf("%s: %+v: want %d readings", what, s, readings)
		}
		m := l.Model("n")
		if m == nil {
			t.Fatalf("%s: no model", what)
		}
		w, err := m.Predict(t.Context(), power.State{Node: "n", Utilization: level})
		if known, taken := readings > 0, math.Abs(float64(w)-300) < 30; err != nil || known != taken {
			t.Errorf("%s: %v, %v", what, w, err)
		}
	}
	if err := l.Add("n"); err != nil {
		t.Fatal(err)
	}
	expect("nothing is known", 0)
	store.of["n"] = learned(40)
	expect("the other begins", 40)
	store.of["n"] = learned(10)
	expect("the other goes on", 50)
	teach(l, 3, 300)
	expect("a little was learned here", 53)
	store.of["n"] = learned(10)
	expect("the other goes on, and few readings are lost", 60)
	teach(l, 40, 300)
	expect("much was learned here", 100)
	store.of["n"] = learned(100)
	expect("the other is ahead, but this learns by itself", 100)

	own := keeper{memory{make(map[string]*model.Model)}}
	l = learn.New(start, learn.Options{Store: own})
	teach(l, 5, 300)
	if err := l.Save(); err != nil {
		t.Fatal(err)
	}
	teach(l, 2, 300)
	expect("what was kept here is not learned twice", 7)
}
