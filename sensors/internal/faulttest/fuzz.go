package faulttest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/sensors"
)

// FuzzText feeds a back end with foreign texts, two after the other, since rates need two. Whatever they are, a read
// gives something or an error, no value that is not possible, no kind twice and nothing without a time. Seeds are
// texts of the protocol and answers of emulated devices.
func FuzzText(f *testing.F, source func(url string) sensors.SensorSource, devices []http.Handler, seeds ...string) {
	for _, d := range devices {
		w := httptest.NewRecorder()
		d.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		seeds = append(seeds, w.Body.String())
	}
	for i, s := range seeds {
		f.Add(s, seeds[(i+1)%len(seeds)])
		f.Add(s, strings.ReplaceAll(s, "1", "9"))
	}
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = io.WriteString(w, body)
	}))
	f.Cleanup(server.Close)
	s := source(server.URL + "/metrics")
	f.Fuzz(func(t *testing.T, first, second string) {
		for _, body = range []string{first, second} {
			readings, err := s.Read(t.Context(), Node)
			if len(readings) == 0 && err == nil {
				t.Error("neither readings nor an error")
			}
			seen := make(map[sensors.Kind]bool)
			for _, r := range readings {
				if err := sensors.Possible(r.Kind, r.Value); err != nil || r.At.IsZero() || r.Source == "" || seen[r.Kind] {
					t.Errorf("%+v, %v", r, err)
				}
				seen[r.Kind] = true
			}
		}
	})
}
