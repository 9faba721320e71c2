package config_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/config"
)

func parse(t *testing.T, dir, text string) (*config.Config, error) {
	t.Helper()
	var root yaml.Node
	if err := yaml.Unmarshal([]byte(text), &root); err != nil {
		t.Fatal(err)
	}
	return config.ParseSection(filepath.Join(dir, "site.yaml"), root.Content[0])
}

func TestSourcesInOrder(t *testing.T) {
	dir := t.TempDir()
	hour := time.Now().UTC().Truncate(time.Hour)
	table := fmt.Sprintf("time,DE\n%s,321\n", hour.Format(time.RFC3339))
	prices := fmt.Sprintf("time,DE (EUR/MWh)\n%s,-20\n", hour.Format(time.RFC3339))
	for name, text := range map[string]string{"i.csv": table, "p.csv": prices} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c, err := parse(t, dir, `
minimize: money
currency: EUR
carbonPrice: 80
intensity:
- {type: csv, file: i.csv}
- {type: static, value: 25, zones: [SE]}
price:
- {type: csv, file: p.csv}
- {type: time-of-use, base: 0.3, rates: [{from: "00:00", until: "24:00", price: 0.2}]}
`)
	if err != nil {
		t.Fatal(err)
	}
	for zone, want := range map[string][2]float64{"DE": {321, -0.02}, "SE": {25, 0.2}, "PL": {math.NaN(), 0.2}} {
		p, err := c.Intensity.Current(t.Context(), zone)
		if known := err == nil; known != !math.IsNaN(want[0]) || known && p.Value != want[0] {
			t.Errorf("intensity of %s is %v, %v: want %v", zone, p.Value, err, want[0])
		}
		if p, err := c.Price.Current(t.Context(), zone); err != nil || p.Value != want[1] || p.Currency != "EUR" {
			t.Errorf("price in %s is %v %s, %v: want %v", zone, p.Value, p.Currency, err, want[1])
		}
	}
}

// Prices in several currencies are compared in one, by rates that the user gives.
func TestCurrencies(t *testing.T) {
	dir := t.TempDir()
	hour := time.Now().UTC().Truncate(time.Hour)
	table := fmt.Sprintf("time,GB (GBP/MWh),FR (EUR/MWh),CH\n%s,100,80,50\n", hour.Format(time.RFC3339))
	if err := os.WriteFile(filepath.Join(dir, "p.csv"), []byte(table), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, dir, `
minimize: money
currency: EUR
rates: {GBP: 1.2, CHF: 1.05, USD: 0.9}
price:
- {type: csv, file: p.csv, currency: CHF}
- {type: time-of-use, base: 0.3, currency: USD, zones: [US]}
- {type: profile, profile: "static:2", currency: CHF}
`)
	if err != nil {
		t.Fatal(err)
	}
	for zone, want := range map[string]float64{"GB": 0.12, "FR": 0.08, "CH": 50 * 1.05, "US": 0.27, "AT": 2.1} {
		if p, err := c.Price.Current(t.Context(), zone); err != nil || math.Abs(p.Value-want) > 1e-12 || p.Currency != "EUR" {
			t.Errorf("price in %s is %v %s, %v: want %v EUR", zone, p.Value, p.Currency, err, want)
		}
	}
	now := time.Now()
	if ps, err := grid.Forecast(t.Context(), c.Price, "GB", now, now.Add(time.Hour)); err != nil || len(ps) != 1 || math.Abs(ps[0].Value-0.12) > 1e-12 {
		t.Errorf("forecast %+v, %v", ps, err)
	}
	for text, want := range map[string]string{
		"currency: EUR\nprice: [{type: csv, file: p.csv}]":                                    "exchange rate",
		"currency: EUR\nprice: [{type: static, value: 1, currency: USD}]":                     "rates tells nothing",
		"currency: EUR\nrates: {USD: 0}\nprice: [{type: static, value: 1}]":                   "objective.rates",
		"currency: EUR\nrates: {EUR: 1.08, USD: 1}\nprice: [{type: static, value: 1}]":        "worth one",
		"intensity: [{type: electricity-maps, url: 'http://x', tokenFile: t, currency: EUR}]": "currency is for",
	} {
		if _, err := parse(t, dir, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n\tgives %v: want an error with %q", text, err, want)
		}
	}
}

