package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/power"
)

// TestMain is the program itself where a test starts this binary as one.
func TestMain(m *testing.M) {
	if os.Getenv(fastClock) != "" {
		if err := fastMain(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	if os.Getenv("LEASTWATT_JOBS_MAIN") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

func testMachines(t testing.TB, n int) []Machine {
	t.Helper()
	var list []Machine
	for i := range n {
		c, err := power.EvenPiecewise(100, power.Watts(200+10*i))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, Machine{Name: fmt.Sprintf("n%02d", i), Site: []string{"east", "west"}[i%2], Cores: 32, Memory: 128 << 30, Curve: c})
	}
	return list
}

// serve runs the service in this process until the test ends.
func serve(t *testing.T, o *options) (url string) {
	t.Helper()
	url, _ = serveUntil(t, o)
	return url
}

// serveUntil runs the service in this process until it is stopped or the test ends.
func serveUntil(t *testing.T, o *options) (url string, stop func()) {
	t.Helper()
	return serveLogged(t, o, slog.New(slog.DiscardHandler))
}

// serveLogged is the same with a log.
func serveLogged(t *testing.T, o *options, log *slog.Logger) (url string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ready, ended := make(chan string, 1), make(chan error, 1)
	defaults(t, o)
	o.listening = func(u string) { ready <- u }
	go func() { ended <- run(ctx, o, io.Discard, log) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("the service ended with %v", err)
		}
	})
	t.Cleanup(stop)
	select {
	case u := <-ready:
		return u, stop
	case err := <-ended:
		ended <- nil
		t.Fatalf("the service did not start: %v", err)
		return "", nil
	}
}

func defaults(t testing.TB, o *options) {
	o.listen, o.margin = cmp.Or(o.listen, "127.0.0.1:0"), 1.2
	if o.data == "" {
		o.data = t.TempDir()
	}
	if o.machines == nil && !o.kubernetes {
		o.machines = testMachines(t, 4)
	}
	o.tick, o.scrapeEvery, o.lookEvery = 10*time.Millisecond, 20*time.Millisecond, 20*time.Millisecond
}

type client struct {
	t     *testing.T
	url   string
	token string
}

