package main

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A record keeps what is logged.
type record struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *record) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *record) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// What a node's Scaphandre says reaches a job service elsewhere, with its token; while the token is wrong nothing is
// taken, readiness says so and no log has it; a redirect is not followed.
func TestPush(t *testing.T) {
	dir := t.TempDir()
	right, mine := filepath.Join(dir, "right"), filepath.Join(dir, "mine")
	for file, text := range map[string]string{right: "service-secret", mine: "wrong-secret"} {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	service := serve(t, &options{tokenFile: right})
	exporter, err := emulate.Listen(nil, emulate.NewScaphandre(func() emulate.Machine {
		m := emulate.Blank()
		m.CPUWatts, m.DRAMWatts = 100, 23
		return m
	}, emulate.ExporterOptions{}))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = exporter.Close() })

	o := &options{push: service, tokenFile: mine, scrape: "n01=" + exporter.URL + "/metrics", listen: "127.0.0.1:0", scrapeEvery: 20 * time.Millisecond}
	ready := make(chan string, 1)
	o.listening = func(url string) { ready <- url }
	ctx, cancel := context.WithCancel(t.Context())
	var log record
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := push(ctx, o, io.Discard, slog.New(slog.NewTextHandler(&log, nil))); err != nil {
			t.Errorf("the pusher ended with %v", err)
		}
	})
	stop := sync.OnceFunc(func() { cancel(); wg.Wait() })
	defer stop()
	health := <-ready
	status := func(path string) int {
		resp, err := http.Get(health + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		return resp.StatusCode
	}
	watts := func() *float64 {
		c := client{t: t, url: service, token: "service-secret"}
		for _, n := range c.status().Nodes {
			if n.Name == "n01" {
				return n.Watts
			}
		}
		return nil
	}
	until(t, "the token is refused", func() bool { return strings.Contains(log.String(), "401") })
	if status("/healthz") != http.StatusOK || status("/readyz") != http.StatusServiceUnavailable || watts() != nil {
		t.Error("with a wrong token the pusher is ready, or something was taken")
	}
	if err := os.WriteFile(mine, []byte("service-secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	until(t, "the node's power is known", func() bool { w := watts(); return w != nil && *w == 123 })
	until(t, "the pusher is ready", func() bool { return status("/readyz") == http.StatusOK })
	stop()
	if text := log.String(); strings.Contains(text, "secret") {
		t.Errorf("the log says %s", text)
	}

	var asked atomic.Bool
	thief, err := emulate.Listen(nil, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	if err != nil {
		t.Fatal(err)
	}
	lure, err := emulate.Listen(nil, http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	if err != nil {
		t.Fatal(err)
	}
	o.push = lure.URL
	p, err := newPusher(o, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	err = p.one(t.Context(), "n01")
	_, _ = thief.Close(), lure.Close()
	if err == nil || !strings.Contains(err.Error(), "307") || asked.Load() {
		t.Errorf("a redirect: %v, followed: %t", err, asked.Load())
	}
}

func TestPushRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		o    options
		want string
	}{
		"no exporter":         {options{push: "https://jobs.example", scrapeEvery: 1}, "-scrape"},
		"a token in the open": {options{push: "http://jobs.example", tokenFile: "x", scrape: "n=http://h/metrics", scrapeEvery: 1}, "in the clear"},
		"no URL":              {options{push: "jobs.example", scrape: "n=http://h/metrics", scrapeEvery: 1}, "-push"},
		"a user":              {options{push: "https://a:b@jobs.example", scrape: "n=http://h/metrics", scrapeEvery: 1}, "without user"},
		"no interval":         {options{push: "https://jobs.example", scrape: "n=http://h/metrics"}, "-scrape-interval"},
		"no authority":        {options{push: "https://jobs.example", scrape: "n=http://h/metrics", scrapeEvery: 1, pushCA: "push_test.go"}, "no certificate"},
	} {
		if _, err := newPusher(&c.o, nil); err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "a:b") {
			t.Errorf("%s: %v, want an error about %s", name, err, c.want)
		}
	}
	if _, err := newPusher(&options{push: "http://lw-jobs.leastwatt.svc", tokenFile: "x", scrape: "n=http://h/metrics", scrapeEvery: 1}, nil); err != nil {
		t.Errorf("a Service of the cluster: %v", err)
	}
}
