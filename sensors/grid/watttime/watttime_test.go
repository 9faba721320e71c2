package watttime_test

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