// What always holds is known in advance, and made-up prices are in the section's currency.
func TestConstantsHaveForecasts(t *testing.T) {
	c, err := parse(t, "", `
currency: EUR
intensity: [{type: static, value: 25, zones: [SE]}]
price: [{type: profile, profile: "static:0.2"}]
`)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ps, err := grid.Forecast(t.Context(), c.Intensity, "SE", now, now.Add(96*time.Hour))
	if err != nil || len(ps) < 96 || ps[0].Value != 25 || !ps[0].Covers(now) || !ps[0].Forecast || ps[len(ps)-1].End.Before(now.Add(96*time.Hour)) {
		t.Errorf("%d points, error %v; want four days of 25", len(ps), err)
	}
	if ps, err := grid.History(t.Context(), c.Intensity, "SE", now.Add(-3*time.Hour), now.Add(3*time.Hour)); err != nil || len(ps) < 3 || len(ps) > 4 || ps[0].Forecast {
		t.Errorf("history %+v, error %v; want the hours that have been", ps, err)
	}
	if p, err := c.Price.Current(t.Context(), "SE"); err != nil || p.Currency != "EUR" {
		t.Errorf("price %+v, error %v; want it in EUR", p, err)
	}
}

// A provider of prices tells the currency of each zone, which the user's rates bring into one; one without a rate is never taken for another.
func TestLivePrices(t *testing.T) {
	hour := time.Now().UTC().Truncate(time.Hour).Format(time.RFC3339)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		zone := r.FormValue("zone")
		unit := map[string]string{"FR": "EUR/MWh", "GB": "GBP/MWh", "SE": "SEK/MWh"}[zone]
		fmt.Fprintf(w, `{"zone":%q,"datetime":%q,"value":100,"unit":%q,"source":"nordpool.com"}`, zone, hour, unit)
	}))
	defer s.Close()
	t.Setenv("EM_TOKEN", "secret")
	c, err := parse(t, "", fmt.Sprintf("currency: EUR\nrates: {GBP: 1.2}\nprice: [{type: electricity-maps, url: %q, tokenEnv: EM_TOKEN}]", s.URL))
	if err != nil {
		t.Fatal(err)
	}
	for zone, want := range map[string]float64{"FR": 0.1, "GB": 0.12} {
		if p, err := c.Price.Current(t.Context(), zone); err != nil || math.Abs(p.Value-want) > 1e-12 || p.Currency != "EUR" {
			t.Errorf("price in %s is %+v, error %v; want %v EUR", zone, p, err, want)
		}
	}
	if p, err := c.Price.Current(t.Context(), "SE"); err == nil || !strings.Contains(err.Error(), "exchange rate") {
		t.Errorf("kronor without a rate are %+v, error %v", p, err)
	}
}

// Coordinates stand for the zone of the nearest town; where that is not clear it is an error, at the start.
func TestZonesByCoordinates(t *testing.T) {
	c, err := parse(t, "", "zone: {at: [52.2, 0.12]}\nsites: [{labels: {hall: south}, at: [48.85, 2.35], pue: 1.2}]")
	if err != nil {
		t.Fatal(err)
	}
	for hall, want := range map[string]string{"south": "FR", "north": "GB"} {
		if p, err := c.Place(map[string]string{"hall": hall}); err != nil || p.Zone != want {
			t.Errorf("%s is in %q, error %v; want %q", hall, p.Zone, err, want)
		}
	}
	for text, want := range map[string]string{
		"zone: {at: [40, -40]}": "objective.zone.at", "zone: {at: [1]}": "want latitude and longitude", "zone: {at: [48.85, 2.35], default: DE}": "give one of the two",
		"sites: [{labels: {a: b}, at: [91, 0]}]": "objective.sites[0].at", "sites: [{labels: {a: b}, zone: FR, at: [48.85, 2.35]}]": "give one of the two",
	} {
		if _, err := parse(t, "", text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n\tgives %v: want an error with %q", text, err, want)
		}
	}
}

