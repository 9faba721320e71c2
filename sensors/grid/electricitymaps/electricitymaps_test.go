package electricitymaps_test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/electricitymaps"
)

const secret = "s3cret-token"

// provider answers as the API does, for the token alone.
func provider(t testing.TB, bodies map[string]string) (string, *tls.Config) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, ok := bodies[r.URL.Path]
		switch {
		case r.Header.Get("auth-token") != secret:
			w.WriteHeader(http.StatusUnauthorized)
		case !ok, r.URL.Query().Get("zone") != "FR":
			w.WriteHeader(http.StatusNotFound)
		default:
			io.WriteString(w, body)
		}
	}))
	t.Cleanup(s.Close)
	return s.URL, s.Client().Transport.(*http.Transport).TLSClientConfig
}

func source(t testing.TB, o electricitymaps.Options, bodies map[string]string) *electricitymaps.Source {
	url, tls := provider(t, bodies)
	o.TLS = tls
	s, err := electricitymaps.New(url, func() (string, error) { return secret, nil }, o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

const base = "/v3/carbon-intensity/"

func TestAnswers(t *testing.T) {
	s := source(t, electricitymaps.Options{}, map[string]string{
		base + "latest":     `{"zone":"FR","carbonIntensity":0,"datetime":"2026-06-01T12:00:00Z","emissionFactorType":"lifecycle","isEstimated":true}`,
		base + "past-range": `{"zone":"FR","data":[{"carbonIntensity":30,"datetime":"2026-06-01T13:00:00Z"},{"carbonIntensity":null,"datetime":"2026-06-01T11:00:00Z"},{"carbonIntensity":20,"datetime":"2026-06-01T12:00:00Z"},{"carbonIntensity":20,"datetime":"2026-06-01T12:00:00Z"}]}`,
		base + "forecast":   `{"zone":"FR","forecast":[{"carbonIntensity":40,"datetime":"2026-06-01T12:00:00Z"},{"carbonIntensity":50,"datetime":"2026-06-02T12:00:00Z"}]}`,
	})
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	if p, err := s.Current(t.Context(), "FR"); err != nil || p.Value != 0 || !p.Estimated || !p.Covers(noon) || p.Signal != grid.AverageLifeCycle {
		t.Errorf("current is %+v, error %v; an intensity of 0 is a measurement", p, err)
	}
	if ps, err := grid.History(t.Context(), s, "FR", noon.Add(-9*time.Hour), noon.Add(9*time.Hour)); err != nil || len(ps) != 2 || ps[0].Value != 20 {
		t.Errorf("history is %+v, error %v; want 20 and 30 in order, and a gap for null", ps, err)
	}
	if ps, err := grid.Forecast(t.Context(), s, "FR", noon, noon.Add(time.Hour)); err != nil || len(ps) != 1 || !ps[0].Forecast || ps[0].Value != 40 {
		t.Errorf("forecast is %+v, error %v", ps, err)
	}
	if _, err := s.Current(t.Context(), "XX"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("error is %v, want ErrUnknownZone", err)
	}
}

// Prices are of their market's currency, by the kilowatt-hour, and may be below 0.
func TestPrices(t *testing.T) {
	const base = "/v3/price-day-ahead/"
	s := source(t, electricitymaps.Options{Price: true}, map[string]string{
		base + "latest":     `{"zone":"FR","datetime":"2026-06-01T12:00:00.000Z","createdAt":"2026-05-31T12:21:16.175Z","updatedAt":"2026-05-31T12:21:16.175Z","value":-12.5,"unit":"EUR/MWh","source":"nordpool.com","temporalGranularity":"hourly"}`,
		base + "past-range": `{"zone":"FR","unit":"EUR/MWh","data":[{"datetime":"2026-06-01T10:00:00Z","value":80},{"datetime":"2026-06-01T11:00:00Z","value":null}]}`,
		base + "forecast":   `{"zone":"FR","data":[{"datetime":"2026-06-01T12:00:00Z","value":40,"unit":"EUR/MWh"},{"datetime":"2026-06-01T13:00:00Z","value":0,"unit":"EUR/MWh"}]}`,
	})
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	if p, err := s.Current(t.Context(), "FR"); err != nil || p.Value != -0.0125 || p.Currency != "EUR" || p.Signal != grid.Price || !p.Covers(noon) {
		t.Errorf("current is %+v, error %v", p, err)
	}
	if ps, err := s.History(t.Context(), "FR", noon.Add(-3*time.Hour), noon); err != nil || len(ps) != 1 || ps[0].Value != 0.08 || ps[0].Currency != "EUR" {
		t.Errorf("history is %+v, error %v; null is a gap", ps, err)
	}
	if ps, err := s.Forecast(t.Context(), "FR", noon, noon.Add(6*time.Hour)); err != nil || len(ps) != 2 || ps[1].Value != 0 || !ps[1].Forecast {
		t.Errorf("forecast is %+v, error %v", ps, err)
	}
	for _, unit := range []string{"", "EUR", "EUR/kWh", "/MWh"} {
		s := source(t, electricitymaps.Options{Price: true}, map[string]string{base + "latest": fmt.Sprintf(`{"zone":"FR","datetime":"2026-06-01T12:00:00Z","value":1,"unit":%q}`, unit)})
		if p, err := s.Current(t.Context(), "FR"); !errors.Is(err, grid.ErrImplausible) {
			t.Errorf("a price in %q is %+v, error %v", unit, p, err)
		}
	}
	mixed := source(t, electricitymaps.Options{Price: true}, map[string]string{base + "latest": `{"zone":"FR","carbonIntensity":56,"datetime":"2026-06-01T12:00:00Z"}`})
	if p, err := mixed.Current(t.Context(), "FR"); !errors.Is(err, grid.ErrUnknown) {
		t.Errorf("an intensity as a price is %+v, error %v", p, err)
	}
}

func TestFaults(t *testing.T) {
	for name, test := range map[string]struct {
		body string
		want error
	}{
		"null":         {`{"zone":"FR","carbonIntensity":null,"datetime":"2026-06-01T12:00:00Z"}`, grid.ErrUnknown},
		"other zone":   {`{"zone":"DE","carbonIntensity":5,"datetime":"2026-06-01T12:00:00Z"}`, grid.ErrImplausible},
		"other kind":   {`{"zone":"FR","carbonIntensity":5,"datetime":"2026-06-01T12:00:00Z","emissionFactorType":"direct"}`, grid.ErrImplausible},
		"negative":     {`{"zone":"FR","carbonIntensity":-5,"datetime":"2026-06-01T12:00:00Z"}`, grid.ErrImplausible},
		"billion":      {`{"zone":"FR","carbonIntensity":1e9,"datetime":"2026-06-01T12:00:00Z"}`, grid.ErrImplausible},
		"text":         {`<html>`, nil},
		"wrong type":   {`{"carbonIntensity":"high"}`, nil},
		"large answer": {strings.Repeat(" ", 5<<20), nil},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := source(t, electricitymaps.Options{}, map[string]string{base + "latest": test.body}).Current(t.Context(), "FR")
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("error is %v, want %v", err, test.want)
			}
			if strings.Contains(fmt.Sprint(err), secret) {
				t.Errorf("the error tells the token: %v", err)
			}
		})
	}
}

