package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// siteConfig returns the path of a configuration of the servers cheap, middle and dear: models, and a load-watcher
// that says they are 10 % busy.
func siteConfig(t *testing.T) string {
	t.Helper()
	return siteConfigOnce(t, func() bool { return true })
}

// siteConfigOnce is one whose load-watcher says nothing until it may.
func siteConfigOnce(t *testing.T, may func() bool) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !may() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		now := time.Now().Unix()
		var nodes []string
		for _, n := range []string{"cheap", "middle", "dear"} {
			nodes = append(nodes, fmt.Sprintf(`%q:{"metrics":[{"name":"cpu","type":"CPU","operator":"Latest","value":10}]}`, n))
		}
		fmt.Fprintf(w, `{"timestamp":%d,"window":{"duration":"1m","start":%d,"end":%d},"source":"test","data":{"NodeMetricsMap":{%s}}}`, now, now-60, now, strings.Join(nodes, ","))
	}))
	t.Cleanup(server.Close)
	path := filepath.Join(t.TempDir(), "site.yaml")
	text := fmt.Sprintf(`sensors:
  poll: {interval: 1s}
  sources: [{type: load-watcher, url: %s}]
models:
- {nodes: [cheap], kind: linear, idleWatts: 80, peakWatts: 100}
- {nodes: [middle], kind: linear, idleWatts: 80, peakWatts: 200}
- {nodes: [dear], kind: linear, idleWatts: 80, peakWatts: 400}
`, server.URL+"/watcher")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}
