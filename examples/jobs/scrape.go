package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/leastwatt/leastwatt/sensors/scaphandre"
)

// parseScrape reads NODE=URL,NODE=URL.
func parseScrape(text string) (map[string]scaphandre.Endpoint, error) {
	out := make(map[string]scaphandre.Endpoint)
	for part := range strings.SplitSeq(text, ",") {
		if part = strings.TrimSpace(part); part == "" {
			continue
		}
		node, address, ok := strings.Cut(part, "=")
		u, err := url.Parse(address)
		if !ok || node == "" || err != nil || u.Host == "" {
			return nil, fmt.Errorf("-scrape: %d. entry: want NODE=http://HOST:PORT/metrics", len(out)+1)
		}
		if _, ok := out[node]; ok {
			return nil, fmt.Errorf("-scrape: node %q stands twice", node)
		}
		out[node] = scaphandre.Endpoint{URL: address}
	}
	return out, nil
}

// scrape asks every exporter at an interval until ctx is done. A node that hangs delays no other.
func scrape(ctx context.Context, e *Engine, endpoints map[string]scaphandre.Endpoint, every time.Duration, log *slog.Logger) {
	source := scaphandre.New(scaphandre.Nodes(endpoints), scaphandre.Options{Timeout: min(5*time.Second, every)})
	defer source.Close()
	t := time.NewTicker(every)
	defer t.Stop()
	atOnce := make(chan struct{}, 32)
	for {
		var wg sync.WaitGroup
		for node := range endpoints {
			atOnce <- struct{}{}
			wg.Go(func() {
				defer func() { <-atOnce }()
				list, err := source.Read(ctx, node)
				if err != nil && ctx.Err() == nil {
					log.Warn("scraping", "error", err)
				}
				if len(list) == 0 {
					return
				}
				now := e.now() // the clock of the service, which a demonstration runs faster
				for i := range list {
					list[i].At = now
				}
				if err := e.Measure(ctx, node, list); err != nil && ctx.Err() == nil {
					log.Error("storing samples", "error", err)
				}
			})
		}
		wg.Wait()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}
