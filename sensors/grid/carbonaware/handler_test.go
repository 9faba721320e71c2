package carbonaware_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/carbonaware"
)

// wave is two days of hours around noon in two zones.
func wave(t testing.TB) *grid.Series {
	var ps []grid.Point
	for h := -24; h < 24; h++ {
		for i, zone := range []string{"GB", "FR"} {
			at := noon.Add(time.Duration(h) * time.Hour)
			ps = append(ps, grid.Point{Zone: zone, Signal: grid.MarginalDirect, Start: at, End: at.Add(time.Hour), Value: 200 + 100*math.Sin(float64(h))/float64(i+1)})
		}
	}
	s, err := grid.NewSeries(grid.MarginalDirect, ps, now)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func serve(t testing.TB, s grid.Source, o carbonaware.HandlerOptions) string {
	o.Now = now
	h, err := carbonaware.NewHandler(s, o)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return server.URL
}

// What our client reads from our handler is what the source says.
func TestHandlerReadByOurClient(t *testing.T) {
	want := wave(t)
	got := source(t, serve(t, want, carbonaware.HandlerOptions{}), carbonaware.Options{})
	same := cmpopts.IgnoreFields(grid.Point{}, "Source")
	for _, zone := range []string{"GB", "FR"} {
		for name, ask := range map[string]func(context.Context, grid.Source, string, time.Time, time.Time) ([]grid.Point, error){"history": grid.History, "forecast": grid.Forecast} {
			from, until := noon.Add(-9*time.Hour), noon.Add(9*time.Hour)
			if name == "forecast" {
				from = noon
			}
			a, err := ask(t.Context(), want, zone, from, until)
			if err != nil {
				t.Fatal(err)
			}
			b, err := ask(t.Context(), got, zone, from, until)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(a, b, same); d != "" {
				t.Errorf("%s of %s (-source +client):\n%s", name, zone, d)
			}
			if len(b) != 9 {
				t.Errorf("%s of %s has %d points, want 9", name, zone, len(b))
			}
		}
	}
	if _, err := got.Current(t.Context(), "XX"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("error is %v, want ErrUnknownZone", err)
	}
	if _, err := got.Current(t.Context(), ""); err == nil {
		t.Error("an empty location was answered")
	}
	none := source(t, serve(t, bare{}, carbonaware.HandlerOptions{}), carbonaware.Options{})
	if _, err := none.Forecast(t.Context(), "GB", noon, noon.Add(time.Hour)); !errors.Is(err, grid.ErrUnsupported) {
		t.Errorf("error is %v, want ErrUnsupported", err)
	}
}

// bare is a source with neither history nor forecast, whose errors hold a secret.
type bare struct{}

func (bare) Signal() grid.Signal { return grid.MarginalDirect }
func (bare) Current(context.Context, string) (grid.Point, error) {
	return grid.Point{}, errors.New("token s3cret was refused")
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	r, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	b, err := io.ReadAll(r.Body)
	if err != nil {
		t.Fatal(err)
	}
	return r.StatusCode, string(b)
}

func TestHandlerRefuses(t *testing.T) {
	url := serve(t, wave(t), carbonaware.HandlerOptions{MaxLocations: 2, MaxRange: 48 * time.Hour, MaxPoints: 20})
	const day = "time=2026-05-31T12:00:00Z&toTime=2026-06-01T12:00:00Z"
	for query, want := range map[string]struct {
		status int
		text   string
	}{
		"bylocation":                                               {400, `"location"`},
		"bylocation?location=":                                     {400, `"location"`},
		"bylocation?location=GB&location=FR":                       {400, "at most 1"},
		"bylocation?location=XX":                                   {400, `"location"`},
		"forecasts/current?location=XX":                            {400, "no such location"},
		"bylocation?location=GB&time=tomorrow":                     {400, "not a time"},
		"bylocation?location=GB&time=99999-01-01T00:00:00Z":        {400, "not a time"},
		"bylocation?location=GB&toTime=2026-06-01":                 {400, `"time"`},
		"bylocation?location=GB&time=2026-06-02&toTime=2026-06-01": {400, `"toTime"`},
		"bylocation?location=GB&time=2020-01-01&toTime=2026-06-01": {400, `"toTime"`},
		"bylocation?location=GB&" + day:                            {400, "more than 20 values"},
		"bylocation?location=%zz":                                  {400, "not well encoded"},
		"bylocation?location=" + strings.Repeat("x", 9000):         {400, "longer than"},
		"bylocations?location=a&location=b&location=c":             {400, "at most 2"},
		"forecasts/current?location=GB&windowSize=0":               {400, `"windowSize"`},
		"forecasts/current?location=GB&windowSize=1e3":             {400, `"windowSize"`},
		"forecasts/current?location=GB&dataStartAt=x":              {400, `"dataStartAt"`},
		"average-carbon-intensity?location=GB":                     {400, "both"},
		"average-carbon-intensity?location=GB&startTime=2020-01-01T00:00Z&endTime=2020-01-01T01:00Z":  {400, "not a time"},
		"average-carbon-intensity?location=GB&startTime=2020-01-01T00:00Z&endTime=2020-01-01T01:00:0": {400, "not a time"},
		"average-carbon-intensity?location=GB&startTime=2020-01-01&endTime=2020-01-02":                {204, ""},
		"nothing": {404, ""},
	} {
		status, body := get(t, url+"/emissions/"+query)
		if status != want.status || !strings.Contains(body, want.text) {
			t.Errorf("%.80s: status %d %q, want %d with %q", query, status, body, want.status, want.text)
		}
	}
	r, err := http.Post(url+"/emissions/bylocation?location=GB", "text/plain", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Body.Close()
	if r.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("POST has status %d", r.StatusCode)
	}
	if status, body := get(t, serve(t, bare{}, carbonaware.HandlerOptions{})+"/emissions/bylocation?location=GB"); status != 500 || strings.Contains(body, "s3cret") {
		t.Errorf("a failing source: status %d %q", status, body)
	}
}

// The SDK's server takes the names of parameters in any case.
func TestNamesOfParametersInAnyCase(t *testing.T) {
	url := serve(t, wave(t), carbonaware.HandlerOptions{})
	for _, ask := range [][2]string{
		{"bylocations?location=GB&location=FR&time=2026-06-01T00:00:00Z&toTime=2026-06-01T12:00:00Z", "bylocations?Location=GB&location=FR&Time=2026-06-01T00:00:00Z&totime=2026-06-01T12:00:00Z"},
		{"forecasts/current?location=GB&windowSize=120", "forecasts/current?LOCATION=GB&windowsize=120"},
	} {
		a, want := get(t, url+"/emissions/"+ask[0])
		b, got := get(t, url+"/emissions/"+ask[1])
		if a != http.StatusOK || b != a || got != want {
			t.Errorf("%s: status %d, %.80s, want what %s has: %d, %.80s", ask[1], b, got, ask[0], a, want)
		}
	}
}

// The best of two places is the lowest value of both, and an average is the mean over time.
func TestBestAndAverage(t *testing.T) {
	s := wave(t)
	url := serve(t, s, carbonaware.HandlerOptions{})
	var best []struct {
		Location string
		Rating   float64
	}
	_, body := get(t, url+"/emissions/bylocations/best?location=GB&location=FR&time=2026-06-01T00:00:00Z&toTime=2026-06-01T12:00:00Z")
	if err := json.Unmarshal([]byte(body), &best); err != nil || len(best) != 1 {
		t.Fatalf("%s: %v", body, err)
	}
	low := math.Inf(1)
	for _, z := range s.Zones() {
		ps, err := s.History(t.Context(), z, noon.Add(-12*time.Hour), noon)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			low = min(low, p.Value)
		}
	}
	if best[0].Rating != low || best[0].Location != "GB" {
		t.Errorf("best is %+v, want %v in GB", best[0], low)
	}
	var mean struct{ CarbonIntensity float64 }
	_, body = get(t, url+"/emissions/average-carbon-intensity?location=GB&startTime=2026-06-01T00:30:00Z&endTime=2026-06-01T12:00:00Z")
	if err := json.Unmarshal([]byte(body), &mean); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	from := noon.Add(-11*time.Hour - 30*time.Minute)
	ps, err := s.History(t.Context(), "GB", from, noon)
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := grid.Mean(ps, from, noon); math.Abs(mean.CarbonIntensity-want) > 1e-9 {
		t.Errorf("mean is %v, want %v", mean.CarbonIntensity, want)
	}
}

