package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed" // page.html
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/scaphandre"
)

//go:embed page.html
var page []byte

// handler serves the API. The token function returns the bearer token that every request but those for the page itself and
// /healthz must bear; nil asks for none.
func handler(e *Engine, token func() (string, error), registry *prometheus.Registry) http.Handler {
	api := http.NewServeMux()
	api.HandleFunc("POST /jobs", e.postJobs)
	api.HandleFunc("GET /jobs", e.getJobs)
	api.HandleFunc("GET /jobs/{id}", e.getJob)
	api.HandleFunc("GET /strategy", e.getStrategy)
	api.HandleFunc("PUT /strategy", e.putStrategy)
	api.HandleFunc("GET /status", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, e.status()) })
	api.HandleFunc("GET /events", e.getEvents)
	api.HandleFunc("POST /metrics-ingest", e.ingest)
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
	return http.NewCrossOriginProtection().Handler(open)
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

// postJobs accepts one job or many: 202 when all are accepted and durable, 409 when some bear the id of another job.
func (e *Engine) postJobs(w http.ResponseWriter, r *http.Request) {
	kind, _, err := mime.ParseMediaType(cmp.Or(r.Header.Get("Content-Type"), "application/json"))
	if err != nil || kind != "application/json" && kind != "text/csv" {
		fail(w, http.StatusUnsupportedMediaType, errors.New("want Content-Type application/json or text/csv"))
		return
	}
	b, ok := body(w, r)
	if !ok {
		return
	}
	parse := parseJobs
	if kind == "text/csv" {
		parse = parseCSV
	}
	jobs, err := parse(b, e.now())
	if err != nil {
		fail(w, http.StatusBadRequest, err)
		return
	}
	for _, j := range jobs {
		if j.ID == "" {
			j.ID = "j-" + strings.ToLower(rand.Text())
		}
	}
	errs, err := e.Accept(r.Context(), jobs)
	if err != nil {
		w.Header().Set("Retry-After", "10")
		if !errors.Is(err, errFull) {
			e.opts.Logger.Error("accepting jobs", "error", err)
			err = errors.New("the jobs could not be stored: send them again")
		}
		fail(w, http.StatusServiceUnavailable, err)
		return
	}
	type result struct {
		ID    string `json:"id"`
		Error string `json:"error,omitempty"`
	}
	out, status := make([]result, len(jobs)), http.StatusAccepted
	for i, j := range jobs {
		out[i].ID = j.ID
		if errs[i] != nil {
			out[i].Error, status = errs[i].Error(), http.StatusConflict
		}
	}
	answer(w, status, map[string]any{"jobs": out})
}

func (e *Engine) getJobs(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	state := State(q.Get("state"))
	if state != "" && !slices.Contains([]State{Queued, Starting, Running, Done, Failed}, state) {
		fail(w, http.StatusBadRequest, fmt.Errorf("state %.40q: want queued, starting, running, done or failed", state))
		return
	}
	limit := 100
	if s := q.Get("limit"); s != "" {
		var err error
		if limit, err = strconv.Atoi(s); err != nil || limit < 1 || limit > 10_000 {
			fail(w, http.StatusBadRequest, fmt.Errorf("limit %.20q: want 1 to 10000", s))
			return
		}
	}
	jobs, err := e.store.List(r.Context(), state, q.Get("after"), limit)
	if err != nil {
		e.opts.Logger.Error("listing jobs", "error", err)
		fail(w, http.StatusServiceUnavailable, errors.New("the jobs could not be read"))
		return
	}
	out := make([]wireJob, len(jobs))
	for i, j := range jobs {
		out[i] = e.live(j)
	}
	next := ""
	if len(jobs) == limit {
		next = jobs[limit-1].ID
	}
	answer(w, http.StatusOK, map[string]any{"jobs": out, "next": next})
}

// live adds what is known of a job in memory alone: its plan, and why it waits.
func (e *Engine) live(j *Job) wireJob {
	e.mu.Lock()
	defer e.mu.Unlock()
	if x := e.queue[j.ID]; x != nil {
		j.Planned, j.Message = x.Planned, x.Message
	}
	return j.wire()
}

