package metricsserver_test

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/leastwatt/leastwatt/k8s/metricsserver"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/config"
	"github.com/leastwatt/leastwatt/sensors/sensorstest"
)

const (
	token = "S3cret-T0ken"
	path  = "/apis/metrics.k8s.io/v1beta1/nodes"
	n1    = `{"metadata":{"name":"n1"},"timestamp":"2026-07-01T12:00:30Z","window":"20s","usage":{"cpu":"1500m","memory":"2Gi"}}`
)

// api answers as an API server with metrics-server behind it; entries are what the list holds beside n1.
func api(entries ...string) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(path, func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"kind":"NodeMetricsList","apiVersion":"metrics.k8s.io/v1beta1","metadata":{},"items":[%s]}`,
			strings.Join(append([]string{n1}, entries...), ","))
	})
	mux.HandleFunc(path+"/{name}", func(w http.ResponseWriter, r *http.Request) {
		for _, e := range append([]string{n1}, entries...) {
			if strings.Contains(e, `"name":"`+r.PathValue("name")+`"`) {
				io.WriteString(w, e)
				return
			}
		}
		status(w, http.StatusNotFound, "NotFound", r.PathValue("name"))
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.Header.Get("Authorization") != "Bearer "+token {
			status(w, http.StatusUnauthorized, "Unauthorized", "")
			return
		}
		mux.ServeHTTP(w, r)
	})
}

func status(w http.ResponseWriter, code int, reason, node string) {
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":"you sent %s","details":{"name":%q,"group":"metrics.k8s.io","kind":"nodes"},"code":%d}`,
		reason, token, node, code)
}

func source(t *testing.T, h http.Handler, o metricsserver.Options) *metricsserver.Source {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	s, err := metricsserver.New(&rest.Config{Host: server.URL, BearerToken: token}, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func ExampleSource() {
	server := httptest.NewServer(api())
	defer server.Close()
	source, err := metricsserver.New(&rest.Config{Host: server.URL, BearerToken: token}, metricsserver.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer source.Close()
	readings, errs := source.ReadAll(context.Background(), []string{"n1", "n2"})
	for _, r := range readings["n1"] {
		fmt.Println(r.Kind, r.Value, r.At.UTC().Format(time.TimeOnly), r.Source)
	}
	fmt.Println(sensors.Reason(errs["n2"]))
	// Output:
	// cpu_used_cores 1.5 12:00:20 metrics.k8s.io:cpu
	// memory_used_bytes 2.147483648e+09 12:00:30 metrics.k8s.io:memory
	// unknown_node
}

func TestContract(t *testing.T) {
	s := source(t, api(
		`{"metadata":{"name":"text"},"timestamp":"2026-07-01T12:00:30Z","window":"20s","usage":{"cpu":"much","memory":"1Gi"}}`,
		`{"metadata":{"name":"negative"},"usage":{"cpu":"-1","memory":"1Gi"}}`,
		`{"metadata":{"name":"empty"},"usage":{}}`,
	), metricsserver.Options{})
	if err := sensorstest.TestSource(s, sensorstest.Want{
		Node: "n1", Kinds: []sensors.Kind{sensors.CPUUsed, sensors.MemoryUsed}, Secrets: []string{token},
		Fails: map[string]error{"text": sensors.ErrMalformed, "negative": sensors.ErrImplausible, "empty": sensors.ErrNoReading},
	}); err != nil {
		t.Error(err)
	}
}

func TestFaults(t *testing.T) {
	var leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		leaked.Store(leaked.Load() || r.Header.Get("Authorization") != "")
	}))
	defer elsewhere.Close()
	hang := func(_ http.ResponseWriter, r *http.Request) {
		<-r.Context().Done()
		panic(http.ErrAbortHandler) // to return is to answer
	}
	for _, test := range []struct {
		name   string
		handle http.HandlerFunc
		want   error
	}{
		{"hang", hang, sensors.ErrUnreachable},
		{"hang in the body", func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"items":[`)
			_ = http.NewResponseController(w).Flush()
			hang(w, r)
		}, sensors.ErrUnreachable},
		{"reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, sensors.ErrUnreachable},
		{"401", func(w http.ResponseWriter, _ *http.Request) { status(w, 401, "Unauthorized", "") }, sensors.ErrUnauthorized},
		{"403", func(w http.ResponseWriter, _ *http.Request) { status(w, 403, "Forbidden", "") }, sensors.ErrUnauthorized},
		{"429", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Retry-After", "1000")
			w.WriteHeader(429)
		}, sensors.ErrThrottled},
		{"500", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500); io.WriteString(w, token) }, sensors.ErrDevice},
		{"no metrics-server", func(w http.ResponseWriter, r *http.Request) { http.NotFound(w, r) }, sensors.ErrDevice},
		{"not ready", func(w http.ResponseWriter, _ *http.Request) { status(w, 503, "ServiceUnavailable", "") }, sensors.ErrDevice},
		{"redirect", func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, elsewhere.URL, http.StatusTemporaryRedirect)
		}, sensors.ErrDevice},
		{"endless body", func(w http.ResponseWriter, _ *http.Request) {
			for b := []byte(strings.Repeat(" ", 1<<16)); ; {
				if _, err := w.Write(b); err != nil {
					return
				}
			}
		}, sensors.ErrMalformed},
		{"gzip bomb", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			for range 64 {
				_, _ = z.Write(make([]byte, 1<<16))
			}
			_ = z.Close()
		}, sensors.ErrMalformed},
		{"other JSON", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `[]`) }, sensors.ErrMalformed},
		{"no items", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{"items":null,"usage":7}`) }, sensors.ErrMalformed},
	} {
		t.Run(test.name, func(t *testing.T) {
			o := metricsserver.Options{MaxBytes: 1 << 20, Timeout: 20 * time.Second}
			if strings.HasPrefix(test.name, "hang") {
				o.Timeout = 200 * time.Millisecond
			}
			s := source(t, test.handle, o)
			r, one := s.Read(t.Context(), "n1")
			all, errs := s.ReadAll(t.Context(), []string{"n1"})
			if len(r) > 0 || len(all) > 0 {
				t.Errorf("gave %v and %v", r, all)
			}
			for _, err := range []error{one, errs["n1"]} {
				if !errors.Is(err, test.want) {
					t.Errorf("error %v, want %v", err, test.want)
				}
				if err != nil && strings.Contains(err.Error(), token) {
					t.Errorf("the error holds the token: %v", err)
				}
			}
		})
	}
	if leaked.Load() {
		t.Error("credentials followed a redirect")
	}
}