// A carbon-aware-sdk names places as clouds do, and with WattTime behind it its data as WattTime does: the file says which is which.
func TestNamesOfTheCarbonAwareSDK(t *testing.T) {
	now := time.Now().UTC().Truncate(5 * time.Minute)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.FormValue("location") != "westus" {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		fmt.Fprintf(w, `[{"location":"CAISO_NORTH","time":%q,"rating":120,"duration":"00:05:00"}]`, now.Format(time.RFC3339))
	}))
	defer s.Close()
	c, err := parse(t, "", fmt.Sprintf("signal: %s\nintensity: [{type: carbon-aware, url: %q, locations: {US-CAL-CISO: westus}, answers: {US-CAL-CISO: CAISO_NORTH}}]", grid.MarginalDirect, s.URL))
	if err != nil {
		t.Fatal(err)
	}
	if p, err := c.Intensity.Current(t.Context(), "US-CAL-CISO"); err != nil || p.Value != 120 || p.Zone != "US-CAL-CISO" {
		t.Errorf("%+v, error %v", p, err)
	}
	if _, err := c.Intensity.Current(t.Context(), "US-TEX-ERCO"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("of a zone that the server has not the error is %v", err)
	}
}

// Tariffs of the file know seasons and holidays, and tables the clock by which they are written.
func TestTariffsAndClocks(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "i.csv"), []byte("time,DE\n2026-06-01 12:00,321\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, dir, `
currency: EUR
intensity: [{type: csv, file: i.csv, location: Europe/Berlin}]
price:
- type: time-of-use
  base: 0.3
  location: Europe/Berlin
  holidays: [12-25, 2026-04-06]
  rates:
  - {days: [sun], from: "00:00", until: "24:00", price: 0.1}
  - {first: 11-01, last: 02-29, from: "17:00", until: "20:00", price: 0.5}
`)
	if err != nil {
		t.Fatal(err)
	}
	for at, want := range map[string]float64{"2026-12-25T17:30:00Z": 0.1, "2026-04-06T12:00:00Z": 0.1, "2027-04-06T12:00:00Z": 0.3, "2026-12-01T17:30:00Z": 0.5, "2026-10-20T17:30:00Z": 0.3} {
		from, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if ps, err := grid.Forecast(t.Context(), c.Price, "DE", from, from.Add(time.Minute)); err != nil || ps[0].Value != want {
			t.Errorf("at %s %+v, error %v; want %v", at, ps, err, want)
		}
	}
	from := time.Date(2026, 6, 1, 10, 0, 0, 0, time.UTC)
	if ps, err := grid.Forecast(t.Context(), c.Intensity, "DE", from, from.Add(time.Hour)); err != nil || len(ps) != 1 || !ps[0].Start.Equal(from) {
		t.Errorf("noon in Berlin is %+v, error %v", ps, err)
	}
	for text, want := range map[string]string{
		"currency: EUR\nprice: [{type: time-of-use, base: 1, holidays: [easter]}]":                                                                 "holidays[0]",
		"currency: EUR\nprice: [{type: time-of-use, base: 1, rates: [{first: 06-01, from: '00:00', until: '24:00', price: 1}]}]":                   "rates[0]",
		"currency: EUR\nprice: [{type: time-of-use, base: 1, rates: [{first: 2026-06-01, last: 09-30, from: '00:00', until: '24:00', price: 1}]}]": "any year",
		"intensity: [{type: csv, file: i.csv, location: Atlantis}]":                                                                                "location",
		"intensity: [{type: neso, url: 'http://x', measured: true}]":                                                                               "measured is for",
	} {
		if _, err := parse(t, dir, text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n\tgives %v: want an error with %q", text, err, want)
		}
	}
}

// A source that is asked for some zones alone still has its history and its forecast.
func TestSomeZones(t *testing.T) {
	c, err := parse(t, "", "intensity: [{type: profile, profile: 'sine:300:100:86400', zones: [DE]}]")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for what, ask := range map[string]func(context.Context, grid.Source, string, time.Time, time.Time) ([]grid.Point, error){"history": grid.History, "forecast": grid.Forecast} {
		if ps, err := ask(t.Context(), c.Intensity, "DE", now.Add(-time.Hour), now); err != nil || len(ps) == 0 {
			t.Errorf("%s: %+v, %v", what, ps, err)
		}
		if _, err := ask(t.Context(), c.Intensity, "FR", now.Add(-time.Hour), now); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%s of another zone: %v", what, err)
		}
	}
}

// A provider is asked once an interval for the present, and once for the forecast that stands in for it, however often we ask, and its token comes from a file.
func TestProvidersAreAskedSeldom(t *testing.T) {
	asked := map[string]int{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		if r.Header.Get("auth-token") != "secret" {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		now := time.Now().UTC().Truncate(time.Hour).Format(time.RFC3339)
		fmt.Fprintf(w, `{"zone":"DE","carbonIntensity":302,"datetime":%q,"updatedAt":%q,"createdAt":%q,"emissionFactorType":"lifecycle","isEstimated":false,"estimationMethod":null}`, now, now, now)
	}))
	defer s.Close()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "token"), []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := parse(t, dir, "minimize: grams\nintensity: [{type: electricity-maps, url: '"+s.URL+"', tokenFile: token}]")
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		if p, err := c.Intensity.Current(t.Context(), "DE"); err != nil || p.Value != 302 {
			t.Fatalf("intensity is %v, %v", p.Value, err)
		}
	}
	if asked["/v3/carbon-intensity/latest"] != 1 || asked["/v3/carbon-intensity/forecast"] != 1 || len(asked) != 2 {
		t.Errorf("the provider was asked %v: want once for each", asked)
	}
}

func TestPlace(t *testing.T) {
	c, err := parse(t, "", `
pue: 1.5
zone: {label: region, names: {home: DE}, cloud: aws}
sites: [{labels: {hall: north}, zone: SE, pue: 1.1, factor: 2}, {labels: {hall: south}, pue: 1.2}]
`)
	if err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		labels map[string]string
		want   config.Place
	}{
		{map[string]string{"region": "home"}, config.Place{Zone: "DE", PUE: 1.5, Factor: 1}},
		{map[string]string{"region": "eu-west-3"}, config.Place{Zone: "FR", PUE: 1.5, Factor: 1}},
		{map[string]string{"region": "home", "hall": "north"}, config.Place{Zone: "SE", PUE: 1.1, Factor: 2}},
		{map[string]string{"region": "home", "hall": "south"}, config.Place{Zone: "DE", PUE: 1.2, Factor: 1}},
	} {
		if got, err := c.Place(x.labels); err != nil || got != x.want {
			t.Errorf("%v: %+v, %v: want %+v", x.labels, got, err, x.want)
		}
	}
	if !c.Weighs() {
		t.Error("sites of different PUE do not weigh")
	}
	for _, labels := range []map[string]string{nil, {"region": "mars-1"}} {
		if p, err := c.Place(labels); !errors.Is(err, grid.ErrUnknownZone) || p.PUE != 1.5 {
			t.Errorf("%v: %+v, %v: want an unknown zone", labels, p, err)
		}
	}
}

func TestMistakes(t *testing.T) {
	for text, want := range map[string]string{
		"minimise: grams": "minimise: there is no such field",
		"minimize: watt":  "minimize",
		"minimize: grams": "objective.intensity: is missing",
		"minimize: money": "objective.price: is missing",
		"minimize: money\ncurrency: EUR\ncarbonPrice: 80\nprice: [{type: static, value: 1}]":  "carbonPrice wants",
		"price: [{type: static, value: 1}]":                                                   "objective.currency: is missing",
		"pue: 0.9":                                                                            "objective.pue",
		"factor: 0":                                                                           "objective.factor",
		"carbonPrice: -1":                                                                     "objective.carbonPrice",
		"signal: price_per_kwh":                                                               "objective.signal",
		"sites: [{labels: {a: b}, pue: 0}]":                                                   "sites[0].pue",
		"sites: [{labels: {}}]":                                                               "sites[0].labels",
		"pue: 1\nintensity:\n- {type: static}":                                                "site.yaml:3: objective.intensity[0]: type static: value is missing",
		"intensity: [{type: static, value: -1}]":                                              "out of range",
		"intensity: [{type: static, value: 9999}]":                                            "out of range",
		"intensity: [{type: static, value: 1, url: http://x}]":                                "url is for",
		"intensity: [{type: csv, file: none.csv}]":                                            "none.csv",
		"intensity: [{type: neso, url: http://x}]":                                            "never mixed",
		"intensity: [{type: watttime, url: https://x, user: u, passwordFile: p}]":             "never mixed",
		"intensity: [{type: electricity-maps, url: http://x}]":                                "token",
		"intensity: [{type: prometheus, url: 'http://u:p@x'}]":                                "@",
		"currency: EUR\nprice: [{type: watttime, url: 'https://x', user: u, passwordEnv: X}]": "never mixed",
		"currency: EUR\nintensity: [{type: time-of-use, base: 1}]":                            "never mixed",
		"intensity: [{type: wind}]":                                                           "wind",
		"currency: EUR\nprice: [{type: prometheus, url: http://x}]":                           "expr is missing",
		"currency: EUR\nprice: [{type: time-of-use, base: 1, location: Atlantis}]":            "location",
		"currency: EUR\nprice: [{type: time-of-use, base: 1, rates: [{from: '7:00', until: '9:00', price: 1}]}]":   "no time of day",
		"currency: EUR\nprice: [{type: time-of-use, base: 1, rates: [{from: '09:00', until: '07:00', price: 1}]}]": "in order",
		"currency: EUR\nprice: [{type: time-of-use, base: 1, rates: [{days: [m], from: a, until: b, price: 1}]}]":  "day",
		"refresh: 0s": "refresh",
	} {
		if _, err := parse(t, t.TempDir(), text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s\n\tgives %v: want an error with %q", text, err, want)
		}
	}
}

func TestNothingGiven(t *testing.T) {
	c, err := config.ParseSection("site.yaml", nil)
	if err != nil || c.Minimize != "watts" || c.Intensity != nil || c.Price != nil || c.Weighs() || c.Refresh != time.Minute {
		t.Errorf("%+v, %v", c, err)
	}
}

func FuzzParseSection(f *testing.F) {
	f.Add("minimize: grams\nintensity: [{type: static, value: 1}]")
	f.Add("currency: EUR\nprice: [{type: time-of-use, base: 1, rates: [{from: '00:00', until: '24:00', price: 1}]}]")
	f.Fuzz(func(t *testing.T, text string) {
		var root yaml.Node
		if yaml.Unmarshal([]byte(text), &root) != nil || len(root.Content) == 0 || strings.Contains(text, "csv") {
			return
		}
		c, err := config.ParseSection("site.yaml", root.Content[0])
		if err != nil {
			return
		}
		if p, err := c.Place(map[string]string{"topology.kubernetes.io/region": "DE"}); !(p.PUE >= 1) || !(p.Factor > 0) {
			t.Errorf("place %+v, %v", p, err)
		}
	})
}

func ExampleParseSection() {
	var root yaml.Node
	_ = yaml.Unmarshal([]byte(`
minimize: grams
zone: {default: DE}
pue: 1.3
intensity: [{type: static, value: 350}]
`), &root)
	c, err := config.ParseSection("site.yaml", root.Content[0])
	if err != nil {
		panic(err)
	}
	place, _ := c.Place(nil)
	p, _ := c.Intensity.Current(context.Background(), place.Zone)
	fmt.Println(place.Zone, place.PUE, p.Value, p.Signal)
	// Output: DE 1.3 350 average_lifecycle_gco2eq_per_kwh
}
