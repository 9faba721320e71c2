package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// A browser is a headless Chromium that is led through its debugging pipe.
type browser struct {
	t       *testing.T
	to      *os.File
	from    *bufio.Reader
	session string
	last    int
}

func openBrowser(t *testing.T, url string) *browser {
	t.Helper()
	name := ""
	for _, n := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(n); err == nil {
			name = p
			break
		}
	}
	if name == "" {
		t.Skip("no Chromium is installed (Debian: apt-get install chromium)")
	}
	cmd := exec.CommandContext(t.Context(), name, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+t.TempDir(), "--window-size=390,844", "--remote-debugging-pipe", "about:blank")
	theirIn, to, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	from, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.ExtraFiles = []*os.File{theirIn, theirOut}
	// Wait for the processes of the browser too, which all have this pipe: they write to the folder until they end.
	cmd.Stderr, cmd.WaitDelay = io.Discard, 30*time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = theirIn.Close(), theirOut.Close()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_, _ = to.Close(), from.Close()
	})
	b := &browser{t: t, to: to, from: bufio.NewReaderSize(from, 1<<20)}
	var target struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &target)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": target.TargetID, "flatten": true}, &attached)
	b.session = attached.SessionID
	b.call("Page.navigate", map[string]any{"url": url}, nil)
	return b
}

func (b *browser) call(method string, params any, result any) {
	b.t.Helper()
	b.last++
	m := map[string]any{"id": b.last, "method": method, "params": params}
	if b.session != "" {
		m["sessionId"] = b.session
	}
	text, err := json.Marshal(m)
	if err != nil {
		b.t.Fatal(err)
	}
	if _, err := b.to.Write(append(text, 0)); err != nil {
		b.t.Fatal(err)
	}
	for {
		line, err := b.from.ReadBytes(0)
		if err != nil {
			b.t.Fatalf("%s: the browser is gone: %v", method, err)
		}
		var got struct {
			ID     int
			Result json.RawMessage
			Error  *struct{ Message string }
		}
		if err := json.Unmarshal(bytes.TrimRight(line, "\x00"), &got); err != nil {
			b.t.Fatal(err)
		}
		if got.ID != b.last {
			continue // an event
		}
		if got.Error != nil {
			b.t.Fatalf("%s: %s", method, got.Error.Message)
		}
		if result != nil {
			if err := json.Unmarshal(got.Result, result); err != nil {
				b.t.Fatal(err)
			}
		}
		return
	}
}

// text returns the value of a script as text.
func (b *browser) text(script string) string {
	b.t.Helper()
	var out struct {
		Result struct{ Value any }
	}
	b.call("Runtime.evaluate", map[string]any{"expression": "String(" + script + ")", "returnByValue": true}, &out)
	return fmt.Sprint(out.Result.Value)
}

// The page follows what happens without being loaded again: jobs come, are decided on, and end; the strategy is switched on it.
func TestPageIsLive(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret"), 0o600); err != nil {
		t.Fatal(err)
	}
	data := t.TempDir()
	url, stop := serveUntil(t, &options{tokenFile: file, strategy: "leastwatt", data: data})
	b := openBrowser(t, url+"/#token=wrong")
	until(t, "asking for a token", func() bool { return b.text("document.getElementById('state').textContent") == "needs the token" })
	b.text(`(document.getElementById('token').value = 's3cret', document.getElementById('login').requestSubmit())`)
	until(t, "live", func() bool { return b.text("document.getElementById('state').textContent") == "live" })
	until(t, "nodes", func() bool { return strings.Contains(b.text("document.getElementById('nodes').innerText"), "n03") })
	if s := b.text("document.getElementById('decisions').innerText"); strings.Contains(s, "from-test") {
		t.Error("a decision before there was a job")
	}
	c := client{t: t, url: url, token: "s3cret"}
	if code, body := c.do("POST", "/jobs", "application/json", `{"id":"from-test","cpu":4,"duration":1}`); code != 202 {
		t.Fatal(code, body)
	}
	until(t, "the decision on the page", func() bool {
		return strings.Contains(b.text("document.getElementById('decisions').innerText"), "from-test")
	})
	until(t, "the end on the page", func() bool { return b.text("document.getElementById('done').textContent") == "1" })
	if s := b.text("document.getElementById('bynode').innerText"); !strings.Contains(s, "leastwatt") {
		t.Errorf("KPIs by node: %s", s)
	}
	b.text(`(document.getElementById('strategy').value = 'fcfs', document.getElementById('strategy').dispatchEvent(new Event('change')))`)
	until(t, "the switched strategy", func() bool { return c.status().Strategy == "fcfs" })
	b.text(`(token = 'other', document.getElementById('strategy').value = 'wao', document.getElementById('strategy').dispatchEvent(new Event('change')))`)
	until(t, "that the strategy was not switched", func() bool {
		return b.text("document.getElementById('asked').textContent + document.getElementById('strategy').value") == "not switched: status 401fcfs"
	})
	b.text("token = 's3cret'")
	stop()
	until(t, "that the service is away", func() bool { return strings.HasPrefix(b.text("document.getElementById('state').textContent"), "away") })
	serve(t, &options{tokenFile: file, data: data, listen: strings.TrimPrefix(url, "http://")})
	until(t, "live after a restart", func() bool { return b.text("document.getElementById('state').textContent") == "live" })
	if code, body := c.do("POST", "/jobs", "application/json", `{"id":"after-restart","cpu":4,"duration":1}`); code != 202 {
		t.Fatal(code, body)
	}
	until(t, "the end after the restart", func() bool {
		return b.text("document.getElementById('done').textContent") == "2" && strings.Contains(b.text("document.getElementById('decisions').innerText"), "after-restart")
	})
	if s := b.text("document.body.dataset.error"); s != "undefined" {
		t.Errorf("script error: %s", s)
	}
	if n := b.text("performance.getEntriesByType('navigation').length"); n != "1" {
		t.Errorf("the page was loaded %s times", n)
	}
	if w := b.text("document.documentElement.scrollWidth <= innerWidth"); w != "true" {
		t.Error("on a phone the page is wider than the screen")
	}
}

// Where nothing comes any more, as when the service's machine has lost its power, the page says so and asks again.
func TestPageAsksAgain(t *testing.T) {
	var asked atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
	mux.HandleFunc("GET /events", func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, "data: {\"now\":\"2024-06-03T12:00:00Z\",\"strategy\":\"fcfs\",\"strategies\":[\"fcfs\"]}\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done() // and nothing more
	})
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close) // after the browser, which holds a connection
	b := openBrowser(t, s.URL)
	until(t, "live", func() bool { return b.text("document.getElementById('state').textContent") == "live" })
	b.text("quiet = 100")
	until(t, "that the page asks again", func() bool { return asked.Load() > 2 })
	b.text("quiet = 1e9")
	until(t, "live again", func() bool { return b.text("document.getElementById('state').textContent") == "live" })
}
