package redfish

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/sensors"
)

// FuzzViews feeds every view with foreign bytes: none may panic, or find a number that is none.
func FuzzViews(f *testing.F) {
	for _, s := range []string{
		`{"Temperatures":[{"Name":"Inlet","ReadingCelsius":"23.5","PhysicalContext":"Intake"},{"ReadingCelsius":null}],"Fans":[{"Reading":1.5,"ReadingUnits":"RPM"}]}`,
		`{"PowerControl":{"PowerConsumedWatts":"N/A","MemberId":0}}`,
		`{"TemperatureSummaryCelsius":{"Intake":{"Reading":24.8,"DataSourceUri":7}},"DeltaPressurekPa":{"Reading":"x"}}`,
		`{"PowerWatts":[{"Reading":1e308}],"EnergykWh":{"Reading":-1},"FanSpeedsPercent":[{"SpeedRPM":"2000"}]}`,
		`{"Reading":12,"ReadingUnits":"W","PhysicalContext":"Chassis","ReadingTime":"2019-08-13T04:14:33+06:00"}`,
		`{"MetricValues":[{"MetricProperty":"/redfish/v1/S/1#/Reading","MetricValue":"NaN","Timestamp":"2026-01-01T00:00:00Z"}]}`,
		`[[[[[[]]]]]]`, `null`, `{"a":{"b":[0,{"c":"7"}]}}`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r := &boundedhttp.Response{Body: body, At: time.Now(), Header: http.Header{"Date": {"Tue, 13 Aug 2019 04:14:33 GMT"}}}
		report := map[string]found{"/redfish/v1/S/1": {kind: sensors.Power}}
		for _, view := range []string{viewOverride, viewReport, viewThermalM, viewEnv, viewSensor, viewThermal, viewPower} {
			s := step{view: view, uri: "/x", pointer: "/a/b/1/c", kinds: []sensors.Kind{sensors.Power}, report: report}
			fs, err := extract(&s, r, time.Hour)
			for _, x := range fs {
				if math.IsNaN(x.value) || math.IsInf(x.value, 0) || x.kind == "" {
					t.Errorf("%s found %+v", view, x)
				}
			}
			_ = err
		}
		_ = json.Unmarshal(body, new(links))
	})
}

// What vendors write in the place of a number is never 0, and loses nothing beside it.
func TestOneBadFieldDoesNotLoseTheResource(t *testing.T) {
	at := times{arrived: time.Now()}
	for text, want := range map[string]map[sensors.Kind]float64{
		`{"PowerControl":[{"PowerConsumedWatts":"N/A"}]}`:                                            {},
		`{"PowerControl":[{"PowerConsumedWatts":null}]}`:                                             {},
		`{"PowerControl":[{"PowerConsumedWatts":"231"}],"PowerSupplies":[{"LineInputVoltage":"?"}]}`: {sensors.Power: 231},
		`{"PowerControl":{"PowerConsumedWatts":231.7}}`:                                              {sensors.Power: 231.7},
		`{"PowerControl":[{"MemberId":0,"PowerConsumedWatts":231,"PowerLimit":"none"}]}`:             {sensors.Power: 231},
		`{}`: {},
	} {
		v, err := decode[schemas.Power]([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		same(t, text, powerControl(v, at), want)
	}
	for text, want := range map[string]map[sensors.Kind]float64{
		`{"Temperatures":[{"ReadingCelsius":"N/A","PhysicalContext":"Intake"},{"ReadingCelsius":"24.5","PhysicalContext":"Intake"}]}`: {sensors.InletTemp: 24.5},
		`{"Temperatures":[{"ReadingCelsius":24,"PhysicalContext":"Intake","SensorNumber":"0x12"}],"Fans":[{"Reading":4200.0,"ReadingUnits":"RPM"}]}`: {
			sensors.InletTemp: 24, sensors.FanSpeed: 4200},
		`{"Temperatures":[{"ReadingCelsius":24,"PhysicalContext":"Intake","Status":{"State":"Absent"}}],"Status":"OK"}`: {},
		`{"Temperatures":"none"}`: {},
	} {
		v, err := decode[schemas.Thermal]([]byte(text))
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		same(t, text, thermal(v, at), want)
	}
	for _, text := range []string{"", "[]", `"x"`, "{", "<html>"} {
		if v, err := decode[schemas.Thermal]([]byte(text)); err == nil {
			t.Errorf("%q was decoded as %+v", text, v)
		}
	}
}

func same(t *testing.T, text string, fs []found, want map[sensors.Kind]float64) {
	t.Helper()
	if len(fs) != len(want) {
		t.Errorf("%s: found %+v, want %v", text, fs, want)
	}
	for _, f := range fs {
		if v, ok := want[f.kind]; !ok || v != f.value {
			t.Errorf("%s: %s is %v, want %v", text, f.kind, f.value, want)
		}
	}
}

// FuzzSystem reads foreign bytes as a computer system: none may panic, or tell a negative number or a text of
// several lines.
func FuzzSystem(f *testing.F) {
	f.Add([]byte(`{"Manufacturer":"Dell","Model":"Dell R740","ProcessorSummary":{"Count":2,"CoreCount":"36","LogicalProcessorCount":1e99},"MemorySummary":[]}`))
	f.Add([]byte(`{"Manufacturer":7,"Model":"a\nb","ProcessorSummary":null}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		h, err := parseSystem(body)
		if err == nil && (h.Chips < 0 || h.Cores < 0 || h.Threads < 0 || !(h.MemoryGB >= 0) || len(h.System) > maxName || strings.ContainsAny(h.System+h.CPU, "\r\n\x00")) {
			t.Errorf("%+v", h)
		}
	})
}

// FuzzKeplerFile reads foreign bytes as Kepler's file: none may panic, or give nothing without an error.
func FuzzKeplerFile(f *testing.F) {
	f.Add([]byte("nodes: {a: b}\nbmcs: {b: {endpoint: 'https://x', username: u, password: p}}"))
	f.Add([]byte("nodes: {a: b, c: d}\nbmcs: {b: {endpoint: ':', username: u, insecure: 3, password: [x]}, d: null}"))
	f.Add([]byte("nodes: &n [*n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		all, err := parseKepler("kepler.yaml", data)
		if err == nil && len(all) == 0 {
			t.Error("neither endpoints nor an error")
		}
	})
}
