package watttime_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/watttime"
)

// api is a WattTime that counts logins and can make its tokens expire.
type api struct {
	logins int
	token  string
	body   string
}

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/login" {
		if u, p, _ := r.BasicAuth(); u != "user" || p != "p4ssword" {
			w.WriteHeader(http.StatusForbidden)
			return
		}
		a.logins++
		a.token = fmt.Sprintf("token-%d", a.logins)
		fmt.Fprintf(w, `{"token":%q}`, a.token)
		return
	}
	if r.Header.Get("Authorization") != "Bearer "+a.token {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	io.WriteString(w, a.body)
}

var noon = time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)

func source(t testing.TB, a *api) *watttime.Source {
	s := httptest.NewServer(a)
	t.Cleanup(s.Close)
	src, err := watttime.New(s.URL, func() (string, string, error) { return "user", "p4ssword", nil }, watttime.Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func body(region, unit string, values ...string) string {
	data := make([]string, len(values))
	for i, v := range values {
		data[i] = fmt.Sprintf(`{"point_time":%q,"value":%s}`, noon.Add(time.Duration(i)*5*time.Minute).Format(time.RFC3339), v)
	}
	return fmt.Sprintf(`{"data":[%s],"meta":{"region":%q,"signal_type":"co2_moer","units":%q}}`, strings.Join(data, ","), region, unit)
}

func TestPoundsPerMegawattHourBecomeGrams(t *testing.T) {
	s := source(t, &api{body: body("CAISO_NORTH", "lbs_co2_per_mwh", "1000", "null", "500")})
	p, err := s.Current(t.Context(), "CAISO_NORTH")
	if err != nil || math.Abs(p.Value-453.592) > 0.001 || p.Signal != grid.MarginalDirect {
		t.Errorf("1,000 lb/MWh are %+v, error %v; want 453.592 g/kWh, marginal", p, err)
	}
	ps, err := s.Forecast(t.Context(), "CAISO_NORTH", noon, noon.Add(time.Hour))
	if err != nil || len(ps) != 2 || !ps[1].Forecast {
		t.Errorf("forecast is %+v, error %v; null is a gap", ps, err)
	}
}

// One login serves all requests until the token is refused, and then one more.
func TestTokenThatExpires(t *testing.T) {
	a := &api{body: body("X", "lbs_co2_per_mwh", "1")}
	s := source(t, a)
	for range 3 {
		if _, err := s.Current(t.Context(), "X"); err != nil {
			t.Fatal(err)
		}
	}
	if a.logins != 1 {
		t.Errorf("%d logins for three requests", a.logins)
	}
	a.token = "revoked"
	if _, err := s.Current(t.Context(), "X"); err != nil || a.logins != 2 {
		t.Errorf("after the token expired: error %v, %d logins", err, a.logins)
	}
}

// A machine whose clock is some minutes behind the provider's is told the provider's present; what is far ahead is not the present.
func TestClockThatIsBehind(t *testing.T) {
	srv := httptest.NewServer(&api{body: body("X", "lbs_co2_per_mwh", "1000", "2000")})
	defer srv.Close()
	for behind, known := range map[time.Duration]bool{0: true, time.Second: true, 4 * time.Minute: true, time.Hour: false} {
		src, err := watttime.New(srv.URL, func() (string, string, error) { return "user", "p4ssword", nil }, watttime.Options{Now: func() time.Time { return noon.Add(-behind) }})
		if err != nil {
			t.Fatal(err)
		}
		if p, err := src.Current(t.Context(), "X"); known != (err == nil) || known && !p.Start.Equal(noon) || !known && !errors.Is(err, grid.ErrUnknown) {
			t.Errorf("%v behind: %+v, error %v", behind, p, err)
		}
	}
}

// Who waits for another's login waits no longer than its own context.
func TestLoginThatHangs(t *testing.T) {
	asked := make(chan struct{}, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer srv.Close()
	src, err := watttime.New(srv.URL, func() (string, string, error) { return "user", "p4ssword", nil }, watttime.Options{Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	long, stop := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := src.Current(long, "X")
		done <- err
	}()
	<-asked
	short, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := src.Current(short, "X"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	select {
	case err := <-done:
		t.Errorf("the first has returned: %v", err)
	default:
	}
	stop()
	<-done
}

func TestOtherUnitsAndZonesAreRefused(t *testing.T) {
	for _, b := range []string{body("Y", "lbs_co2_per_mwh", "1"), body("X", "g_per_kwh", "1"), body("X", "lbs_co2_per_mwh", "-1")} {
		if _, err := source(t, &api{body: b}).Current(t.Context(), "X"); !errors.Is(err, grid.ErrImplausible) {
			t.Errorf("%s: error is %v, want ErrImplausible", b, err)
		}
	}
	if _, err := source(t, &api{body: body("X", "lbs_co2_per_mwh")}).Current(t.Context(), "X"); !errors.Is(err, grid.ErrUnknown) {
		t.Errorf("without data the error is %v, want ErrUnknown", err)
	}
}

func TestWrongPasswordStaysSecret(t *testing.T) {
	s := httptest.NewServer(&api{})
	defer s.Close()
	src, err := watttime.New(s.URL, func() (string, string, error) { return "user", "wr0ng", nil }, watttime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := src.Current(t.Context(), "X"); err == nil || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("error is %v", err)
	}
}

// years answers as the API does: 32 days of the past at once, 24 hours of the future unless more are asked for, 72 at most, in periods that it names.
func years(t *testing.T, period time.Duration) *watttime.Source {
	mux := http.NewServeMux()
	mux.HandleFunc("/login", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, `{"token":"t"}`) })
	answer := func(w http.ResponseWriter, from, until time.Time) {
		var data []string
		for at := from; at.Before(until); at = at.Add(period) {
			data = append(data, fmt.Sprintf(`{"point_time":%q,"value":1000}`, at.Format(time.RFC3339)))
		}
		fmt.Fprintf(w, `{"data":[%s],"meta":{"region":"X","data_point_period_seconds":%d,"signal_type":"co2_moer","units":"lbs_co2_per_mwh"}}`, strings.Join(data, ","), int(period.Seconds()))
	}
	mux.HandleFunc("/v3/historical", func(w http.ResponseWriter, r *http.Request) {
		from, err := time.Parse(time.RFC3339, r.FormValue("start"))
		until, err2 := time.Parse(time.RFC3339, r.FormValue("end"))
		if err != nil || err2 != nil || until.Sub(from) > 32*24*time.Hour {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		answer(w, from, until.Add(period)) // both ends are told
	})
	mux.HandleFunc("/v3/forecast", func(w http.ResponseWriter, r *http.Request) {
		hours := 24
		if text := r.FormValue("horizon_hours"); text != "" {
			var err error
			if hours, err = strconv.Atoi(text); err != nil || hours < 0 || hours > 72 {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
		}
		answer(w, noon, noon.Add(time.Duration(hours)*time.Hour))
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	s, err := watttime.New(server.URL, func() (string, string, error) { return "user", "p4ssword", nil }, watttime.Options{Now: func() time.Time { return noon }})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A quarter of a year is asked for in pieces that the API answers, and nothing beside what was asked for is told.
func TestHistoryInPieces(t *testing.T) {
	ps, err := years(t, time.Hour).History(t.Context(), "X", noon.AddDate(0, 0, -90), noon)
	if err != nil || len(ps) != 90*24 || !ps[0].Start.Equal(noon.AddDate(0, 0, -90)) || !ps[len(ps)-1].End.Equal(noon) {
		t.Errorf("%d hours of 90 days, error %v", len(ps), err)
	}
}

// The forecast reaches as far as it is asked for, which is three days at most.
func TestForecastReachesAsFarAsItIsAskedFor(t *testing.T) {
	s := years(t, 5*time.Minute)
	for hours, want := range map[int]int{2: 2, 24: 24, 48: 48, 72: 72, 96: 72} {
		ps, err := s.Forecast(t.Context(), "X", noon, noon.Add(time.Duration(hours)*time.Hour))
		if err != nil || len(ps) != 12*want {
			t.Errorf("of %d hours %d points are told, error %v; want %d hours by five minutes", hours, len(ps), err, want)
		}
	}
}

// Average and marginal intensity are two signals: each is asked for by its name, and neither is taken for the other.
func TestAverageIsNotMarginal(t *testing.T) {
	var asked []string
	answer := "co2_aoer"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/login" {
			io.WriteString(w, `{"token":"t"}`)
			return
		}
		asked = append(asked, r.FormValue("signal_type"))
		fmt.Fprintf(w, `{"data":[{"point_time":%q,"value":1000}],"meta":{"region":"X","signal_type":%q,"units":"lbs_co2_per_mwh"}}`, noon.Format(time.RFC3339), answer)
	}))
	defer server.Close()
	for average, want := range map[bool]grid.Signal{true: grid.AverageDirect, false: grid.MarginalDirect} {
		s, err := watttime.New(server.URL, func() (string, string, error) { return "user", "p4ssword", nil }, watttime.Options{Average: average, Now: func() time.Time { return noon }})
		if err != nil {
			t.Fatal(err)
		}
		asked, answer = nil, map[bool]string{true: "co2_aoer", false: "co2_moer"}[average]
		if p, err := s.Current(t.Context(), "X"); err != nil || p.Signal != want || s.Signal() != want || asked[0] != answer {
			t.Errorf("average %v: %+v, error %v, asked for %v", average, p, err, asked)
		}
		answer = map[bool]string{true: "co2_moer", false: "co2_aoer"}[average]
		if p, err := s.Current(t.Context(), "X"); !errors.Is(err, grid.ErrImplausible) {
			t.Errorf("average %v: of the other signal %+v, error %v", average, p, err)
		}
	}
}

// A value holds as long as the answer says that one does.
func TestPeriodOfTheAnswer(t *testing.T) {
	p, err := years(t, time.Hour).Current(t.Context(), "X")
	if err != nil || p.End.Sub(p.Start) != time.Hour {
		t.Errorf("%+v, error %v; want a value of an hour", p, err)
	}
}

// The region of a place is asked for with the signal; where there is none the zone is unknown, and another's answer is refused.
func TestRegionAt(t *testing.T) {
	a := &api{body: `{"region":"CAISO_NORTH","region_full_name":"California ISO Northern","signal_type":"co2_moer"}`}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/login" {
			asked = append(asked, r.URL.Path+"?"+r.URL.RawQuery)
			if r.FormValue("latitude") == "0" {
				w.WriteHeader(http.StatusNotFound)
				return
			}
		}
		a.ServeHTTP(w, r)
	}))
	defer server.Close()
	s, err := watttime.New(server.URL, func() (string, string, error) { return "user", "p4ssword", nil }, watttime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if region, err := s.RegionAt(t.Context(), 37.8, -122.4); err != nil || region != "CAISO_NORTH" || asked[0] != "/v3/region-from-loc?latitude=37.8&longitude=-122.4&signal_type=co2_moer" {
		t.Errorf("region is %q, error %v, asked %v", region, err, asked)
	}
	for _, place := range [][2]float64{{0, 0}, {91, 0}, {0.5, math.NaN()}} {
		if region, err := s.RegionAt(t.Context(), place[0], place[1]); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("at %v the region is %q, error %v; want ErrUnknownZone", place, region, err)
		}
	}
	a.body = `{"region":"CAISO_NORTH","signal_type":"health_damage"}`
	if region, err := s.RegionAt(t.Context(), 37.8, -122.4); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("of another signal the region is %q, error %v", region, err)
	}
}

// Over the internet credentials do not go in the clear.
func TestWantsHTTPS(t *testing.T) {
	if _, err := watttime.New("http://api.watttime.org", func() (string, string, error) { return "user", "p4ssword", nil }, watttime.Options{}); err == nil || !strings.Contains(err.Error(), "https") {
		t.Errorf("error is %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(body("X", "lbs_co2_per_mwh", "1000"))
	a := &api{}
	s := source(f, a)
	f.Fuzz(func(t *testing.T, b string) {
		a.body = b
		if p, err := s.Current(context.Background(), "X"); err == nil && p.Validate() != nil {
			t.Fatal(p.Validate())
		}
	})
}

func ExampleSource() {
	s := httptest.NewServer(&api{body: body("CAISO_NORTH", "lbs_co2_per_mwh", "900")})
	defer s.Close()
	source, err := watttime.New(s.URL, func() (string, string, error) { return "user", "p4ssword", nil }, watttime.Options{Now: func() time.Time { return noon }})
	if err != nil {
		panic(err)
	}
	p, err := source.Current(context.Background(), "CAISO_NORTH")
	fmt.Printf("%.1f %s %v\n", p.Value, p.Signal, err)
	// Output: 408.2 marginal_direct_gco2eq_per_kwh <nil>
}
