package main

import (
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/config"
)

var shop = types.NamespacedName{Namespace: "shop", Name: "web"}

// nobody watches what machines there are.
type nobody struct{}

func (nobody) Put(scoring.Machine) {}
func (nobody) Remove(string)       {}

// TestRatesFromPrometheus lets a meter ask an emulated Prometheus whose Service costs 20 ms a request and half a core at
// rest, on pods that Backends names.
func TestRatesFromPrometheus(t *testing.T) {
	rate := 0.0
	var missing bool
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_ = r.ParseForm()
		now := time.Now().Unix()
		var series []string
		switch q := r.Form.Get("query"); {
		case q == defaultRateQuery:
			series = []string{fmt.Sprintf(`{"metric":{"namespace":"shop","service":"web","port":"http"},"value":[%d,"%v"]}`, now, rate)}
		case q == defaultCPUQuery:
			for i, part := range []float64{0.75, 0.25} {
				if missing && i == 1 {
					continue
				}
				series = append(series, fmt.Sprintf(`{"metric":{"namespace":"shop","pod":"web-%d"},"value":[%d,"%v"]}`, i, now, part*(0.5+0.02*rate)))
			}
		default:
			t.Errorf("query %q", q)
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(series, ","))
	}))
	defer server.Close()
	var learner endpoints.Learner
	p, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{"IPv4": &printer{}}, endpoints.Options{})
	if err != nil {
		t.Fatal(err)
	}
	m, err := newMeter(rateFlags{source: "prometheus", url: server.URL, interval: time.Second}, nil, p, func() *scoring.View { return nil }, &learner, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	m.backends = func() map[types.NamespacedName][]endpoints.Backend {
		return map[types.NamespacedName][]endpoints.Backend{shop: {{Pod: types.NamespacedName{Namespace: "shop", Name: "web-0"}}, {Pod: types.NamespacedName{Namespace: "shop", Name: "web-1"}}}}
	}
	for k := range 30 {
		rate = 100 + 60*math.Sin(float64(k))
		if err := m.measure(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if r, ok := learner.Rate(shop, "http"); !ok || math.Abs(r-rate) > 1e-6 {
		t.Errorf("rate %v %v, want %v", r, ok, rate)
	}
	if i, ok := learner.Interval(shop); !ok || math.Abs(i.Estimate-0.02) > 1e-6 {
		t.Errorf("a request costs %+v %v core-seconds, want 0.02", i, ok)
	}
	// The CPU of one pod is not known: that of the others alone would make requests look cheap.
	missing = true
	before, _ := learner.Interval(shop)
	rate = 500
	if err := m.measure(t.Context()); err != nil {
		t.Fatal(err)
	}
	if after, _ := learner.Interval(shop); after != before {
		t.Errorf("learned from half of the pods: %+v", after)
	}
	server.Close()
	if err := m.measure(t.Context()); err == nil {
		t.Error("no Prometheus: no error")
	}
	if _, ok := learner.Rate(shop, ""); ok {
		t.Error("the rate of a port counts for the whole Service")
	}
	for _, bad := range []rateFlags{{source: "prometheus"}, {source: "tea leaves"}} {
		if _, err := newMeter(bad, nil, p, nil, &learner, nil); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

func TestObjectives(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) string {
		path := filepath.Join(dir, name)
		now := time.Now().UTC().Truncate(time.Hour)
		text := "time,FR,PL\n" + now.Format(time.RFC3339) + ",50,700\n" + now.Add(time.Hour).Format(time.RFC3339) + ",50,700\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	z := new(zones)
	z.beside(nobody{})
	z.Put(scoring.Machine{Name: "n1", Labels: map[string]string{zoneLabel: "FR"}})
	z.Put(scoring.Machine{Name: "n2"})
	n1, n2 := &scoring.Node{Name: "n1", Capacity: power.Capacity{Cores: 1}}, &scoring.Node{Name: "n2"}
	mixed := filepath.Join(dir, "mixed.csv")
	now := time.Now().UTC().Truncate(time.Hour).Format(time.RFC3339)
	if err := os.WriteFile(mixed, []byte("time,FR (EUR/kWh),PL (PLN/kWh)\n"+now+",50,700\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		flags objectiveFlags
		want  float64
	}{
		{objectiveFlags{unit: "grams", intensity: write("co2.csv")}, 0.05},
		{objectiveFlags{unit: "money", price: write("price.csv")}, 0.05},
		{objectiveFlags{unit: "money", price: write("price.csv"), intensity: write("co2.csv"), carbonPrice: 100_000}, 0.05 + 0.005},
		{objectiveFlags{unit: "money", price: mixed, rates: "EUR=2,PLN=0.5"}, 0.1},
	} {
		perWatt, err := c.flags.perWatt(z, nil)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := perWatt(n1); err != nil || math.Abs(v-c.want) > 1e-12 {
			t.Errorf("%+v: %v, %v, want %v", c.flags, v, err, c.want)
		}
		if _, err := perWatt(n2); err == nil {
			t.Errorf("%+v: a node without a zone has a price", c.flags)
		}
	}
	for _, bad := range []objectiveFlags{{unit: "grams"}, {unit: "money"}, {unit: "joy"}, {unit: "grams", intensity: filepath.Join(dir, "none")},
		{unit: "money", price: mixed}, {unit: "money", price: mixed, rates: "EUR=2"}, {unit: "money", price: mixed, rates: "EUR"}} {
		if _, err := bad.perWatt(z, nil); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
	if f, err := (&objectiveFlags{unit: "watts"}).perWatt(z, nil); f != nil || err != nil {
		t.Error("watts cost something")
	}
}

// What the site's file minimizes is what is balanced by, with its own sources; a flag says otherwise.
func TestObjectiveOfTheSite(t *testing.T) {
	load := func(text string) *config.Config {
		c, err := config.Parse("site.yaml", []byte("models: [{kind: linear, idleWatts: 100, peakWatts: 200}]\n"+text))
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	both := load("objective: {minimize: grams, currency: EUR, intensity: [{type: static, value: 50}], price: [{type: static, value: 0.3}]}")
	meter := scoring.NewMeter("FR")
	meter.Set(scoring.Tariff{Intensity: 50, Price: 0.3})
	n := &scoring.Node{Name: "n", Meter: meter}
	for _, c := range []struct {
		flags objectiveFlags
		want  float64
	}{{objectiveFlags{}, 0.05}, {objectiveFlags{unit: "grams"}, 0.05}, {objectiveFlags{unit: "money"}, 0.0003}, {objectiveFlags{unit: "money", carbonPrice: 1e6}, 0.0503}} {
		perWatt, err := c.flags.perWatt(nil, both)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := perWatt(n); err != nil || math.Abs(v-c.want) > 1e-12 {
			t.Errorf("%+v: %v, %v, want %v", c.flags, v, err, c.want)
		}
	}
	if f, err := (&objectiveFlags{unit: "watts"}).perWatt(nil, both); f != nil || err != nil {
		t.Errorf("-objective watts: %v", err)
	}
	plain := load("")
	if f, err := new(objectiveFlags).perWatt(nil, plain); f != nil || err != nil {
		t.Errorf("a file without the section: %v", err)
	}
	for _, bad := range []objectiveFlags{{unit: "grams"}, {unit: "money"}, {unit: "joy"}} {
		if _, err := bad.perWatt(nil, plain); err == nil {
			t.Errorf("%+v: no error", bad)
		}
	}
}

// Where nft is missing the program says so instead of serving nobody.
func TestWithoutNft(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := cleanup(t.Context(), "leastwatt", nftables.Open); err == nil || !strings.Contains(err.Error(), "nft") {
		t.Errorf("-cleanup: %v", err)
	}
	var said strings.Builder
	f := proxyFlags{}
	if _, err := f.appliers(nil, nil, slog.New(slog.NewTextHandler(&said, nil))); err == nil || !strings.Contains(said.String(), "needs the nft program") {
		t.Errorf("%v: %s", err, said.String())
	}
}

// A kernel without IPv6 has no rules of it: cleaning up the others is all there is to do.
func TestCleanupOfOneFamily(t *testing.T) {
	nft := knftables.NewFake(knftables.IPv4Family, "leastwatt")
	why := errors.New("not supported")
	open := func(f knftables.Family, o nftables.Options) (*nftables.Writer, error) {
		if f == knftables.IPv6Family {
			return nil, why
		}
		return nftables.New(nft, f, o)
	}
	w, err := open(knftables.IPv4Family, nftables.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Apply(t.Context(), nil); err != nil || nft.Dump() == "" {
		t.Fatalf("%v\n%s", err, nft.Dump())
	}
	if err := cleanup(t.Context(), "leastwatt", open); err != nil || nft.Dump() != "" {
		t.Errorf("%v\n%s", err, nft.Dump())
	}
	none := func(knftables.Family, nftables.Options) (*nftables.Writer, error) { return nil, why }
	if err := cleanup(t.Context(), "leastwatt", none); !errors.Is(err, why) {
		t.Errorf("no family can be opened: %v", err)
	}
}
