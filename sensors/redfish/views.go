package redfish

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/leastwatt/leastwatt/internal/boundedhttp"
	"github.com/leastwatt/leastwatt/internal/sensorname"
	"github.com/leastwatt/leastwatt/sensors"
)

// The ranks of views, for all kinds; those by name have room for what the name says.
const (
	rankOverride = iota
	rankMetrics  // ThermalMetrics, EnvironmentMetrics
	rankPower    // PowerControl
	rankSensor
	rankThermal
	rankSupplies
	rankSensorName  = 20 // less what the name is worth
	rankThermalName = 30
)

// times tells when an answer came, and how wrong the BMC's clock is.
type times struct {
	arrived time.Time
	ahead   time.Duration // what to take from the BMC's times to make them ours
}

// clockOf compares the BMC's clock with ours. The header has whole seconds; less than two are no error.
func clockOf(r *boundedhttp.Response) times {
	t := times{arrived: r.At}
	if date, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		if ahead := date.Sub(r.At); ahead.Abs() > 2*time.Second {
			t.ahead = ahead
		}
	}
	return t
}

// of returns the time that a BMC wrote, by our clock; the zero time if it wrote none.
func (t times) of(s string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}
	}
	return at.Add(-t.ahead)
}

// extract takes out of an answer what its view has.
func extract(s *step, r *boundedhttp.Response, maxAge time.Duration) ([]found, error) {
	t := clockOf(r)
	switch s.view {
	case viewOverride:
		return pointed(s, r.Body, t)
	case viewReport:
		return reported(s, r.Body, t, maxAge)
	case viewThermalM:
		return with(thermalMetrics)(r.Body, t)
	case viewEnv:
		return with(environment)(r.Body, t)
	case viewSensor:
		return with(sensor)(r.Body, t)
	case viewThermal:
		return with(thermal)(r.Body, t)
	case viewPower:
		return with(powerControl)(r.Body, t)
	}
	return nil, fmt.Errorf("%w: no such view: %s", sensors.ErrNoReading, s.view)
}

func with[T any](f func(*T, times) []found) func([]byte, times) ([]found, error) {
	return func(body []byte, t times) ([]found, error) {
		v, err := decode[T](body)
		if err != nil {
			return nil, err
		}
		return f(v, t), nil
	}
}

// finds gathers what a view has.
type finds []found

func (fs *finds) add(kind sensors.Kind, v *float64, f found) {
	if v != nil {
		f.kind, f.value = kind, *v
		*fs = append(*fs, f)
	}
}

func thermalMetrics(m *schemas.ThermalMetrics, _ times) []found {
	var fs finds
	s := m.TemperatureSummaryCelsius
	fs.add(sensors.InletTemp, s.Intake.Reading, found{view: viewThermalM, rank: rankMetrics, uri: s.Intake.DataSourceURI})
	fs.add(sensors.ExhaustTemp, s.Exhaust.Reading, found{view: viewThermalM, rank: rankMetrics, uri: s.Exhaust.DataSourceURI})
	if p := m.DeltaPressurekPa; p.Reading != nil {
		fs.add(sensors.PressureDelta, new(*p.Reading*1000), found{view: viewThermalM, rank: rankMetrics, uri: p.DataSourceURI})
	}
	return fs
}

const joulesPerKWh = 3.6e6

func environment(m *schemas.EnvironmentMetrics, _ times) []found {
	var fs finds
	fs.add(sensors.Power, m.PowerWatts.Reading, found{view: viewEnv, rank: rankMetrics, uri: m.PowerWatts.DataSourceURI})
	switch {
	case m.EnergyJoules.Reading != nil:
		fs.add(sensors.Energy, m.EnergyJoules.Reading, found{view: viewEnv, rank: rankMetrics})
	case m.EnergykWh.Reading != nil:
		fs.add(sensors.Energy, new(*m.EnergykWh.Reading*joulesPerKWh), found{view: viewEnv, rank: rankMetrics})
	}
	var fastest *float64
	for _, f := range m.FanSpeedsPercent {
		fastest = larger(fastest, f.SpeedRPM)
	}
	fs.add(sensors.FanSpeed, fastest, found{view: viewEnv, rank: rankMetrics})
	return fs
}

func larger(a, b *float64) *float64 {
	if a == nil || b != nil && *b > *a {
		return b
	}
	return a
}

