package prometheus_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/prometheus"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func ExampleSource() {
	measured := time.Now().Add(-7 * time.Second)
	live := func() emulate.Machine { return emulate.Machine{Watts: 212, Inlet: 23.5, At: measured} }
	server, err := emulate.Listen(nil, emulate.NewPrometheus(live, emulate.ExporterOptions{}, "n1", "n2"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	source, err := prometheus.New(prometheus.Endpoint{URL: server.URL}, []prometheus.Query{
		{Kind: sensors.InletTemp, Expr: `room_inlet_celsius`},
		{Kind: sensors.Power, Expr: `sum by ($label) (rack_watts)`, Time: `timestamp(rack_watts)`},
	}, prometheus.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	readings, errs := source.ReadAll(context.Background(), []string{"n1", "n2"})
	for _, r := range readings["n2"] {
		fmt.Println(r.Kind, r.Value, r.Source, r.Age(time.Now()).Round(time.Second))
	}
	fmt.Println(len(errs))
	// Output:
	// inlet_temp_celsius 23.5 prometheus:inlet_temp_celsius 7s
	// power_watts 212 prometheus:power_watts 7s
	// 0
}

func TestContractAndFaults(t *testing.T) {
	faulttest.Run(t, faulttest.Case{
		Device: func(live func() emulate.Machine, to string) faulttest.Device {
			return emulate.NewPrometheus(live, emulate.ExporterOptions{User: faulttest.User, Password: faulttest.Password, RedirectTo: to}, faulttest.Node)
		},
		Source: func(urls map[string]string, password string, c *tls.Config, timeout time.Duration) sensors.SensorSource {
			return each(urls, func(url string) *prometheus.Source {
				s, err := prometheus.New(prometheus.Endpoint{URL: url, User: faulttest.User, Password: password, TLS: c},
					[]prometheus.Query{{Kind: sensors.Power, Expr: "watts"}, {Kind: sensors.InletTemp, Expr: "inlet"}},
					prometheus.Options{Timeout: timeout, MaxBytes: 1 << 20})
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		},
		Machine: emulate.Machine{Watts: 212, Inlet: 23.5},
		Kinds:   []sensors.Kind{sensors.Power, sensors.InletTemp},
		Reasons: map[emulate.Fault]string{
			emulate.NullReadings: "unknown_node", // an empty vector does not tell why
			emulate.WrongType:    "malformed",
		},
	})
}

// each makes one source of several servers, to test them as the other back ends are.
func each(urls map[string]string, make1 func(string) *prometheus.Source) sensors.SensorSource {
	all := map[string]*prometheus.Source{}
	for n, u := range urls {
		all[n] = make1(u)
	}
	return sensors.SourceFunc(func(ctx context.Context, node string) ([]sensors.Reading, error) {
		if s := all[node]; s != nil {
			return s.Read(ctx, node)
		}
		return all[faulttest.Node].Read(ctx, node)
	})
}

func api(t *testing.T, body string, asked *atomic.Int64) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		fmt.Fprint(w, body)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func series(label, node, part, value string) string {
	return fmt.Sprintf(`{"metric":{%q:%q,"leastwatt_part":%q},"value":[1700000000,%q]}`, label, node, part, value)
}

func vector(s ...string) string {
	return `{"status":"success","data":{"resultType":"vector","result":[` + strings.Join(s, ",") + `]}}`
}

func TestOneRequestServesAllNodes(t *testing.T) {
	var all []string
	var nodes []string
	for i := range 500 {
		n := fmt.Sprintf("n%d", i)
		nodes = append(nodes, n)
		all = append(all, series("instance", n+":9100", "value", fmt.Sprint(i)), series("instance", n+":9100", "time", "1700000000.5"))
	}
	var asked atomic.Int64
	s, err := prometheus.New(prometheus.Endpoint{URL: api(t, vector(all...), &asked)}, []prometheus.Query{{Kind: sensors.Power, Expr: "w", Label: "instance"}}, prometheus.Options{})
	if err != nil {
		t.Fatal(err)
	}
	got, errs := s.ReadAll(t.Context(), nodes)
	if len(errs) > 0 || len(got) != len(nodes) || asked.Load() != 1 {
		t.Fatalf("%d nodes, errors %v, %d requests", len(got), errs, asked.Load())
	}
	for i, n := range nodes {
		if r := got[n][0]; r.Value != float64(i) || !r.At.Equal(time.UnixMilli(1700000000500)) {
			t.Errorf("%s: %+v", n, r)
		}
	}
}

func TestWhatASeriesMeans(t *testing.T) {
	for name, c := range map[string]struct {
		body, label string
		names       map[string]string
		node        string
		reason      string
	}{
		"value without time":   {vector(series("node", "n1", "value", "1")), "", nil, "n1", "malformed"},
		"time without value":   {vector(series("node", "n1", "time", "1700000000")), "", nil, "n1", "no_reading"},
		"two values":           {vector(series("node", "n1", "value", "1"), series("node", "n1", "value", "2"), series("node", "n1", "time", "1700000000")), "", nil, "n1", "malformed"},
		"absent":               {vector(), "", nil, "n1", "unknown_node"},
		"a scalar":             {`{"status":"success","data":{"resultType":"scalar","result":[1700000000,"1"]}}`, "", nil, "n1", "malformed"},
		"empty object":         {`{}`, "", nil, "n1", "malformed"},
		"error":                {`{"status":"error","errorType":"bad_data","error":"parse error"}`, "", nil, "n1", "device"},
		"IPv6 instance":        {vector(series("instance", "[fd00::1]:9100", "value", "1"), series("instance", "[fd00::1]:9100", "time", "1700000000")), "instance", nil, "fd00::1", ""},
		"instance is the node": {vector(series("instance", "n1", "value", "1"), series("instance", "n1", "time", "1700000000")), "instance", nil, "n1", ""},
		"mapped":               {vector(series("instance", "10.0.0.7:9290", "value", "1"), series("instance", "10.0.0.7:9290", "time", "1700000000")), "instance", map[string]string{"10.0.0.7": "n1"}, "n1", ""},
		"time of the year 0":   {vector(series("node", "n1", "value", "1"), series("node", "n1", "time", "-1")), "", nil, "n1", "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int64
			s, err := prometheus.New(prometheus.Endpoint{URL: api(t, c.body, &asked)}, []prometheus.Query{{Kind: sensors.Power, Expr: "w"}}, prometheus.Options{Label: c.label, Names: c.names})
			if err != nil {
				t.Fatal(err)
			}
			got, err := s.Read(t.Context(), c.node)
			if sensors.Reason(err) != c.reason || c.reason != "" && len(got) > 0 {
				t.Errorf("%v, %v; want reason %q", got, err, c.reason)
			}
		})
	}
}

// The rate of a counter is a mean over the window, and says so: also the utilization that is derived from cores in use.
func TestRatesAreMeans(t *testing.T) {
	var asked atomic.Int64
	body := vector(series("node", "n1", "value", "0.5"), series("node", "n1", "time", "1700000000"))
	for expr, want := range map[string]time.Duration{"sum by ($label) (rate(x[$window]))": 3 * time.Minute, "max by ($label) (x)": 0} {
		for _, kind := range []sensors.Kind{sensors.CPUUtilization, sensors.CPUUsed} {
			s, err := prometheus.New(prometheus.Endpoint{URL: api(t, body, &asked)}, []prometheus.Query{{Kind: kind, Expr: expr, Time: "timestamp(x)"}},
				prometheus.Options{Window: 3 * time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			all, err := sensors.Derive(s, sensors.DeriveOptions{Cores: func(string) float64 { return 1 }}).Read(t.Context(), "n1")
			if err != nil || len(all) == 0 {
				t.Fatal(all, err)
			}
			for _, r := range all {
				if r.Mean != want || !r.Middle().Equal(time.Unix(1700000000, 0).Add(-want/2)) {
					t.Errorf("%s: %s is a mean over %v, its middle %v; want %v", expr, r.Kind, r.Mean, r.Middle(), want)
				}
			}
		}
	}
}

func TestNewRefusesWhatCannotWork(t *testing.T) {
	for name, q := range map[string][]prometheus.Query{
		"none": nil, "no kind": {{Expr: "a"}}, "no time": {{Kind: sensors.Power, Expr: "sum(a)"}},
		"two of a kind": {{Kind: sensors.Power, Expr: "a"}, {Kind: sensors.Power, Expr: "b"}}, "label": {{Kind: sensors.Power, Expr: "a", Label: "a-b"}},
	} {
		if _, err := prometheus.New(prometheus.Endpoint{URL: "http://p"}, q, prometheus.Options{}); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	const secret = "S3cret"
	if _, err := prometheus.New(prometheus.Endpoint{URL: "http://u:" + secret + "@p"}, []prometheus.Query{{Kind: "k", Expr: "a"}}, prometheus.Options{}); err == nil || strings.Contains(err.Error(), secret) {
		t.Errorf("%v", err)
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add([]byte(vector(series("node", "n1", "value", "1"), series("node", "n1", "time", "1700000000"))))
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"metric":{},"value":[1e400,"x"]},null]}}`))
	f.Add([]byte(`{"status":"success","data":{"resultType":"vector","result":[{"histogram":[1,{"count":"1"}]}]}}`))
	body := new(atomic.Pointer[[]byte])
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = w.Write(*body.Load()) }))
	f.Cleanup(server.Close)
	s, err := prometheus.New(prometheus.Endpoint{URL: server.URL}, []prometheus.Query{{Kind: sensors.Power, Expr: "w"}}, prometheus.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		body.Store(&b)
		got, err := s.Read(t.Context(), "n1")
		if (err == nil) == (len(got) == 0) {
			t.Errorf("%v with %v", got, err)
		}
		for _, r := range got {
			if r.At.IsZero() || sensors.Possible(r.Kind, r.Value) != nil {
				t.Errorf("%+v", r)
			}
		}
	})
}