// FuzzRead feeds any answer to both readers: neither panics, and what they give is possible.
func FuzzRead(f *testing.F) {
	f.Add([]byte(n1))
	f.Add([]byte(`{"items":[` + n1 + `,{"metadata":{"name":"n2"},"usage":{"cpu":"1e308"}},null,7]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := metricsserver.New(&rest.Config{Host: "http://127.0.0.1", Transport: canned(body)}, metricsserver.Options{})
		if err != nil {
			t.Fatal(err)
		}
		one, _ := s.Read(t.Context(), "n1")
		all, _ := s.ReadAll(t.Context(), []string{"n1"})
		for _, r := range append(one, all["n1"]...) {
			if err := sensors.Possible(r.Kind, r.Value); err != nil || r.At.IsZero() {
				t.Errorf("%+v: %v", r, err)
			}
		}
	})
}

// canned is a transport whose every answer is its bytes.
type canned []byte

func (c canned) RoundTrip(*http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(string(c)))}, nil
}

// A configuration may have sources of this type where the program adds it, and not elsewhere.
func TestType(t *testing.T) {
	t.Setenv("LEASTWATT_TEST_TOKEN", token)
	srv := httptest.NewTLSServer(api())
	defer srv.Close()
	const text = "sensors: {sources: [{type: metrics.k8s.io%s}]}"
	of := func(fields string) (sensors.SensorSource, error) {
		c, err := config.Parse("site.yaml", fmt.Appendf(nil, text, fields), metricsserver.Type(func() (*rest.Config, error) {
			return &rest.Config{Host: srv.URL, BearerToken: token, TLSClientConfig: rest.TLSClientConfig{Insecure: true}}, nil
		}))
		if err != nil {
			return nil, err
		}
		set, err := c.Build(config.BuildOptions{})
		if err != nil {
			return nil, err
		}
		t.Cleanup(func() { _ = set.Close(context.Background()) })
		return set.Source, nil
	}
	for _, fields := range []string{"", ", url: '" + srv.URL + "', tokenEnv: LEASTWATT_TEST_TOKEN, tls: {insecureSkipVerify: true}"} {
		s, err := of(fields)
		if err != nil {
			t.Fatal(err)
		}
		rs, errs := sensors.ReadAll(t.Context(), s, []string{"n1"})
		if len(rs["n1"]) != 2 || errs["n1"] != nil {
			t.Errorf("%q: %v, %v", fields, rs, errs)
		}
	}
	for fields, want := range map[string]string{
		", user: a":                          "user: is not for type metrics.k8s.io",
		", tokenEnv: X":                      "credentials are for a url",
		", perNode: {a: {url: 'https://x'}}": "perNode: is not for type metrics.k8s.io",
		", url: 'https://{{.Name}}'":         "cannot be a template",
	} {
		if _, err := of(fields); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", fields, err)
		}
	}
	if _, err := config.Parse("site.yaml", fmt.Appendf(nil, text, "")); err == nil || !strings.Contains(err.Error(), `site.yaml:1: sensors.sources[0].type: is "metrics.k8s.io": want redfish`) {
		t.Errorf("a program without it: %v", err)
	}
	for _, bad := range []config.Type{{Name: "redfish", New: metricsserver.Type(nil).New}, {Name: "x"}, {}} {
		if _, err := config.Parse("site.yaml", fmt.Appendf(nil, text, ""), bad); err == nil {
			t.Errorf("type %q was added", bad.Name)
		}
	}
}