// One absurd hour is a gap among the others.
func TestAbsurdHourIsAGap(t *testing.T) {
	s := source(t, electricitymaps.Options{}, map[string]string{
		base + "past-range": `{"zone":"FR","data":[{"carbonIntensity":30,"datetime":"2026-06-01T12:00:00Z"},{"carbonIntensity":-5,"datetime":"2026-06-01T13:00:00Z"},{"carbonIntensity":1e9,"datetime":"2026-06-01T14:00:00Z"},{"carbonIntensity":40,"datetime":"2026-06-01T15:00:00Z"},{"carbonIntensity":44,"datetime":"2026-06-01T15:15:00Z"}]}`,
		base + "forecast":   `{"zone":"FR","forecast":[{"carbonIntensity":-5,"datetime":"2026-06-01T12:00:00Z"}]}`,
	})
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	ps, err := grid.History(t.Context(), s, "FR", noon, noon.Add(9*time.Hour))
	if err != nil || len(ps) != 3 || ps[1].Value != 40 || !ps[1].End.Equal(ps[2].Start) {
		t.Errorf("history is %+v, error %v; want 30, 40 for a quarter of an hour, and 44", ps, err)
	}
	if ps, err := grid.Forecast(t.Context(), s, "FR", noon, noon.Add(time.Hour)); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("of nothing else the forecast is %+v, error %v", ps, err)
	}
}

// A token of the free tier, which may not ask for ranges, has the history of a day.
func TestHistoryOfTheFreeTier(t *testing.T) {
	asked := make(map[string]int)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		if r.URL.Path != base+"history" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		io.WriteString(w, `{"zone":"FR","history":[{"zone":"FR","carbonIntensity":20,"datetime":"2026-06-01T10:00:00Z"},{"zone":"FR","carbonIntensity":21,"datetime":"2026-06-01T11:00:00Z"}]}`)
	}))
	defer server.Close()
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	s, err := electricitymaps.New(server.URL, func() (string, error) { return secret, nil }, electricitymaps.Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	if ps, err := s.History(t.Context(), "FR", noon.Add(-time.Hour), noon); err != nil || len(ps) != 1 || ps[0].Value != 21 {
		t.Errorf("history is %+v, error %v; want the hour asked for", ps, err)
	}
	if ps, err := s.History(t.Context(), "FR", noon.AddDate(0, 0, -30), noon); err != nil || len(ps) != 2 {
		t.Errorf("history of a month is %+v, error %v; want the hours of the last day", ps, err)
	}
	if ps, err := s.History(t.Context(), "FR", noon.Add(-99*time.Hour), noon.Add(-24*time.Hour)); err == nil || asked[base+"history"] != 2 {
		t.Errorf("of the days before %+v, error %v, asked %v; want the refusal, and no question in vain", ps, err, asked)
	}
}

