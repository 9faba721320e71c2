package main

import (
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"
)

// serveHTTP serves /metrics, /healthz and /readyz until stop is called. Series, if not nil, writes metrics that the
// registry does not hold.
func serveHTTP(addr string, registry prometheus.Gatherer, series func(io.Writer) error, ready func() error) (stop func(), err error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("serve metrics: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", metricsHandler(registry, series))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second, WriteTimeout: time.Minute}
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	return func() { _ = server.Close(); wg.Wait() }, nil
}

// metricsHandler writes what the registry gathers and then the series, in the text format that every scraper reads,
// compressed where it is asked for. One scrape at a time: each costs memory.
func metricsHandler(registry prometheus.Gatherer, series func(io.Writer) error) http.Handler {
	var one sync.Mutex
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		one.Lock()
		defer one.Unlock()
		families, err := registry.Gather()
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		format := expfmt.NewFormat(expfmt.TypeTextPlain)
		w.Header().Set("Content-Type", string(format))
		w.Header().Set("Vary", "Accept-Encoding")
		var z *gzip.Writer
		out := io.Writer(w)
		if strings.Contains(r.Header.Get("Accept-Encoding"), "gzip") {
			w.Header().Set("Content-Encoding", "gzip")
			z, _ = gzip.NewWriterLevel(w, gzip.BestSpeed) // no error: the level is one of its own
			out = z
		}
		enc := expfmt.NewEncoder(out, format)
		for _, f := range families {
			if err = enc.Encode(f); err != nil {
				break
			}
		}
		if err == nil && series != nil {
			err = series(out)
		}
		if err == nil && z != nil {
			err = z.Close()
		}
		if err != nil {
			panic(http.ErrAbortHandler) // the connection is cut, so that a scraper that is still there drops what it has
		}
	})
}