func (c client) do(method, path, kind, body string) (int, string) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, c.url+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	if c.token != "" {
		req.Header.Set("Authorization", "Bearer "+c.token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// until asks again until the condition holds.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Second)
	defer cancel()
	for !ok() {
		if sleep(ctx, 10*time.Millisecond) != nil {
			t.Fatalf("%s: it never came", what)
		}
	}
}

func (c client) status() (s Status) {
	c.t.Helper()
	code, body := c.do("GET", "/status", "", "")
	if err := json.Unmarshal([]byte(body), &s); err != nil || code != http.StatusOK {
		c.t.Fatalf("%d, %v: %.200s", code, err, body)
	}
	return s
}

// A job goes all the way: accepted, placed by the strategy of the moment, measured, finished, in the database and in the CSV files.
func TestServiceEndToEnd(t *testing.T) {
	began := time.Now()
	o := &options{strategy: "leastwatt", now: func() time.Time { return noon.Add(time.Since(began) * 1000) }}
	source, err := demoGrid(o.now)
	if err != nil {
		t.Fatal(err)
	}
	o.source, o.places = source, []Site{{Name: "east", Zone: "wind", PUE: 1.5}, {Name: "west", Zone: "nowhere"}}
	o.data = t.TempDir()
	c := client{t: t, url: serve(t, o)}
	if code, body := c.do("POST", "/jobs", "application/json", `{"id":"first","cpu":4,"mem":1,"duration":60}`); code != http.StatusAccepted || !strings.Contains(body, `"first"`) {
		t.Fatalf("%d %s", code, body)
	}
	until(t, "the first decision", func() bool { return len(c.status().Decisions) == 1 })
	if code, body := c.do("PUT", "/strategy", "application/json", `{"strategy":"fcfs"}`); code != http.StatusOK || !strings.Contains(body, `"strategy":"fcfs"`) {
		t.Fatalf("%d %s", code, body)
	}
	if code, body := c.do("POST", "/jobs", "text/csv", "id,submit,cpu,mem,duration,tag\nsecond,2024-01-01T00:00:00Z,2,4,60,web\nthird,2024-01-01T00:00:00Z,2,4,60,web\n"); code != http.StatusAccepted || strings.Count(body, `"id"`) != 2 {
		t.Fatalf("%d %s", code, body)
	}
	until(t, "three jobs done", func() bool { return c.status().Done == 3 })
	s := c.status()
	byStrategy := make(map[string]KPI)
	for _, k := range s.ByStrategy {
		byStrategy[k.Strategy] = k
	}
	if byStrategy["leastwatt"].Jobs != 1 || byStrategy["fcfs"].Jobs != 2 || byStrategy["fcfs"].KWh <= 0 || len(s.ByHour) == 0 {
		t.Errorf("KPIs %+v", s.ByStrategy)
	}
	if k := byStrategy["fcfs"]; k.Intensity == nil || *k.Intensity < 100 || *k.Intensity > 1000 { // n00 is in the east
		t.Errorf("intensity of %+v", k)
	}
	for _, d := range s.Decisions {
		if d.JobID == "second" && (d.Node != "n00" || d.Strategy != "fcfs" || d.Score == nil) {
			t.Errorf("decision %+v", d)
		}
	}
	if code, body := c.do("POST", "/metrics-ingest?node=n01", "text/plain", "scaph_host_power_microwatts 92000000\n"); code != http.StatusAccepted {
		t.Errorf("%d %s", code, body)
	}
	if code, _ := c.do("POST", "/metrics-ingest?node=who", "text/plain", "scaph_host_power_microwatts 92000000\n"); code != http.StatusNotFound {
		t.Errorf("a node that nobody knows: %d", code)
	}
	if code, _ := c.do("POST", "/metrics-ingest?node=n01", "text/plain", "hello"); code != http.StatusBadRequest {
		t.Errorf("no exposition: %d", code)
	}
	if _, body := c.do("GET", "/metrics", "", ""); !strings.Contains(body, `leastwatt_jobs_node_power_watts{node="n01"} 92`) || !strings.Contains(body, `leastwatt_jobs_finished_total{node="n00",outcome="done",strategy="fcfs"} 2`) {
		t.Errorf("metrics:\n%s", body)
	}
	for name, want := range map[string]string{"decisions.csv": "JobID,AssignedNode,Strategy,CIscore,Timestamp", "samples.csv": "Node,Kind,Value,Source,Timestamp"} {
		var rows [][]string
		until(t, name, func() bool {
			b, err := os.ReadFile(filepath.Join(o.data, name))
			if err != nil {
				t.Fatal(err)
			}
			rows, err = csv.NewReader(bytes.NewReader(b)).ReadAll()
			return err == nil && len(rows) >= 2
		})
		if !strings.HasPrefix(strings.Join(rows[0], ","), want) {
			t.Errorf("%s begins with %v", name, rows[0])
		}
	}
	if code, body := c.do("GET", "/jobs/third", "", ""); code != http.StatusOK || !strings.Contains(body, `"state":"done"`) {
		t.Errorf("%d %s", code, body)
	}
	if _, body := c.do("GET", "/jobs?state=done&limit=2", "", ""); strings.Count(body, `"id"`) != 2 || !strings.Contains(body, `"next":"second"`) {
		t.Errorf("list %s", body)
	}
}

// Who has no token gets nothing but the empty page; what is too large, of another site or not right is refused.
func TestWhoMay(t *testing.T) {
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	url := serve(t, &options{tokenFile: file})
	for _, token := range []string{"", "s3cre", "s3cret2", "other"} {
		c := client{t: t, url: url, token: token}
		for _, x := range []struct{ method, path string }{{"GET", "/jobs"}, {"GET", "/status"}, {"GET", "/events"}, {"GET", "/metrics"}, {"POST", "/jobs"}, {"POST", "/metrics-ingest"}, {"PUT", "/strategy"}, {"GET", "/strategy"}, {"GET", "/jobs/a"}, {"DELETE", "/x"}} {
			if code, body := c.do(x.method, x.path, "", "{}"); code != http.StatusUnauthorized || strings.Contains(body, "s3cret") {
				t.Errorf("token %q: %s %s: %d %s", token, x.method, x.path, code, body)
			}
		}
		if code, body := c.do("GET", "/", "", ""); code != http.StatusOK || strings.Contains(body, "n00") {
			t.Errorf("page: %d", code)
		}
	}
	c := client{t: t, url: url, token: "s3cret"}
	job := `{"id":"a","cpu":1,"duration":60}`
	for _, x := range []struct {
		kind, body string
		want       int
	}{
		{"application/json", job, http.StatusAccepted},
		{"application/json", job, http.StatusAccepted}, // again: the answer was lost
		{"application/json", `{"id":"a","cpu":2,"duration":60}`, http.StatusConflict},
		{"application/json", `{"cpu":1,"duration":60,"tag":"` + strings.Repeat("x", maxBody) + `"}`, http.StatusRequestEntityTooLarge},
		{"text/plain", job, http.StatusUnsupportedMediaType},
		{"application/json", `{`, http.StatusBadRequest},
	} {
		if code, body := c.do("POST", "/jobs", x.kind, x.body); code != x.want {
			t.Errorf("%.60s: %d %s: want %d", x.body, code, body, x.want)
		}
	}
	if code, _ := c.do("PUT", "/strategy", "application/json", `{"strategy":"best"}`); code != http.StatusBadRequest {
		t.Errorf("an unknown strategy: %d", code)
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/jobs", strings.NewReader(job))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer s3cret")
	req.Header.Set("Sec-Fetch-Site", "cross-site")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusForbidden {
		t.Errorf("another site's page: %d", resp.StatusCode)
	}
	if err := (&options{listen: "0.0.0.0:8080", margin: 1, tick: 1, scrapeEvery: 1, lookEvery: 1}).check(); err == nil || !strings.Contains(err.Error(), "-token-file") {
		t.Errorf("open to all without a token: %v", err)
	}
}

// The demonstration runs by itself, with the fields that were promised.
func TestDemo(t *testing.T) {
	var out bytes.Buffer
	if err := demo(t.Context(), &options{asJSON: true, demoJobs: 12, speed: 20_000, margin: 1.2, slack: time.Hour}, &out, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	var s summary
	if err := json.Unmarshal(out.Bytes(), &s); err != nil {
		t.Fatal(err)
	}
	if s.Jobs != 12 || s.Done != 12 || s.Late != 0 || !(s.Grams > 0) || s.Grams > s.AtOnceGrams || s.OracleGrams > s.AtOnceGrams || s.Status.Done != 12 {
		t.Errorf("%+v", s)
	}
}

// When the time is over, what is done is told.
func TestDemoFor(t *testing.T) {
	var out bytes.Buffer
	if err := demo(t.Context(), &options{demoJobs: 5, speed: 100, margin: 1.2, slack: time.Hour, length: time.Second}, &out, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "0 of 5 jobs done") {
		t.Errorf("%s", out.String())
	}
}