func (e *Engine) getJob(w http.ResponseWriter, r *http.Request) {
	list, err := e.store.jobs(r.Context(), "SELECT "+jobColumns+" FROM jobs WHERE id = ?", r.PathValue("id"))
	switch {
	case err != nil:
		e.opts.Logger.Error("reading a job", "error", err)
		fail(w, http.StatusServiceUnavailable, errors.New("the job could not be read"))
	case len(list) == 0:
		fail(w, http.StatusNotFound, errors.New("no such job"))
	default:
		answer(w, http.StatusOK, e.live(list[0]))
	}
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

// ingest takes what a node pushes in Scaphandre's text. The query node=NAME says which.
func (e *Engine) ingest(w http.ResponseWriter, r *http.Request) {
	b, ok := body(w, r)
	if !ok {
		return
	}
	node := r.URL.Query().Get("node")
	e.mu.Lock()
	known := e.fleet.find(node) >= 0
	e.mu.Unlock()
	if !known {
		fail(w, http.StatusNotFound, fmt.Errorf("no node is named %.60q: want ?node=NAME", node))
		return
	}
	list, err := scaphandre.Parse(node, b, e.now())
	if len(list) == 0 {
		fail(w, http.StatusBadRequest, fmt.Errorf("node %q: %w", node, err))
		return
	}
	if err := e.Measure(r.Context(), node, list); err != nil {
		fail(w, http.StatusServiceUnavailable, errors.New("the samples could not be stored"))
		return
	}
	answer(w, http.StatusAccepted, map[string]int{"samples": len(list)})
}

// A reading is the last power of a node.
type reading struct {
	watts float64
	at    time.Time
	kWh   float64 // measured since the program started
}

// Measure stores what a node's sensors say.
func (e *Engine) Measure(ctx context.Context, node string, list []sensors.Reading) error {
	err := e.store.Do(ctx, func(tx *batchTx) error {
		for _, x := range list {
			if err := tx.sample(&Sample{node, string(x.Kind), x.Source, x.Value, x.At}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, x := range list {
		if x.Kind != sensors.CPUPower && x.Kind != sensors.Power {
			continue
		}
		last := e.readings[node]
		next := reading{x.Value, x.At, last.kWh}
		if d := x.At.Sub(last.at); !last.at.IsZero() && d > 0 && d < time.Hour {
			next.kWh += (last.watts + x.Value) / 2 / 1000 * d.Hours()
		}
		e.readings[node] = next
	}
	e.changed.set()
	return nil
}

// A Status is what the page shows.
type Status struct {
	Now        time.Time    `json:"now"`
	Strategy   string       `json:"strategy"`
	Strategies []string     `json:"strategies"`
	Queued     int          `json:"queued"`
	Running    int          `json:"running"`
	Done       int          `json:"done"`
	Failed     int          `json:"failed"`
	Nodes      []NodeStatus `json:"nodes"`
	Sites      []SiteStatus `json:"sites"`
	Decisions  []Decision   `json:"decisions"` // newest first
	ByNode     []KPI        `json:"byNode"`
	ByStrategy []KPI        `json:"byStrategy"`
	ByHour     []KPI        `json:"byHour"`
}

// A NodeStatus is a node now.
type NodeStatus struct {
	Name  string     `json:"name"`
	Site  string     `json:"site"`
	Cores float64    `json:"cores"`
	Used  float64    `json:"used"`
	Jobs  int        `json:"jobs"`
	Down  bool       `json:"down"`
	Watts *float64   `json:"watts"` // measured
	At    *time.Time `json:"at"`
	KWh   float64    `json:"measuredKWh"`
}

// A SiteStatus is a site's grid: the intensity by the hour from now on, null where unknown.
type SiteStatus struct {
	Name  string     `json:"name"`
	Zone  string     `json:"zone"`
	Hours []*float64 `json:"hours"`
	Error string     `json:"error,omitempty"`
}

func (e *Engine) status() Status {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := Status{Now: e.now(), Strategy: e.strategy, Strategies: strategies(), Queued: len(e.queue), Running: len(e.active), Decisions: slices.Clone(e.recent)}
	slices.Reverse(s.Decisions)
	s.ByNode, s.ByStrategy, s.ByHour = e.kpis.lists()
	for _, k := range s.ByStrategy {
		s.Done += k.Jobs - k.Failed
		s.Failed += k.Failed
	}
	for i := range e.fleet.machines {
		m := &e.fleet.machines[i]
		n := NodeStatus{Name: m.Name, Site: m.Site, Cores: m.Cores, Used: e.fleet.use(i), Jobs: e.fleet.all.Jobs(e.fleet.at[i].all), Down: m.Down}
		if r, ok := e.readings[m.Name]; ok {
			n.Watts, n.At, n.KWh = new(r.watts), new(r.at), r.kWh
		}
		s.Nodes = append(s.Nodes, n)
	}
	o := e.outlook.Load()
	for k := range e.fleet.sites {
		x := SiteStatus{Name: e.fleet.sites[k].Name, Zone: e.fleet.sites[k].Zone, Hours: make([]*float64, 48)}
		for h := range x.Hours {
			from := s.Now.Add(time.Duration(h) * time.Hour)
			if v := o.mean(k, from, from.Add(time.Hour)); !math.IsNaN(v) {
				x.Hours[h] = new(v)
			}
		}
		if o != nil && k < len(o.Errs) && o.Errs[k] != nil {
			x.Error = o.Errs[k].Error()
		}
		s.Sites = append(s.Sites, x)
	}
	return s
}

// getEvents streams the status whenever it has changed, four times a second at most (server-sent events).
func (e *Engine) getEvents(w http.ResponseWriter, r *http.Request) {
	c := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	const pause, idle = 250 * time.Millisecond, 15 * time.Second
	for {
		changed := e.changed.next()
		b, err := json.Marshal(e.status())
		if err != nil {
			return
		}
		_ = c.SetWriteDeadline(time.Now().Add(10 * time.Second)) // a client that does not read is let go
		if _, err := fmt.Fprintf(w, "data: %s\n\n", b); err != nil || c.Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-time.After(pause):
		}
		select {
		case <-r.Context().Done():
			return
		case <-changed:
		case <-time.After(idle):
		}
	}
}
