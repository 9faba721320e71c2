package loadwatcher_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/internal/faulttest"
	"github.com/leastwatt/leastwatt/sensors/loadwatcher"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func ExampleSource() {
	windowEnd := time.Now().Add(-20 * time.Second)
	live := func() emulate.Machine { return emulate.Machine{Utilization: 0.42, At: windowEnd} }
	server, err := emulate.Listen(nil, emulate.NewLoadWatcher(live, emulate.ExporterOptions{}, "n1", "n2"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	source, err := loadwatcher.New(loadwatcher.Endpoint{URL: server.URL}, loadwatcher.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	readings, errs := source.ReadAll(context.Background(), []string{"n1", "n3"})
	for _, r := range readings["n1"] {
		fmt.Println(r.Kind, r.Value, r.Source)
	}
	fmt.Println(sensors.Reason(errs["n3"]))
	// Output:
	// cpu_utilization_ratio 0.42 loadwatcher:AVG
	// unknown_node
}

func TestContractAndFaults(t *testing.T) {
	faulttest.Run(t, faulttest.Case{
		Device: func(live func() emulate.Machine, to string) faulttest.Device {
			return emulate.NewLoadWatcher(live, emulate.ExporterOptions{User: faulttest.User, Password: faulttest.Password, RedirectTo: to}, faulttest.Node)
		},
		Source: func(urls map[string]string, password string, c *tls.Config, timeout time.Duration) sensors.SensorSource {
			all := map[string]*loadwatcher.Source{}
			for n, u := range urls {
				s, err := loadwatcher.New(loadwatcher.Endpoint{URL: u, User: faulttest.User, Password: password, TLS: c}, loadwatcher.Options{Timeout: timeout})
				if err != nil {
					t.Fatal(err)
				}
				all[n] = s
			}
			return sensors.SourceFunc(func(ctx context.Context, node string) ([]sensors.Reading, error) {
				if s := all[node]; s != nil {
					return s.Read(ctx, node)
				}
				return all[faulttest.Node].Read(ctx, node)
			})
		},
		Machine: emulate.Machine{Utilization: 0.42},
		Kinds:   []sensors.Kind{sensors.CPUUtilization},
		Reasons: map[emulate.Fault]string{emulate.WrongType: "no_reading", emulate.TooLarge: "no_reading"},
	})
}

func read(t *testing.T, body string, nodes ...string) (map[string]map[sensors.Kind]sensors.Reading, map[string]error) {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) }))
	defer s.Close()
	source, err := loadwatcher.New(loadwatcher.Endpoint{URL: s.URL + "/watcher"}, loadwatcher.Options{Power: sensors.Power})
	if err != nil {
		t.Fatal(err)
	}
	readings, errs := source.ReadAll(t.Context(), nodes)
	out := map[string]map[sensors.Kind]sensors.Reading{}
	for n, list := range readings {
		out[n] = map[sensors.Kind]sensors.Reading{}
		for _, r := range list {
			out[n][r.Kind] = r
		}
	}
	return out, errs
}

func TestNaNOfOneNodeLosesNoOther(t *testing.T) {
	body := `{"timestamp":1700000100,"window":{"duration":"15m","start":1699999100,"end":1700000000},"source":"s \"NaN\" s","data":{"NodeMetricsMap":{
		"a":{"metrics":[{"name":"c","type":"CPU","operator":"AVG","value":NaN},{"name":"m","type":"Memory","operator":"Latest","value":30}]},
		"b":{"metrics":[{"name":"c","type":"cpu","operator":"AVG","value":50},{"name":"c","type":"CPU","operator":"Latest","value":60},{"name":"c","type":"CPU","operator":"STD","value":5},{"name":"p","type":"Power","operator":"Latest","value":210}]},
		"c":{"metrics":[{"name":"c","type":"CPU","operator":"AVG","value":-Inf}]},
		"d":{"metrics":[{"name":"c","type":"CPU","operator":"AVG","value":0}]}}}}`
	got, errs := read(t, body, "a", "b", "c", "d", "e")
	if v := got["a"][loadwatcher.MemoryUtilization].Value; v != 0.3 || sensors.Reason(errs["a"]) != "no_reading" {
		t.Errorf("a: %v, %v", got["a"], errs["a"])
	}
	if b := got["b"]; b[sensors.CPUUtilization].Value != 0.6 || b[loadwatcher.CPUDeviation].Value != 0.05 || b[sensors.Power].Value != 210 || errs["b"] != nil {
		t.Errorf("b: %v, %v", b, errs["b"])
	}
	if len(got["c"]) > 0 || sensors.Reason(errs["c"]) != "no_reading" {
		t.Errorf("c: %v, %v", got["c"], errs["c"])
	}
	if r, ok := got["d"][sensors.CPUUtilization]; !ok || r.Value != 0 || !r.At.Equal(time.Unix(1700000000, 0)) {
		t.Errorf("d: an idle node is a measurement, at the window's end: %+v %v", r, ok)
	}
	if sensors.Reason(errs["e"]) != "unknown_node" {
		t.Errorf("e: %v", errs["e"])
	}
	if _, errs := read(t, `{"data":{}}`, "a"); sensors.Reason(errs["a"]) != "malformed" {
		t.Errorf("no map: %v", errs["a"])
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(`{"timestamp":1,"window":{"end":2},"data":{"NodeMetricsMap":{"a":{"metrics":[{"type":"CPU","operator":"AVG","value":NaN}]}}}}`)
	f.Add(`{"data":{"NodeMetricsMap":{"a":{"metrics":[{"type":"CPU","value":1e999},null]},"\"NaN":null}}}`)
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) }))
	f.Cleanup(server.Close)
	s, err := loadwatcher.New(loadwatcher.Endpoint{URL: server.URL}, loadwatcher.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b string) {
		body = b
		got, err := s.Read(t.Context(), "a")
		if len(got) == 0 && err == nil {
			t.Error("neither readings nor an error")
		}
		for _, r := range got {
			if sensors.Possible(r.Kind, r.Value) != nil || r.At.IsZero() {
				t.Errorf("%+v", r)
			}
		}
	})
}

// What is a mean says over how long, so that nobody takes it for the present.
func TestMeans(t *testing.T) {
	const body = `{"timestamp":1700000900,"window":{"duration":"15m","start":%s,"end":1700000900},"data":{"NodeMetricsMap":{
"avg":{"metrics":[{"name":"x","type":"CPU","operator":"AVG","value":42}]},"now":{"metrics":[{"name":"x","type":"CPU","operator":"Latest","value":42}]}}}}`
	for start, want := range map[string]time.Duration{"1700000000": 15 * time.Minute, "null": 0, "1700001000": 0, "-1": 0} {
		got, errs := read(t, fmt.Sprintf(body, start), "avg", "now")
		avg, now := got["avg"][sensors.CPUUtilization], got["now"][sensors.CPUUtilization]
		if len(errs) > 0 || avg.Mean != want || now.Mean != 0 || !avg.Middle().Equal(avg.At.Add(-want/2)) || !now.At.Equal(avg.At) {
			t.Errorf("window from %s: a mean over %v and the latest over %v, %v; want %v and 0", start, avg.Mean, now.Mean, errs, want)
		}
	}
}
