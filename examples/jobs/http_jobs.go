package main

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

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
	if state != "" && !slices.Contains(states, state) {
		fail(w, http.StatusBadRequest, fmt.Errorf("state %.40q: want one of %v", state, states))
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
	} else if x := e.active[j.ID]; x != nil && x.paused() {
		j.Planned = x.Planned
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