// sensor tells what one Sensor measures. Many carry no ReadingType: the units tell as well.
func sensor(s *schemas.Sensor, t times) []found {
	if s.Reading == nil || !works(s.Status) {
		return nil
	}
	f := found{view: viewSensor, rank: rankSensor, at: t.of(s.ReadingTime), uri: s.ODataID}
	var fs finds
	switch units := strings.ToLower(s.ReadingUnits); {
	case s.ReadingType == schemas.TemperatureReadingType || units == "cel" || units == "c" || units == "°c" || units == "celsius":
		switch kind, rank := temperature(s.PhysicalContext, s.Name+" "+s.ID, rankSensor, rankSensorName); kind {
		case "":
		default:
			f.rank = rank
			fs.add(kind, s.Reading, f)
		}
	case s.ReadingType == schemas.PowerReadingType || units == "w" || units == "watts":
		if wholeServer(s) {
			fs.add(sensors.Power, s.Reading, f)
		}
	case s.ReadingType == schemas.EnergyJoulesReadingType || units == "j":
		if wholeServer(s) {
			fs.add(sensors.Energy, s.Reading, f)
		}
	case s.ReadingType == schemas.EnergykWhReadingType || units == "kw.h":
		if wholeServer(s) {
			fs.add(sensors.Energy, new(*s.Reading*joulesPerKWh), f)
		}
	case units == "rpm" || units == "{rev}/min":
		fs.add(sensors.FanSpeed, s.Reading, f)
	}
	return fs
}

// wholeServer tells whether a sensor measures all of the server, not a part such as a supply.
func wholeServer(s *schemas.Sensor) bool {
	if sensorname.Part(s.Name + " " + s.ID) {
		return false
	}
	switch s.PhysicalContext {
	case schemas.ChassisPhysicalContext, schemas.SystemBoardPhysicalContext, "":
		return s.ElectricalContext == "" || s.ElectricalContext == schemas.TotalElectricalContext
	}
	return false
}

func thermal(m *schemas.Thermal, _ times) []found {
	var fs finds
	var hottest *float64
	for _, s := range m.Temperatures {
		if s.ReadingCelsius == nil || !works(s.Status) {
			continue
		}
		if s.PhysicalContext == schemas.CPUPhysicalContext {
			hottest = larger(hottest, s.ReadingCelsius)
			continue
		}
		kind, rank := temperature(s.PhysicalContext, s.Name, rankThermal, rankThermalName)
		if kind != "" {
			fs.add(kind, s.ReadingCelsius, found{view: viewThermal, rank: rank, uri: s.ODataID})
		}
	}
	fs.add(sensors.CPUTemp, hottest, found{view: viewThermal, rank: rankThermal})
	var fastest *float64
	for _, f := range m.Fans {
		if f.Reading != nil && works(f.Status) && f.ReadingUnits == schemas.RPMReadingUnits {
			fastest = larger(fastest, new(float64(*f.Reading)))
		}
	}
	fs.add(sensors.FanSpeed, fastest, found{view: viewThermal, rank: rankThermal})
	return fs
}

// powerControl reads member 0, which is the server on every BMC that we know of; the others are its parts.
func powerControl(m *schemas.Power, _ times) []found {
	if len(m.PowerControl) == 0 || m.PowerControl[0].PowerConsumedWatts == nil || !works(m.PowerControl[0].Status) {
		return nil
	}
	c := m.PowerControl[0]
	// The library keeps 32 bits: the shortest decimal that they stand for is what the BMC wrote.
	v, err := strconv.ParseFloat(strconv.FormatFloat(float64(*c.PowerConsumedWatts), 'g', -1, 32), 64)
	if err != nil || math.IsNaN(v) {
		return nil
	}
	return []found{{kind: sensors.Power, value: v, view: viewPower, rank: rankPower, uri: c.ODataID}}
}

// works tells whether a status lets a reading count.
func works(s schemas.Status) bool {
	switch s.State {
	case schemas.AbsentState, schemas.DisabledState, schemas.UnavailableOfflineState:
		return false
	}
	return true
}

// temperature tells what a temperature sensor measures, by its context, else by its name, and at what rank.
func temperature(context schemas.PhysicalContext, name string, rank, byName int) (sensors.Kind, int) {
	switch context {
	case schemas.IntakePhysicalContext:
		if sensorname.Part(name) {
			return "", 0 // a supply has an intake, too
		}
		return sensors.InletTemp, rank
	case schemas.ExhaustPhysicalContext:
		if sensorname.Part(name) {
			return "", 0
		}
		return sensors.ExhaustTemp, rank
	case schemas.CPUPhysicalContext:
		return sensors.CPUTemp, rank
	}
	if n := sensorname.InletRank(name); n > 0 {
		return sensors.InletTemp, byName - n
	}
	return "", 0
}

// pointed follows an override into a resource.
func pointed(s *step, body []byte, t times) ([]found, error) {
	var tree any
	if err := json.Unmarshal(body, &tree); err != nil {
		return nil, fmt.Errorf("%w: %s: not JSON", sensors.ErrMalformed, s.uri)
	}
	v, parent, err := walk(tree, s.pointer)
	if err != nil {
		return nil, fmt.Errorf("%w: override %s#%s: %w", sensors.ErrNoReading, s.uri, s.pointer, err)
	}
	value, ok := number(v)
	if !ok {
		return nil, fmt.Errorf("%w: override %s#%s is not a number", sensors.ErrNoReading, s.uri, s.pointer)
	}
	f := found{kind: s.kinds[0], value: value, view: viewOverride, rank: rankOverride, uri: s.uri}
	if at, ok := parent["ReadingTime"].(string); ok {
		f.at = t.of(at)
	}
	return []found{f}, nil
}
