package pressure_test

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
	"github.com/leastwatt/leastwatt/sensors/pressure"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

func ExampleSource() {
	live := func() emulate.Machine { return emulate.Machine{Pressure: 12.5} }
	server, err := emulate.Listen(nil, emulate.NewPressure(live, emulate.ExporterOptions{}, "n1"))
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Close()
	source, err := pressure.New(pressure.Endpoint{URL: server.URL}, pressure.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	readings, err := source.Read(context.Background(), "n1")
	for _, r := range readings {
		fmt.Println(r.Kind, r.Value, r.Source)
	}
	fmt.Println(err)
	// Output:
	// pressure_delta_pascals 12.5 pressure:dp-1
	// pressure_sensor_temp_celsius 25.5 pressure:dp-1
	// <nil>
}

func TestContractAndFaults(t *testing.T) {
	faulttest.Run(t, faulttest.Case{
		Device: func(live func() emulate.Machine, to string) faulttest.Device {
			return emulate.NewPressure(live, emulate.ExporterOptions{User: faulttest.User, Password: faulttest.Password, RedirectTo: to}, faulttest.Node)
		},
		Source: func(urls map[string]string, password string, c *tls.Config, timeout time.Duration) sensors.SensorSource {
			all := map[string]*pressure.Source{}
			for n, u := range urls {
				s, err := pressure.New(pressure.Endpoint{URL: u, User: faulttest.User, Password: password, TLS: c}, pressure.Options{Timeout: timeout})
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
		Machine: emulate.Machine{Pressure: 12.5},
		Kinds:   []sensors.Kind{sensors.PressureDelta},
		Reasons: map[emulate.Fault]string{
			emulate.Negative:   "", // the pressure behind may be the higher
			emulate.NotANumber: "malformed",
		},
	})
}

func TestAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		body   string
		value  float64
		reason string
	}{
		"the first that measures": {`{"code":200,"sensor":[{"pressure":null},{"pressure":7,"sensorid":3},{"pressure":9}]}`, 7, ""},
		"zero is a measurement":   {`{"code":200,"sensor":[{"pressure":0}]}`, 0, ""},
		"code 404":                {`{"code":404}`, 0, "unknown_node"},
		"code 500":                {`{"code":500}`, 0, "device"},
		"no sensors":              {`{"code":200,"sensor":[]}`, 0, "no_reading"},
		"another API":             {`{"status":"ok"}`, 0, "malformed"},
	} {
		t.Run(name, func(t *testing.T) {
			var asked string
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = r.URL.EscapedPath()
				fmt.Fprint(w, c.body)
			}))
			defer s.Close()
			source, err := pressure.New(pressure.Endpoint{URL: s.URL + "/dp/"}, pressure.Options{Names: map[string]string{"n1": "rack 1/u7"}})
			if err != nil {
				t.Fatal(err)
			}
			got, err := source.Read(t.Context(), "n1")
			if sensors.Reason(err) != c.reason || c.reason == "" && (len(got) != 1 || got[0].Value != c.value) {
				t.Errorf("%v, %v", got, err)
			}
			if want := "/dp/api/sensor/by_nodename/rack%201%2Fu7"; asked != want {
				t.Errorf("asked for %s, want %s", asked, want)
			}
		})
	}
}

func FuzzAnswer(f *testing.F) {
	f.Add(`{"code":200,"sensor":[{"pressure":1,"sensorid":"x","temperature":20}]}`)
	f.Add(`{"code":200,"sensor":[{"pressure":"N/A","sensorid":{}},null]}`)
	var body string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, body) }))
	f.Cleanup(server.Close)
	s, err := pressure.New(pressure.Endpoint{URL: server.URL}, pressure.Options{})
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
			if sensors.Possible(r.Kind, r.Value) != nil {
				t.Errorf("%+v", r)
			}
		}
	})
}
