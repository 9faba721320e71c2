package scheduler

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/leastwatt/leastwatt/scoring"
)

// meter is a place where a kilowatt-hour costs so much.
func meter(zone string, t scoring.Tariff) *scoring.Meter {
	m := scoring.NewMeter(zone)
	m.Set(t)
	return m
}

// What a pod costs in money is small beside a watt; its order must not be lost to an integer.
func TestObjectiveOfMoneyKeepsTheOrder(t *testing.T) {
	s := newSite(line(t, "frugal", 10, 50, 5), line(t, "mid", 10, 50, 5.001), line(t, "dear", 10, 50, 5), line(t, "dark", 10, 50, 1))
	for i, price := range []float64{0.30, 0.30, 0.31, 0} {
		s.specs[i].Meter = meter("z", scoring.Tariff{Price: price})
	}
	s.specs[3].Meter.Set(scoring.Tariff{PriceErr: errors.New("away")})
	s.scorer = scoring.Objective{Power: scoring.EnvelopePower{}, Unit: scoring.MoneyPerHour}
	p := s.start(t, "")
	s.refresh(t, s.now, 0.5)
	raw, scores := cycle(t, p, pod("p", "100m"), s.infos())
	// 0.5 W are 0.0005 kWh an hour, at 0.30 a kWh.
	if want := int64(150_000); raw["frugal"] != want {
		t.Errorf("raw score is %d: want %d billionths an hour", raw["frugal"], want)
	}
	if !(scores["frugal"] == 100 && scores["frugal"] > scores["mid"] && scores["mid"] > scores["dear"] && scores["dear"] > 1 && scores["dark"] == 0) {
		t.Errorf("scores are %v (raw %v)", scores, raw)
	}
	p.Reserve(t.Context(), newState(), pod("p", "100m"), "frugal")
	d := p.decisions.Last(t.Context())
	if v := viewOf(&d[0]); v.Best[0].PricePerKWh == nil || *v.Best[0].PricePerKWh != 0.30 || v.Best[0].Unit != "money/h" || v.UnknownNodes[0].PricePerKWh != nil {
		t.Errorf("decision is %+v", v)
	}
}

// The grams that shadow mode counts are of the two places, as they are while the pod runs.
func TestShadowCountsGramsByPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := prometheus.NewPedanticRegistry()
		s := newSite(line(t, "clean", 10, 50, 10), line(t, "coal", 10, 50, 10))
		clean, coal := meter("SE", scoring.Tariff{Intensity: 20, PUE: 1.5}), meter("PL", scoring.Tariff{Intensity: 800, PUE: 1})
		s.specs[0].Meter, s.specs[1].Meter = clean, coal
		for _, sp := range s.specs {
			s.fleet.Put(sp)
		}
		scorer := scoring.Objective{Power: scoring.EnvelopePower{}, Unit: scoring.GramsPerHour}
		f, err := New(func(string) (Setup, error) { return Setup{Site: s, Scorer: scorer}, nil }, Options{Registerer: r})
		if err != nil {
			t.Fatal(err)
		}
		pl, err := f(ctx, rawArgs(`{"mode":"shadow"}`), newHandle())
		if err != nil {
			t.Fatal(err)
		}
		p := pl.(*Plugin)
		s.refresh(t, s.now, 0.5)
		web := pod("web", "1")
		cycle(t, p, web, s.infos())
		p.Reserve(ctx, newState(), web, "coal") // 10 W at 0.8 g/Wh, where 10 W at 0.03 g/Wh would do
		p.PostBind(ctx, newState(), web, "coal")
		near := func(metric string, want float64) {
			t.Helper()
			if got, ok := gauge(t, r, metric); !ok || math.Abs(got-want) > 1e-9 {
				t.Errorf("%s is %v, %t: want %v", metric, got, ok, want)
			}
		}
		near("leastwatt_shadow_saving_watts", 0)
		near("leastwatt_shadow_saving_grams_per_hour", 7.7)
		near("leastwatt_grid_intensity_grams_per_kwh", 820) // of both
		time.Sleep(time.Hour)
		near("leastwatt_shadow_saving_grams", 7.7)
		coal.Set(scoring.Tariff{Intensity: 100})
		time.Sleep(time.Hour)
		near("leastwatt_shadow_saving_grams", 8.4)
		coal.Set(scoring.Tariff{IntensityErr: errors.New("away")})
		time.Sleep(time.Hour)
		near("leastwatt_shadow_saving_grams", 8.4)
		near("leastwatt_shadow_grams_unknown_seconds_total", 3600)
		if g, ok := gauge(t, r, "leastwatt_shadow_saving_grams_per_hour"); ok {
			t.Errorf("%v grams are saved an hour, with one intensity unknown", g)
		}
		p.shadow.gone(web.UID)
		near("leastwatt_shadow_saving_grams_per_hour", 0)
		cancel()
		synctest.Wait()
	})
}

// What is told of a decision later is by the prices that it was made with, and a node that lost because its price was missing says so.
func TestDecisionKeepsItsPrices(t *testing.T) {
	s := newSite(line(t, "a", 10, 50, 10), line(t, "b", 10, 50, 10), line(t, "c", 10, 50, 10), line(t, "dark", 10, 50, 1))
	a, b := meter("A", scoring.Tariff{Price: 0.10, Source: "a"}), meter("B", scoring.Tariff{Price: 0.20, Source: "b"})
	dark := meter("dark", scoring.Tariff{PriceErr: errors.New("provider is away")})
	s.specs[0].Meter, s.specs[1].Meter, s.specs[2].Meter, s.specs[3].Meter = a, b, b, dark
	s.scorer = scoring.Objective{Power: scoring.EnvelopePower{}, Unit: scoring.MoneyPerHour}
	p := s.start(t, `{"explainCandidates":2}`)
	s.refresh(t, s.now, 0.5)
	pd := pod("p", "1")
	cycle(t, p, pd, s.infos())
	p.Reserve(t.Context(), newState(), pd, "c") // not among the two best
	a.Set(scoring.Tariff{Price: 0.90})
	b.Set(scoring.Tariff{Err: errors.New("later")})
	dark.Set(scoring.Tariff{Price: 0.01})
	d := p.decisions.Last(t.Context())[0]
	for _, c := range append(d.Best, *d.ChosenCandidate) {
		if want := map[string]float64{"a": 0.10, "b": 0.20, "c": 0.20}[c.Node]; c.Tariff == nil || c.Tariff.Price != want || math.Abs(c.Cost.Value-want/100) > 1e-12 {
			t.Errorf("%s is told to cost %v at %+v: want %v money/h at %v a kWh", c.Node, c.Cost, c.Tariff, want/100, want)
		}
	}
	if d.Best[0].Node != "a" || len(d.UnknownNodes) != 1 || d.UnknownNodes[0].Cost.Known() || !strings.Contains(d.UnknownNodes[0].Reason, "provider is away") {
		t.Errorf("best is %s, unknown are %+v: want a, and that of dark the price is away", d.Best[0].Node, d.UnknownNodes)
	}
}

// gauge adds up a metric over its series.
func gauge(t *testing.T, r prometheus.Gatherer, name string) (float64, bool) {
	t.Helper()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return total(f), true
		}
	}
	return 0, false
}

func total(f *dto.MetricFamily) (sum float64) {
	for _, m := range f.GetMetric() {
		sum += m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	return sum
}