// Each window's value is the mean of the forecast over it, and the optimal one is the least.
func TestForecastWindows(t *testing.T) {
	s := wave(t)
	url := serve(t, s, carbonaware.HandlerOptions{})
	ps, err := s.Forecast(t.Context(), "GB", noon, noon.Add(24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	type datum struct {
		Timestamp time.Time
		Duration  int
		Value     float64
	}
	for size, count := range map[string]int{"30": 24, "60": 24, "90": 23, "240": 21, "1440": 1, "1500": 0} {
		var fs []struct{ ForecastData, OptimalDataPoints []datum }
		_, body := get(t, url+"/emissions/forecasts/current?location=GB&windowSize="+size)
		if err := json.Unmarshal([]byte(body), &fs); err != nil || len(fs) != 1 {
			t.Fatalf("%s: %v", body, err)
		}
		if got := len(fs[0].ForecastData); got != count {
			t.Errorf("%s minutes: %d windows, want %d", size, got, count)
		}
		low := math.Inf(1)
		for _, d := range fs[0].ForecastData {
			want, covered := grid.Mean(ps, d.Timestamp, d.Timestamp.Add(time.Duration(d.Duration)*time.Minute))
			if math.Abs(d.Value-want) > 1e-9 || covered != 1 {
				t.Errorf("%s minutes at %v: %v, want %v", size, d.Timestamp, d.Value, want)
			}
			low = min(low, d.Value)
		}
		if count > 0 && fs[0].OptimalDataPoints[0].Value != low {
			t.Errorf("%s minutes: optimum %v, want %v", size, fs[0].OptimalDataPoints[0].Value, low)
		}
	}
}

// The dictionary of locations has the shape of the SDK's: by name, with coordinates where they are known.
func TestLocations(t *testing.T) {
	status, body := get(t, serve(t, wave(t), carbonaware.HandlerOptions{})+"/locations")
	if want := `{"FR":{"latitude":48.9,"longitude":2.4,"name":"FR"},"GB":{"latitude":51.5,"longitude":-0.1,"name":"GB"}}`; status != http.StatusOK || body != want {
		t.Errorf("status %d, %s, want %s", status, body, want)
	}
	status, body = get(t, serve(t, bare{}, carbonaware.HandlerOptions{Zones: func() []string { return []string{"hall-1"} }})+"/locations")
	if want := `{"hall-1":{"latitude":null,"longitude":null,"name":"hall-1"}}`; status != http.StatusOK || body != want {
		t.Errorf("status %d, %s, want %s", status, body, want)
	}
	if status, body := get(t, serve(t, bare{}, carbonaware.HandlerOptions{})+"/locations"); status != http.StatusNoContent {
		t.Errorf("of a source that does not tell its zones: status %d, %s", status, body)
	}
}

// patchy knows nothing of GB, and counts whom it is asked about.
type patchy struct {
	*grid.Series
	err   error
	asked map[string]int
}

func (p *patchy) Current(ctx context.Context, zone string) (grid.Point, error) {
	if p.asked[zone]++; zone == "GB" {
		return grid.Point{}, p.err
	}
	return p.Series.Current(ctx, zone)
}

func (p *patchy) Forecast(ctx context.Context, zone string, from, until time.Time) ([]grid.Point, error) {
	if p.asked[zone]++; zone == "GB" {
		return nil, p.err
	}
	return p.Series.Forecast(ctx, zone, from, until)
}

// A location of which nothing is known leaves the others their answer; that of one alone is empty, and a failure is one.
func TestOneDarkLocation(t *testing.T) {
	s := &patchy{wave(t), grid.ErrStale, map[string]int{}}
	url := serve(t, s, carbonaware.HandlerOptions{})
	for _, path := range []string{"/emissions/bylocations?", "/emissions/bylocations/best?", "/emissions/forecasts/current?"} {
		for query, want := range map[string]int{"location=GB&location=FR": http.StatusOK, "location=GB": http.StatusNoContent} {
			var all []struct{ Location string }
			status, body := get(t, url+path+query)
			if status != want {
				t.Errorf("%s%s: status %d, %s", path, query, status, body)
			}
			if status == http.StatusOK && (json.Unmarshal([]byte(body), &all) != nil || len(all) != 1 || all[0].Location != "FR") {
				t.Errorf("%s%s: %s, want FR alone", path, query, body)
			}
		}
	}
	s.err = errors.New("broken")
	if status, body := get(t, url+"/emissions/bylocations?location=GB&location=FR"); status != http.StatusInternalServerError {
		t.Errorf("of a source that fails: status %d, %s", status, body)
	}
}

// The source is not asked about locations that there are not: each would be asked of the provider, and remembered.
func TestNoOtherLocations(t *testing.T) {
	s := &patchy{wave(t), nil, map[string]int{}}
	url := serve(t, s, carbonaware.HandlerOptions{Zones: func() []string { return []string{"FR"} }})
	for _, zone := range []string{"GB", "../../x", "fr"} {
		if status, body := get(t, url+"/emissions/bylocation?location="+zone); status != http.StatusBadRequest {
			t.Errorf("%s: status %d, %s", zone, status, body)
		}
	}
	if status, body := get(t, url+"/emissions/bylocation?location=FR"); status != http.StatusOK || len(s.asked) != 1 {
		t.Errorf("status %d, %s; asked about %v", status, body, s.asked)
	}
}

func FuzzHandler(f *testing.F) {
	f.Add("bylocation?location=GB&time=2026-06-01T00:00:00Z")
	f.Add("forecasts/current?location=GB&windowSize=90")
	h, err := carbonaware.NewHandler(wave(f), carbonaware.HandlerOptions{Now: now})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, q string) {
		path, query, _ := strings.Cut(q, "?")
		r := httptest.NewRequest(http.MethodGet, "/emissions/", nil)
		r.URL.Path, r.URL.RawQuery = "/emissions/"+path, query
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != http.StatusNotImplemented {
			t.Fatalf("%q: status %d %s", q, w.Code, w.Body)
		}
	})
}
