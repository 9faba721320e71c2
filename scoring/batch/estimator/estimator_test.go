package estimator_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/scoring"
	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/batch/estimator"
)

// three servers of three cores, whose first, second and third core add what WAO's own example says: rows of cumulative watts
// {11,14,14}, {10,17,19}, {15,26,31}.
func three(ctx context.Context, _, name string) (*batch.Cluster, func(), error) {
	switch name {
	case "gone":
		return nil, nil, estimator.ErrNotFound
	case "broken":
		return nil, nil, errors.New("no readings yet")
	}
	var nodes []batch.Node
	for i, added := range [][3]power.Watts{{11, 14, 14}, {10, 17, 19}, {15, 26, 31}} {
		p, err := power.EvenPiecewise(100, 100+added[0], 100+added[1], 100+added[2])
		if err != nil {
			return nil, nil, err
		}
		nodes = append(nodes, batch.Node{Node: scoring.Node{Name: fmt.Sprint("n", i), Capacity: power.Capacity{Cores: 3}, Predictor: p},
			Allocatable: batch.Resources{CPU: 3}})
	}
	c, err := batch.NewCluster(ctx, nodes, batch.ClusterOptions{})
	return c, nil, err
}

const path = "/namespaces/default/estimators/default/values/powerconsumption"

func post(t testing.TB, method, path, body string) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	estimator.Handler{Lookup: three}.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), method, path, strings.NewReader(body)))
	return w.Code, w.Body.String()
}

// TestPublishedExample has WAO's example: the least for one to three workloads is 10, 14, 14.
func TestPublishedExample(t *testing.T) {
	code, body := post(t, http.MethodPost, path, `{"cpu_milli":1000,"num_workloads":3}`)
	var got struct {
		WattIncreases []float64 `json:"watt_increases"`
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil || code != http.StatusOK {
		t.Fatalf("%d %s: %v", code, body, err)
	}
	if d := cmp.Diff([]float64{10, 14, 14}, got.WattIncreases, cmpopts.EquateApprox(0, 1e-9)); d != "" {
		t.Error(d)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		code               int
	}{
		{http.MethodPost, path, `{"cpu_milli":1000,"num_workloads":10}`, 422}, // nine cores
		{http.MethodPost, path, `{"cpu_milli":-1,"num_workloads":1}`, 400},
		{http.MethodPost, path, `{"cpu_milli":1e300,"num_workloads":1}`, 400},
		{http.MethodPost, path, `{"cpu_milli":1,"num_workloads":0}`, 400},
		{http.MethodPost, path, `{"cpu_milli":1,"num_workloads":1001}`, 400},
		{http.MethodPost, path, `{"num_workloads":1}`, 400},
		{http.MethodPost, path, `{"cpu_milli":1,"num_workloads":1} {}`, 400},
		{http.MethodPost, path, `{`, 400},
		{http.MethodPost, path, strings.Repeat(" ", 1<<17) + `{"cpu_milli":1,"num_workloads":1}`, 400},
		{http.MethodGet, path, ``, 405},
		{http.MethodPost, "/namespaces/default", `{}`, 404},
		{http.MethodPost, strings.Replace(path, "estimators/default", "estimators/gone", 1), `{"cpu_milli":1,"num_workloads":1}`, 404},
		{http.MethodPost, strings.Replace(path, "estimators/default", "estimators/broken", 1), `{"cpu_milli":1,"num_workloads":1}`, 503},
	} {
		code, body := post(t, c.method, c.path, c.body)
		if code != c.code || !json.Valid([]byte(body)) {
			t.Errorf("%s %s %.40s: %d %s, want %d", c.method, c.path, c.body, code, body, c.code)
		}
	}
}

// TestTimeout: an answer that takes too long is given up with 503 and a message that says what to do.
func TestTimeout(t *testing.T) {
	slow := func(ctx context.Context, namespace, name string) (*batch.Cluster, func(), error) {
		c, release, err := three(ctx, namespace, name)
		<-ctx.Done()
		return c, release, err
	}
	w := httptest.NewRecorder()
	body := strings.NewReader(`{"cpu_milli":1000,"num_workloads":3}`)
	estimator.Handler{Lookup: slow, Timeout: time.Millisecond}.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, body))
	if w.Code != http.StatusServiceUnavailable || !strings.Contains(w.Body.String(), "fewer workloads") {
		t.Errorf("%d %s, want 503 and advice", w.Code, w.Body)
	}
}

func FuzzHandler(f *testing.F) {
	f.Add(`{"cpu_milli":1000,"num_workloads":3}`)
	f.Add(`{"cpu_milli":1e-9,"num_workloads":1000}`)
	f.Fuzz(func(t *testing.T, body string) {
		code, answer := post(t, http.MethodPost, path, body)
		if code >= 500 || !json.Valid([]byte(answer)) {
			t.Fatalf("%d %s", code, answer)
		}
	})
}

func Example() {
	server := httptest.NewServer(estimator.Handler{Lookup: three})
	defer server.Close()
	r, err := http.Post(server.URL+path, "application/json", strings.NewReader(`{"cpu_milli":1000,"num_workloads":2}`))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer r.Body.Close()
	body, _ := io.ReadAll(r.Body)
	fmt.Print(string(body))
	// Output: {"watt_increases":[10,14]}
}
