package config_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/grid"
)

const (
	password = "p4ss-w0rd"
	token    = "t0ken-0f-ours"
)

// TestFaultsOfEveryProvider: whatever a provider's server does, each question ends with an error, which tells no credential, and no credential reaches another host.
func TestFaultsOfEveryProvider(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"password": password, "token": token} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	var reached atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { reached.Add(1) }))
	t.Cleanup(elsewhere.Close) // after all that run in parallel
	var bomb bytes.Buffer      // 64 MiB of nothing
	z := gzip.NewWriter(&bomb)
	if _, err := z.Write(make([]byte, 64<<20)); err != nil || z.Close() != nil {
		t.Fatal(err)
	}
	faults := map[string]http.HandlerFunc{
		"redirects to another host": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL+r.URL.Path+"?token="+token+"&"+r.URL.RawQuery, http.StatusTemporaryRedirect)
		},
		"redirects in a ring": func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.Path, http.StatusFound) },
		"never ends its answer": func(w http.ResponseWriter, r *http.Request) {
			for {
				if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
					return
				}
				select {
				case <-r.Context().Done():
					return
				case <-time.After(10 * time.Millisecond):
				}
			}
		},
		"never answers": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done()
		},
		"floods": func(w http.ResponseWriter, r *http.Request) {
			for line := strings.Repeat(" ", 1<<16); ; {
				if _, err := io.WriteString(w, line); err != nil {
					return
				}
			}
		},
		"unpacks to much": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			_, _ = w.Write(bomb.Bytes())
		},
		"hangs up": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "1000")
			io.WriteString(w, `{"data":[`)
			panic(http.ErrAbortHandler)
		},
		"fails": func(w http.ResponseWriter, r *http.Request) {
			http.Error(w, token+password, http.StatusInternalServerError)
		},
		"refuses": func(w http.ResponseWriter, r *http.Request) { http.Error(w, token+password, http.StatusForbidden) },
		"wants peace": func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusTooManyRequests)
		},
		"says nothing": func(w http.ResponseWriter, r *http.Request) {},
		"says null":    func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "null") },
		"says a page":  func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<html>"+token+"</html>") },
		"says deep things": func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, strings.Repeat(`{"data":[`, 100_000))
		},
	}
	for fault, handler := range faults {
		t.Run(fault, func(t *testing.T) {
			t.Parallel()
			s := httptest.NewUnstartedServer(handler)
			s.Config.ErrorLog = nil
			s.Start()
			t.Cleanup(s.Close)
			t.Cleanup(s.CloseClientConnections)
			for kind, fields := range map[string]string{"neso": "", "electricity-maps": "tokenFile: token", "watttime": "user: me, passwordFile: password",
				"prometheus": "user: me, passwordFile: password", "carbon-aware": ""} {
				signal := map[string]grid.Signal{"neso": grid.AverageDirect, "watttime": grid.MarginalDirect}[kind]
				if signal == "" {
					signal = grid.AverageLifeCycle
				}
				if fields != "" {
					fields = ", " + fields
				}
				c, err := parse(t, dir, fmt.Sprintf("signal: %s\nintensity: [{type: %s, url: %q, timeout: 200ms%s}]", signal, kind, s.URL, fields))
				if err != nil {
					t.Fatal(err)
				}
				now := time.Now()
				for what, ask := range map[string]func(context.Context) error{
					"current": func(ctx context.Context) error { _, err := c.Intensity.Current(ctx, "GB"); return err },
					"history": func(ctx context.Context) error {
						ps, err := grid.History(ctx, c.Intensity, "GB", now.Add(-time.Hour), now)
						return none(ps, err)
					},
					"forecast": func(ctx context.Context) error {
						ps, err := grid.Forecast(ctx, c.Intensity, "GB", now, now.Add(time.Hour))
						return none(ps, err)
					},
				} {
					if testing.Short() && what != "current" {
						continue // the race detector is slow
					}
					err := ask(t.Context())
					if err == nil {
						t.Errorf("%s, %s: no error", kind, what)
						continue
					}
					for _, secret := range []string{password, token, "bWU6"} { // the last begins "me:" in base 64
						if strings.Contains(err.Error(), secret) {
							t.Errorf("%s, %s: the error tells a credential: %v", kind, what, err)
						}
					}
				}
			}
		})
	}
	t.Cleanup(func() {
		if n := reached.Load(); n > 0 {
			t.Errorf("%d requests went to another host", n)
		}
	})
}

// none makes an error of an answer without points: nothing is known.
func none(ps []grid.Point, err error) error {
	if err == nil && len(ps) == 0 {
		return grid.ErrUnknown
	}
	return err
}
