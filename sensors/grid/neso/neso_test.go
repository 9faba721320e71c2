package neso_test

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
	"github.com/leastwatt/leastwatt/sensors/grid/neso"
)

func source(t testing.TB, answer func(path string) string) *neso.Source {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, answer(r.URL.Path)) }))
	t.Cleanup(s.Close)
	src, err := neso.New(s.URL, neso.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func half(from, to, intensity string) string {
	return fmt.Sprintf(`{"from":"2026-06-01T%sZ","to":"2026-06-01T%sZ","intensity":%s}`, from, to, intensity)
}

func TestMeasuredElseForecastElseUnknown(t *testing.T) {
	for intensity, want := range map[string]struct {
		value     float64
		estimated bool
		err       error
	}{
		`{"forecast":100,"actual":90,"index":"low"}`: {90, false, nil},
		`{"forecast":100,"actual":null}`:             {100, true, nil},
		`{"forecast":null,"actual":null}`:            {0, false, grid.ErrUnknown},
		`{"forecast":-5,"actual":null}`:              {0, false, grid.ErrImplausible},
	} {
		s := source(t, func(string) string { return `{"data":[` + half("12:00", "12:30", intensity) + `]}` })
		p, err := s.Current(t.Context(), "GB")
		if !errors.Is(err, want.err) || err == nil && (p.Value != want.value || p.Estimated != want.estimated || p.End.Sub(p.Start) != 30*time.Minute) {
			t.Errorf("%s gives %+v, error %v", intensity, p, err)
		}
	}
	s := source(t, func(string) string { return `{"data":[]}` })
	if _, err := s.Current(t.Context(), "FR"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("error is %v, want ErrUnknownZone", err)
	}
}

// A month is asked for in pieces that the API answers, and half-hours that two pieces share are told once.
func TestHistoryInPieces(t *testing.T) {
	var asked []string
	s := source(t, func(path string) string {
		asked = append(asked, path)
		return `{"data":[` + half("12:00", "12:30", `{"actual":90}`) + `]}`
	})
	from := time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC)
	ps, err := s.History(t.Context(), "GB", from, from.AddDate(0, 0, 30))
	if err != nil || len(ps) != 1 || len(asked) != 3 || !strings.HasPrefix(asked[0], "/intensity/2026-06-01T00:00Z/2026-06-15T00:00Z") {
		t.Errorf("%d points from requests %v, error %v", len(ps), asked, err)
	}
}

// The API's answer to a question of hours begins with the half-hour before: a history is what was asked for.
func TestHistoryIsWhatWasAskedFor(t *testing.T) {
	s := source(t, func(string) string {
		return `{"data":[` + half("11:30", "12:00", `{"actual":80}`) + `,` + half("12:00", "12:30", `{"actual":90}`) + `,` + half("12:30", "13:00", `{"actual":95}`) + `]}`
	})
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	if ps, err := s.History(t.Context(), "GB", noon, noon.Add(30*time.Minute)); err != nil || len(ps) != 1 || ps[0].Value != 90 {
		t.Errorf("history is %+v, error %v; want the one half-hour from noon", ps, err)
	}
}

