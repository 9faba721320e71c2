package promgrid_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/promgrid"
	"github.com/leastwatt/leastwatt/sensors/prometheus"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

// server answers instant and range queries with results of a type.
func server(t testing.TB, kind string, result *string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, *result)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func source(t testing.TB, url string, q promgrid.Query) *promgrid.Source {
	s, err := promgrid.New(prometheus.Endpoint{URL: url}, q, promgrid.Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// value and scraped are the two series that tell of a zone.
func value(zone, labels, v string) string {
	return fmt.Sprintf(`{"metric":{"leastwatt_part":"value","location":%q%s},"value":[1780315200,%q]}`, zone, labels, v)
}

func scraped(zone string, ago time.Duration) string {
	return fmt.Sprintf(`{"metric":{"leastwatt_part":"time","location":%q},"value":[1780315200,"%d"]}`, zone, noon.Add(-ago).Unix())
}

func TestCurrent(t *testing.T) {
	minute := time.Minute
	for name, test := range map[string]struct {
		result []string
		value  float64
		want   error
	}{
		"fresh":             {[]string{value("GB", `,"units":"gCO2e per kWh"`, "56"), scraped("GB", minute)}, 56, nil},
		"zero is a value":   {[]string{value("GB", "", "0"), scraped("GB", minute)}, 0, nil},
		"pounds":            {[]string{value("GB", `,"units":"lbCO2e per MWh"`, "1000"), scraped("GB", minute)}, 453.59237, nil},
		"others beside":     {[]string{value("FR", "", "7"), scraped("FR", time.Hour), value("GB", "", "5"), scraped("GB", minute)}, 5, nil},
		"two exporters":     {[]string{value("GB", `,"pod":"a"`, "5"), value("GB", `,"pod":"b"`, "5"), scraped("GB", minute)}, 5, nil},
		"they differ":       {[]string{value("GB", `,"pod":"a"`, "5"), value("GB", `,"pod":"b"`, "6"), scraped("GB", minute)}, 0, grid.ErrImplausible},
		"two providers":     {[]string{value("GB", `,"provider":"Ember"`, "5"), value("GB", `,"provider":"NESO"`, "5"), scraped("GB", minute)}, 0, grid.ErrImplausible},
		"percent":           {[]string{value("GB", `,"units":"percent"`, "5"), scraped("GB", minute)}, 0, grid.ErrImplausible},
		"stale":             {[]string{value("GB", "", "5"), scraped("GB", time.Hour)}, 0, grid.ErrStale},
		"from the future":   {[]string{value("GB", "", "5"), scraped("GB", -time.Hour)}, 0, grid.ErrImplausible},
		"no time":           {[]string{value("GB", "", "5")}, 0, grid.ErrImplausible},
		"NaN":               {[]string{value("GB", "", "NaN"), scraped("GB", minute)}, 0, grid.ErrUnknown},
		"negative":          {[]string{value("GB", "", "-5"), scraped("GB", minute)}, 0, grid.ErrImplausible},
		"billion":           {[]string{value("GB", "", "1e9"), scraped("GB", minute)}, 0, grid.ErrImplausible},
		"infinite":          {[]string{value("GB", "", "+Inf"), scraped("GB", minute)}, 0, grid.ErrImplausible},
		"nothing":           {nil, 0, grid.ErrUnknown},
		"another zone only": {[]string{value("FR", "", "5"), scraped("FR", minute)}, 0, grid.ErrUnknownZone},
	} {
		t.Run(name, func(t *testing.T) {
			result := "[" + strings.Join(test.result, ",") + "]"
			p, err := source(t, server(t, "vector", &result), promgrid.GridIntensity(grid.AverageLifeCycle, "")).Current(t.Context(), "GB")
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Fatalf("error is %v, want %v", err, test.want)
			}
			if err == nil && (math.Abs(p.Value-test.value) > 1e-9 || p.Zone != "GB" || !p.Covers(noon) || !p.Start.Equal(noon.Add(-minute))) {
				t.Errorf("point is %+v, want %v", p, test.value)
			}
		})
	}
}

// A zone that goes away is unknown for now; one that never was is no zone.
func TestAbsence(t *testing.T) {
	both := "[" + value("GB", "", "5") + "," + scraped("GB", 0) + "," + value("FR", "", "5") + "," + scraped("FR", 0) + "]"
	result := both
	s := source(t, server(t, "vector", &result), promgrid.GridIntensity(grid.AverageLifeCycle, ""))
	if _, err := s.Current(t.Context(), "GB"); err != nil {
		t.Fatal(err)
	}
	result = "[" + value("FR", "", "5") + "," + scraped("FR", 0) + "]"
	for zone, want := range map[string]error{"GB": grid.ErrUnknown, "XX": grid.ErrUnknownZone} {
		if _, err := s.Current(t.Context(), zone); !errors.Is(err, want) {
			t.Errorf("%s: error is %v, want %v", zone, err, want)
		}
	}
}

func TestHistory(t *testing.T) {
	at := func(minutes int) int64 { return noon.Add(time.Duration(minutes) * time.Minute).Unix() }
	result := fmt.Sprintf(`[{"metric":{"location":"FR"},"values":[[%d,"9"]]},
		{"metric":{"location":"GB","is_estimated":"true"},"values":[[%d,"1"],[%d,"NaN"],[%d,"3"]]},
		{"metric":{"location":"GB","is_estimated":"false"},"values":[[%d,"3"]]}]`, at(-60), at(-60), at(-45), at(-30), at(-30))
	s := source(t, server(t, "matrix", &result), promgrid.GridIntensity(grid.AverageLifeCycle, "Ember"))
	ps, err := grid.History(t.Context(), s, "GB", noon.Add(-time.Hour), noon.Add(time.Hour))
	if err != nil || len(ps) != 2 || ps[0].Value != 1 || !ps[0].Estimated || ps[1].Value != 3 || !ps[0].End.Equal(noon.Add(-45*time.Minute)) {
		t.Errorf("history is %+v, error %v; want 1, a gap and 3", ps, err)
	}
	if _, err := s.History(t.Context(), "XX", noon.Add(-time.Hour), noon); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("error is %v, want ErrUnknownZone", err)
	}
	if _, err := s.History(t.Context(), "GB", time.Unix(0, 0), noon); err == nil {
		t.Error("half a century by the quarter-hour was asked for")
	}
	result = `[{"metric":{"location":"GB"},"values":[[1780315200,7]]}]`
	if ps, err := s.History(t.Context(), "GB", noon.Add(-time.Hour), noon); err == nil {
		t.Errorf("a value that is no string was read as %+v", ps)
	}
}