// api answers as the API does: ten days of the past at once, and a day of the future unless a longer horizon is asked for that the plan has.
func api(t *testing.T, noon time.Time, plan int, asked *[]url.Values) *electricitymaps.Source {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.URL.Query())
		from, until, list := noon, noon.Add(24*time.Hour), "forecast"
		switch r.URL.Path {
		case base + "past-range":
			var err, err2 error
			from, err = time.Parse(time.RFC3339, r.FormValue("start"))
			until, err2 = time.Parse(time.RFC3339, r.FormValue("end"))
			if err != nil || err2 != nil || until.Sub(from) > 10*24*time.Hour {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			list = "data"
		case base + "forecast":
			if text := r.FormValue("horizonHours"); text != "" {
				hours, err := strconv.Atoi(text)
				if err != nil || !slices.Contains([]int{6, 24, 48, 72}, hours) || hours > plan {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				until = noon.Add(time.Duration(hours) * time.Hour)
			}
		}
		var data []string
		for at := from.Truncate(time.Hour); at.Before(until); at = at.Add(time.Hour) {
			data = append(data, fmt.Sprintf(`{"carbonIntensity":50,"datetime":%q}`, at.Format(time.RFC3339)))
		}
		fmt.Fprintf(w, `{"zone":"FR",%q:[%s]}`, list, strings.Join(data, ","))
	}))
	t.Cleanup(server.Close)
	s, err := electricitymaps.New(server.URL, func() (string, error) { return secret, nil }, electricitymaps.Options{Measured: true, Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A month is asked for in pieces that the API answers.
func TestHistoryInPieces(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	var asked []url.Values
	ps, err := api(t, noon, 72, &asked).History(t.Context(), "FR", noon.AddDate(0, 0, -30).Add(30*time.Minute), noon)
	if err != nil || len(ps) != 30*24 || len(asked) != 3 {
		t.Errorf("%d hours of 30 days in %d questions, error %v", len(ps), len(asked), err)
	}
}

// The forecast reaches as far as it is asked for and the plan allows.
func TestForecastReachesAsFarAsItIsAskedFor(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	for _, test := range []struct{ plan, hours, want int }{{72, 1, 1}, {72, 24, 24}, {72, 48, 48}, {72, 72, 72}, {72, 96, 72}, {24, 96, 24}, {24, 5, 5}} {
		var asked []url.Values
		ps, err := api(t, noon, test.plan, &asked).Forecast(t.Context(), "FR", noon, noon.Add(time.Duration(test.hours)*time.Hour))
		if err != nil || len(ps) != test.want {
			t.Errorf("of %d hours with a plan for %d there are %d, error %v; want %d", test.hours, test.plan, len(ps), err, test.want)
		}
	}
}

// Who wants measured values alone says so, and a zone without data is not answered with the one that the program happens to run in.
func TestWhatIsAsked(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	var asked []url.Values
	s := api(t, noon, 72, &asked)
	if _, err := s.History(t.Context(), "FR", noon.Add(-time.Hour), noon); err != nil {
		t.Fatal(err)
	}
	if q := asked[0]; q.Get("disableEstimations") != "true" || q.Get("disableCallerLookup") != "true" || q.Get("emissionFactorType") != "lifecycle" {
		t.Errorf("asked %v", q)
	}
}

func TestUnauthorizedKeepsTheTokenSecret(t *testing.T) {
	url, tls := provider(t, nil)
	s, err := electricitymaps.New(url, func() (string, error) { return secret + "-old", nil }, electricitymaps.Options{TLS: tls})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Current(t.Context(), "FR"); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("error is %v", err)
	}
}

// Over the internet credentials do not go in the clear.
func TestWantsHTTPS(t *testing.T) {
	if _, err := electricitymaps.New("http://api.electricitymaps.com", func() (string, error) { return secret, nil }, electricitymaps.Options{}); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("error is %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(`{"zone":"FR","forecast":[{"carbonIntensity":40,"datetime":"2026-06-01T12:00:00Z"}]}`)
	body := ""
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, body) }))
	f.Cleanup(s.Close)
	src, err := electricitymaps.New(s.URL, func() (string, error) { return secret, nil }, electricitymaps.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b string) {
		body = b
		ps, err := src.Forecast(context.Background(), "FR", time.Unix(0, 0), time.Unix(1<<33, 0))
		for _, p := range ps {
			if err == nil && p.Validate() != nil {
				t.Fatal(p.Validate())
			}
		}
	})
}

func ExampleSource() {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"zone":"FR","carbonIntensity":56,"datetime":"2026-06-01T12:00:00Z","emissionFactorType":"lifecycle"}`)
	}))
	defer s.Close()
	source, err := electricitymaps.New(s.URL, func() (string, error) { return "TOKEN", nil }, electricitymaps.Options{})
	if err != nil {
		panic(err)
	}
	p, err := source.Current(context.Background(), "FR")
	fmt.Println(p.Value, p.Signal, err)
	// Output: 56 average_lifecycle_gco2eq_per_kwh <nil>
}
