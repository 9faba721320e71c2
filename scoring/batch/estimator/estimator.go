// Package estimator answers over HTTP how many watts 1 … K workloads add to a cluster at least, in the shape of WAO's estimator:
//
//	POST /namespaces/NS/estimators/NAME/values/powerconsumption
//	{"cpu_milli": 500, "num_workloads": 3}
//	→ {"watt_increases": [4.1, 8.2, 12.9]}
//
// Its main type is [Handler]. The answer is that of [batch.Cluster.Estimate]: the least over all ways to divide the workloads, exact
// for any power curves, where WAO's own tries (K+1)^nodes patterns.
package estimator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"time"

	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
)

// ErrNotFound is what a Lookup returns where there is no such estimator; the caller is answered 404.
var ErrNotFound = errors.New("no such estimator")

// A Lookup returns the cluster that an estimator speaks of, as it is now. The handler does not change it, but no
// one else may use it until the request has ended: give each request a cluster of its own, or hold a lock within release. release is
// called once, and may be nil. Lookup is safe for concurrent use and returns when ctx is done.
type Lookup func(ctx context.Context, namespace, name string) (c *batch.Cluster, release func(), err error)

// Limits on what one request may ask for.
const (
	maxBody      = 64 << 10
	MaxWorkloads = 1000
	maxTime      = 10 * time.Second
)

// Handler serves the estimator. Lookup is required. It is safe for concurrent use if Lookup is.
type Handler struct {
	Lookup Lookup

	// Timeout is how long one answer may take, Lookup included; 0 is 10 s.
	Timeout time.Duration
}

type request struct {
	CPUMilli     *float64 `json:"cpu_milli"`
	NumWorkloads *int     `json:"num_workloads"`
}

type response struct {
	WattIncreases []float64 `json:"watt_increases"`
}

type failure struct {
	Code    int    `json:"code"`
	Message string `json:"message"`
}

// ServeHTTP implements [http.Handler]. It answers 400 to a request that is not valid, 404 for a path or an estimator that does not
// exist, 405 for another method, 422 where the cluster has no room for so many workloads, and 503 where the
// cluster's state cannot be told or the answer takes longer than Timeout. An error is {"code":…,"message":…}.
func (h Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	mux := http.NewServeMux() // three patterns: cheap beside the answer, and a Handler needs no constructor
	mux.HandleFunc("POST /namespaces/{namespace}/estimators/{name}/values/powerconsumption", h.serve)
	mux.HandleFunc("/namespaces/{namespace}/estimators/{name}/values/powerconsumption", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", http.MethodPost)
		fail(w, http.StatusMethodNotAllowed, "want POST")
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		fail(w, http.StatusNotFound, "want POST /namespaces/NS/estimators/NAME/values/powerconsumption")
	})
	mux.ServeHTTP(w, r)
}

func (h Handler) serve(w http.ResponseWriter, r *http.Request) {
	var q request
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	if err := d.Decode(&q); err != nil {
		fail(w, http.StatusBadRequest, fmt.Sprintf("body: %v", err))
		return
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		fail(w, http.StatusBadRequest, "body: want one JSON object")
		return
	}
	switch {
	case q.CPUMilli == nil || !(*q.CPUMilli >= 0 && *q.CPUMilli <= 1e12):
		fail(w, http.StatusBadRequest, "cpu_milli: want thousandths of a core, 0 or more")
		return
	case q.NumWorkloads == nil || *q.NumWorkloads < 1 || *q.NumWorkloads > MaxWorkloads:
		fail(w, http.StatusBadRequest, fmt.Sprintf("num_workloads: want 1 to %d", MaxWorkloads))
		return
	}
	limit := h.Timeout
	if limit <= 0 {
		limit = maxTime
	}
	ctx, cancel := context.WithTimeout(r.Context(), limit)
	defer cancel()
	c, release, err := h.Lookup(ctx, r.PathValue("namespace"), r.PathValue("name"))
	if release != nil {
		defer release()
	}
	switch {
	case errors.Is(err, ErrNotFound):
		fail(w, http.StatusNotFound, fmt.Sprintf("estimator %s/%s: %v", r.PathValue("namespace"), r.PathValue("name"), ErrNotFound))
		return
	case err != nil:
		fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	cores := *q.CPUMilli / 1000
	j := batch.Job{Name: "workload", Requests: batch.Resources{CPU: cores}, Demand: scoring.Demand{CPU: cores}}
	watts, err := c.Estimate(ctx, &j, *q.NumWorkloads)
	if errors.Is(err, context.DeadlineExceeded) {
		fail(w, http.StatusServiceUnavailable, fmt.Sprintf("no answer within %v: %v; ask for fewer workloads", limit, err))
		return
	}
	if err != nil {
		fail(w, http.StatusServiceUnavailable, err.Error())
		return
	}
	// JSON has no infinity, and a large number would read as an answer.
	for i, v := range watts {
		if math.IsInf(v, 1) {
			fail(w, http.StatusUnprocessableEntity, fmt.Sprintf("of %d workloads of %v cores only %d fit on nodes whose power is known", *q.NumWorkloads, cores, i))
			return
		}
	}
	answer(w, http.StatusOK, response{watts})
}

func fail(w http.ResponseWriter, code int, message string) { answer(w, code, failure{code, message}) }

func answer(w http.ResponseWriter, code int, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		code, body = http.StatusInternalServerError, []byte(`{"code":500,"message":"the answer cannot be written as JSON"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = w.Write(append(body, '\n'))
}
