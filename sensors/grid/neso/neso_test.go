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

func FuzzAnswer(f *testing.F) {
	f.Add(`{"data":[` + half("12:00", "12:30", `{"forecast":100,"actual":90}`) + `]}`)
	body := ""
	s := source(f, func(string) string { return body })
	f.Fuzz(func(t *testing.T, b string) {
		body = b
		if p, err := s.Current(context.Background(), "GB"); err == nil && p.Validate() != nil {
			t.Fatal(p.Validate())
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
