package main

import (
	"crypto/sha256"
	"crypto/subtle"
	_ "embed" // page.html
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/leastwatt/leastwatt/sensors/grid"
	"github.com/leastwatt/leastwatt/sensors/grid/carbonaware"
)

//go:embed page.html
var page []byte

// handler serves the API. The token function returns the bearer token that every request but those for the page itself and
// /healthz must bear; nil asks for none.
func handler(e *Engine, token func() (string, error), registry *prometheus.Registry) (http.Handler, error) {
	api := http.NewServeMux()
	api.HandleFunc("POST /jobs", e.postJobs)
	api.HandleFunc("GET /jobs", e.getJobs)
	api.HandleFunc("GET /jobs/{id}", e.getJob)
	api.HandleFunc("GET /strategy", e.getStrategy)
	api.HandleFunc("PUT /strategy", e.putStrategy)
	api.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, e.status()) })
	api.HandleFunc("GET /events", e.getEvents)
	api.HandleFunc("POST /metrics-ingest", e.ingest)
	if e.source != nil && e.source.Signal() != grid.Price {
		emissions, err := carbonaware.NewHandler(e.source, carbonaware.HandlerOptions{Now: e.now, Zones: e.zones})
		if err != nil {
			return nil, err
		}
		api.Handle("GET /emissions/", emissions)
		api.Handle("GET /locations", emissions)
	}
	api.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))

	open := http.NewServeMux()
	open.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'")
		w.Header().Set("Referrer-Policy", "no-referrer")
		_, _ = w.Write(page)
	})
	open.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	open.Handle("/", bearer(token, http.MaxBytesHandler(api, maxBody)))
	return http.NewCrossOriginProtection().Handler(open), nil
}

// bearer lets requests pass that bear the token. Digests of equal length are compared in constant time.
func bearer(token func() (string, error), next http.Handler) http.Handler {
	if token == nil {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		want, err := token()
		if err != nil {
			fail(w, http.StatusInternalServerError, errors.New("the token cannot be read"))
			return
		}
		scheme, got, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		a, b := sha256.Sum256([]byte(want)), sha256.Sum256([]byte(got))
		if subtle.ConstantTimeCompare(a[:], b[:]) != 1 || !strings.EqualFold(scheme, "Bearer") {
			w.Header().Set("WWW-Authenticate", `Bearer realm="leastwatt"`)
			fail(w, http.StatusUnauthorized, errors.New("want the header Authorization: Bearer TOKEN"))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // an error is the client's going away
}

func fail(w http.ResponseWriter, status int, err error) {
	answer(w, status, map[string]string{"error": err.Error()})
}

// body reads a request's body whole, or answers why not.
func body(w http.ResponseWriter, r *http.Request) ([]byte, bool) {
	b, err := io.ReadAll(r.Body)
	if err == nil {
		return b, true
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		fail(w, http.StatusRequestEntityTooLarge, fmt.Errorf("the body is larger than %d bytes", maxBody))
	} else {
		fail(w, http.StatusBadRequest, errors.New("the body could not be read"))
	}
	return nil, false
}

func (e *Engine) getStrategy(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"strategy": e.Strategy(), "strategies": strategies()})
}

func (e *Engine) putStrategy(w http.ResponseWriter, r *http.Request) {
	b, ok := body(w, r)
	if !ok {
		return
	}
	var v struct {
		Strategy string `json:"strategy"`
	}
	if err := json.Unmarshal(b, &v); err != nil {
		fail(w, http.StatusBadRequest, fmt.Errorf("json: %w", err))
		return
	}
	if err := strategyOf(v.Strategy); err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	if err := e.SetStrategy(r.Context(), v.Strategy); err != nil {
		e.opts.Logger.Error("switching the strategy", "error", err)
		fail(w, http.StatusServiceUnavailable, errors.New("the strategy could not be stored"))
		return
	}
	e.getStrategy(w, r)
}

func strategyOf(name string) error {
	if !validStrategy(name) {
		return strategyError(name)
	}
	return nil
}