func TestQueriesThatAreRefused(t *testing.T) {
	for name, q := range map[string]promgrid.Query{
		"no signal":       {Expr: "x"},
		"no expression":   {Signal: grid.AverageDirect},
		"no time":         {Signal: grid.AverageDirect, Expr: "avg by (location) (x)"},
		"no label":        {Signal: grid.AverageDirect, Expr: "x", Label: `a"b`},
		"no currency":     {Signal: grid.Price, Expr: "x"},
		"scale not a one": {Signal: grid.AverageDirect, Expr: "x", Scale: math.NaN()},
	} {
		if _, err := promgrid.New(prometheus.Endpoint{URL: "http://localhost"}, q, promgrid.Options{}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTheQueryAsked(t *testing.T) {
	var asked string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = r.FormValue("query")
		io.WriteString(w, `{"status":"success","data":{"resultType":"vector","result":[]}}`)
	}))
	defer s.Close()
	_, _ = source(t, s.URL, promgrid.GridIntensity(grid.MarginalDirect, `Watt"Time`)).Current(t.Context(), "GB") // unknown
	for _, want := range []string{`grid_intensity_carbon_marginal{provider="Watt\"Time"}`, "min by (location) (timestamp(grid_intensity_carbon_marginal"} {
		if !strings.Contains(asked, want) {
			t.Errorf("asked %s, want it to hold %s", asked, want)
		}
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add("vector", "["+value("GB", "", "5")+","+scraped("GB", 0)+"]")
	f.Add("matrix", `[{"metric":{"location":"GB"},"values":[[1780315200,"7"]]}]`)
	kind, result := "", ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":%q,"result":%s}}`, kind, result)
	}))
	f.Cleanup(server.Close)
	s := source(f, server.URL, promgrid.GridIntensity(grid.AverageLifeCycle, ""))
	f.Fuzz(func(t *testing.T, k, r string) {
		kind, result = k, r
		if p, err := s.Current(context.Background(), "GB"); err == nil && (p.Validate() != nil || p.Zone != "GB") {
			t.Fatalf("%+v: %v", p, p.Validate())
		}
		ps, err := s.History(context.Background(), "GB", noon.Add(-time.Hour), noon)
		for i, p := range ps {
			if err == nil && (p.Validate() != nil || p.Zone != "GB" || i > 0 && p.Start.Before(ps[i-1].End)) {
				t.Fatalf("%+v: %v", p, p.Validate())
			}
		}
	})
}

func Example() {
	// A Prometheus that scrapes grid-intensity-go.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"status":"success","data":{"resultType":"vector","result":[%s,%s]}}`,
			value("GB", `,"provider":"Ember","units":"gCO2e per kWh"`, "234.5"), scraped("GB", 30*time.Second))
	}))
	defer server.Close()
	s, err := promgrid.New(prometheus.Endpoint{URL: server.URL}, promgrid.GridIntensity(grid.AverageLifeCycle, "Ember"),
		promgrid.Options{Now: func() time.Time { return noon }})
	if err != nil {
		panic(err)
	}
	p, err := s.Current(context.Background(), "GB")
	fmt.Println(p.Value, p.Source, p.Start.Format(time.TimeOnly), err)
	// Output: 234.5 prometheus:Ember 11:59:30 <nil>
}
