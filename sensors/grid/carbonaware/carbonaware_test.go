package carbonaware_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/carbonaware"
)

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func now() time.Time { return noon }

// server answers every question with one status and body.
func server(t testing.TB, status int, body string) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(status)
		if status != http.StatusNoContent {
			io.WriteString(w, body)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func source(t testing.TB, url string, o carbonaware.Options) *carbonaware.Source {
	o.Now = now
	s, err := carbonaware.New(url, grid.MarginalDirect, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The SDK over WattTime answers newest first, with the provider's name of the region.
func TestCurrentOfAWattTimeServer(t *testing.T) {
	s := source(t, server(t, 200, `[
		{"location":"CAISO_NORTH","time":"2026-06-01T11:55:00+00:00","rating":439.5,"duration":"00:05:00"},
		{"location":"CAISO_NORTH","time":"2026-06-01T11:50:00+00:00","rating":null,"duration":"00:05:00"},
		{"location":"CAISO_NORTH","time":"2026-06-01T11:45:00.5+00:00","rating":0}]`),
		carbonaware.Options{Locations: map[string]string{"US-CAL-CISO": "westus"}, Answers: map[string]string{"US-CAL-CISO": "CAISO_NORTH"}})
	p, err := s.Current(t.Context(), "US-CAL-CISO")
	if err != nil || p.Value != 439.5 || p.Zone != "US-CAL-CISO" || !p.End.Equal(noon) || p.Signal != grid.MarginalDirect {
		t.Errorf("current is %+v, error %v", p, err)
	}
	ps, err := grid.History(t.Context(), s, "US-CAL-CISO", noon.Add(-time.Hour), noon)
	if err != nil || len(ps) != 2 || ps[0].Value != 0 {
		t.Errorf("history is %+v, error %v; want a measured 0, a gap for null, and 439.5", ps, err)
	}
}

func TestFaults(t *testing.T) {
	entry := func(location, at, rest string) string {
		return fmt.Sprintf(`[{"location":%q,"time":%q,%s}]`, location, at, rest)
	}
	const fresh = "2026-06-01T11:55:00Z"
	for name, test := range map[string]struct {
		status int
		body   string
		want   error
	}{
		"null":             {200, entry("GB", fresh, `"rating":null,"duration":"00:05:00"`), grid.ErrUnknown},
		"empty":            {200, `[]`, grid.ErrUnknown},
		"no content":       {204, ``, grid.ErrUnknown},
		"stale":            {200, entry("GB", "2026-06-01T07:00:00Z", `"rating":5,"duration":"00:05:00"`), grid.ErrStale},
		"other zone":       {200, entry("FR", fresh, `"rating":5,"duration":"00:05:00"`), grid.ErrImplausible},
		"negative":         {200, entry("GB", fresh, `"rating":-5,"duration":"00:05:00"`), grid.ErrImplausible},
		"billion":          {200, entry("GB", fresh, `"rating":1e9,"duration":"00:05:00"`), grid.ErrImplausible},
		"bad duration":     {200, entry("GB", fresh, `"rating":5,"duration":"5 minutes"`), nil},
		"negative span":    {200, entry("GB", fresh, `"rating":5,"duration":"-00:05:00"`), nil},
		"a year":           {200, entry("GB", fresh, `"rating":5,"duration":"365.00:00:00"`), nil},
		"text":             {200, `<html>`, nil},
		"wrong type":       {200, entry("GB", fresh, `"rating":"high"`), nil},
		"large":            {200, strings.Repeat(" ", 5<<20), nil},
		"unknown location": {400, `{"title":"ArgumentException","status":400,"detail":"Unknown Location: 'GB' not found"}`, grid.ErrUnknownZone},
		"no such path":     {404, ``, grid.ErrUnknownZone},
		"not implemented":  {501, ``, grid.ErrUnsupported},
		"away":             {503, ``, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := source(t, server(t, test.status, test.body), carbonaware.Options{}).Current(t.Context(), "GB")
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %+v, error %v, want %v", p, err, test.want)
			}
		})
	}
	for name, body := range map[string]string{
		"none": `[]`, "two": `[{"location":"GB"},{"location":"GB"}]`,
		"other zone's data": `[{"location":"GB","forecastData":[{"location":"FR","timestamp":"2026-06-01T12:00:00Z","duration":5,"value":1}]}]`,
		"endless point":     `[{"location":"GB","forecastData":[{"timestamp":"2026-06-01T12:00:00Z","duration":999999,"value":1}]}]`,
	} {
		if ps, err := source(t, server(t, 200, body), carbonaware.Options{}).Forecast(t.Context(), "GB", noon, noon.Add(time.Hour)); !errors.Is(err, grid.ErrImplausible) {
			t.Errorf("%s: forecast is %+v, error %v, want ErrImplausible", name, ps, err)
		}
	}
}

func TestPricesAreRefused(t *testing.T) {
	if _, err := carbonaware.New("http://localhost", grid.Price, carbonaware.Options{}); err == nil {
		t.Error("a client of prices was made")
	}
	price, err := grid.ParseProfile("static:0.2", grid.Price, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := carbonaware.NewHandler(price, carbonaware.HandlerOptions{}); err == nil {
		t.Error("a handler of prices was made")
	}
}

func FuzzAnswers(f *testing.F) {
	f.Add(`[{"location":"GB","time":"2026-06-01T11:55:00Z","rating":5,"duration":"1.00:05:00.5"}]`)
	f.Add(`[{"location":"GB","forecastData":[{"location":"GB","timestamp":"2026-06-01T12:00:00Z","duration":5,"value":1}]}]`)
	body := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }))
	f.Cleanup(s.Close)
	src := source(f, s.URL, carbonaware.Options{})
	f.Fuzz(func(t *testing.T, b string) {
		body = b
		for _, ask := range []func(context.Context, string, time.Time, time.Time) ([]grid.Point, error){src.History, src.Forecast} {
			ps, err := ask(context.Background(), "GB", time.Unix(0, 0), time.Unix(1<<33, 0))
			if err != nil {
				continue
			}
			for i, p := range ps {
				if err := p.Validate(); err != nil || p.Zone != "GB" || i > 0 && p.Start.Before(ps[i-1].End) {
					t.Fatalf("point %d is %+v: %v", i, p, err)
				}
			}
		}
	})
}

func Example() {
	// A server of the SDK's routes over any source, read by its own client.
	profile, err := grid.ParseProfile("static:56", grid.AverageLifeCycle, 0, now)
	if err != nil {
		panic(err)
	}
	h, err := carbonaware.NewHandler(profile, carbonaware.HandlerOptions{Now: now})
	if err != nil {
		panic(err)
	}
	s := httptest.NewServer(h)
	defer s.Close()
	source, err := carbonaware.New(s.URL, grid.AverageLifeCycle, carbonaware.Options{Now: now})
	if err != nil {
		panic(err)
	}
	p, err := source.Current(context.Background(), "FR")
	fmt.Println(p.Zone, p.Value, p.Signal, err)
	// Output: FR 56 average_lifecycle_gco2eq_per_kwh <nil>
}