// Regions and postcodes are zones of their own, of which one answer stands in a list and the other alone, as the API has it.
func TestRegions(t *testing.T) {
	noon := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
	now, later := half("12:00", "12:30", `{"forecast":120,"index":"low"}`), half("12:30", "13:00", `{"forecast":60,"index":"low"}`)
	s := source(t, func(path string) string {
		switch path {
		case "/regional/regionid/13":
			return `{"data":[{"regionid":13,"dnoregion":"UKPN London","shortname":"London","data":[` + now + `]}]}`
		case "/regional/postcode/EC2A":
			return `{"data":[{"regionid":13,"shortname":"London","postcode":"EC2A","data":[` + now + `]}]}`
		case "/regional/intensity/2026-06-01T12:00Z/fw48h/regionid/13", "/regional/intensity/2026-06-01T11:00Z/2026-06-01T13:00Z/regionid/13":
			return `{"data":{"regionid":13,"shortname":"London","data":[` + now + `,` + later + `]}}`
		case "/regional/intensity/2026-06-01T12:00Z/fw48h/postcode/EC2A":
			return `{"data":{"regionid":13,"postcode":"EC2A","data":[` + now + `,` + later + `]}}`
		case "/regional/regionid/7":
			return `{"data":[{"regionid":8,"data":[` + now + `]}]}`
		}
		t.Errorf("asked for %s", path)
		return ""
	})
	for _, zone := range []string{"GB-13", "GB-EC2A"} {
		if p, err := s.Current(t.Context(), zone); err != nil || p.Zone != zone || p.Value != 120 || !p.Estimated || !p.Covers(noon) {
			t.Errorf("%s is %+v, error %v", zone, p, err)
		}
		if ps, err := s.Forecast(t.Context(), zone, noon, noon.Add(time.Hour)); err != nil || len(ps) != 2 || ps[1].Zone != zone || ps[1].Value != 60 || !ps[1].Forecast {
			t.Errorf("forecast of %s is %+v, error %v", zone, ps, err)
		}
	}
	if ps, err := s.History(t.Context(), "GB-13", noon.Add(-time.Hour), noon.Add(time.Hour)); err != nil || len(ps) != 2 || !ps[0].Estimated {
		t.Errorf("history is %+v, error %v", ps, err)
	}
	if _, err := s.Current(t.Context(), "GB-7"); !errors.Is(err, grid.ErrImplausible) {
		t.Errorf("of another region the error is %v, want ErrImplausible", err)
	}
	for _, zone := range []string{"GB-0", "GB-18", "GB-013", "GB-NIR", "GB-EC2A 1AA", "GB-ec2a", "GB-", "FR-13", "13", "GB-13/../14"} {
		if _, err := s.Current(t.Context(), zone); !errors.Is(err, grid.ErrUnknownZone) {
			t.Errorf("%s: error is %v, want ErrUnknownZone", zone, err)
		}
	}
}

// A postcode that nobody has is no zone, and a provider that fails is not a zone that is missing.
func TestPostcodeThatIsNone(t *testing.T) {
	status := http.StatusBadRequest
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) }))
	defer server.Close()
	s, err := neso.New(server.URL, neso.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Current(t.Context(), "GB-ZZ9"); !errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("error is %v, want ErrUnknownZone", err)
	}
	status = http.StatusInternalServerError
	if _, err := s.Current(t.Context(), "GB-ZZ9"); err == nil || errors.Is(err, grid.ErrUnknownZone) {
		t.Errorf("of a provider that fails the error is %v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(`{"data":[` + half("12:00", "12:30", `{"forecast":100,"actual":90}`) + `]}`)
	body := ""
	f.Add(`{"data":[{"regionid":13,"data":[` + half("12:00", "12:30", `{"forecast":100}`) + `]}]}`)
	s := source(f, func(string) string { return body })
	f.Fuzz(func(t *testing.T, b string) {
		body = b
		for _, zone := range []string{"GB", "GB-13"} {
			if p, err := s.Current(context.Background(), zone); err == nil && (p.Validate() != nil || p.Zone != zone) {
				t.Fatal(p, p.Validate())
			}
		}
	})
}

func ExampleSource() {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, `{"data":[{"from":"2026-06-01T12:00Z","to":"2026-06-01T12:30Z","intensity":{"forecast":100,"actual":90}}]}`)
	}))
	defer s.Close()
	source, err := neso.New(s.URL, neso.Options{})
	if err != nil {
		panic(err)
	}
	p, err := source.Current(context.Background(), neso.Zone)
	fmt.Println(p.Value, p.Signal, err)
	// Output: 90 average_direct_gco2eq_per_kwh <nil>
}
