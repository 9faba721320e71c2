package redfish_test

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/sensorstest"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

const (
	user     = "operator"
	password = "s3cret-Pa55-word"
	chassis  = "/redfish/v1/Chassis/1"
)

func machine() emulate.Machine {
	m := emulate.Blank()
	m.Watts, m.Inlet, m.Exhaust, m.CPUTemp, m.FanRPM, m.Joules = 344.1, 23.5, 38, 61, 4200, 1e9
	return m
}

func authority(t testing.TB) *emulate.Authority {
	t.Helper()
	a, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// serve listens for a device until the test ends, and returns its endpoint.
func serve(t testing.TB, a *emulate.Authority, device http.Handler) redfish.Endpoint {
	t.Helper()
	s, err := emulate.Listen(a, device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return redfish.Endpoint{URL: s.URL, User: user, Password: password, TLS: a.ClientTLS()}
}

func source(t testing.TB, nodes map[string]redfish.Endpoint, o redfish.Options) *redfish.Source {
	t.Helper()
	s := redfish.New(redfish.Nodes(nodes), o)
	t.Cleanup(func() { _ = s.Close(context.Background()) })
	return s
}

func with(o emulate.BMCOptions) emulate.BMCOptions {
	o.User, o.Password = user, password
	return o
}

type reading struct {
	Value  float64
	Source string
}

func read(t *testing.T, s sensors.SensorSource, node string) (map[sensors.Kind]reading, error) {
	t.Helper()
	rs, err := s.Read(t.Context(), node)
	got := map[sensors.Kind]reading{}
	for _, r := range rs {
		got[r.Kind] = reading{r.Value, r.Source}
	}
	return got, err
}

func TestConformance(t *testing.T) {
	a := authority(t)
	hangs := emulate.NewBMC(machine, with(emulate.BMCOptions{}))
	hangs.SetFault(emulate.Hang)
	wrong := serve(t, a, emulate.NewBMC(machine, with(emulate.BMCOptions{})))
	wrong.Password = "wrong-" + password
	session := serve(t, a, emulate.NewBMC(machine, with(emulate.BMCOptions{NoBasic: true})))
	session.Session = true
	stranger := serve(t, authority(t), emulate.NewBMC(machine, with(emulate.BMCOptions{})))
	stranger.TLS = a.ClientTLS()
	nodes := map[string]redfish.Endpoint{
		"basic": serve(t, a, emulate.NewBMC(machine, with(emulate.BMCOptions{}))), "session": session,
		"hangs": serve(t, a, hangs), "wrong": wrong, "stranger": stranger,
		"refused": {URL: "https://127.0.0.1:1", User: user, Password: password},
	}
	s := source(t, nodes, redfish.Options{})
	for _, node := range []string{"basic", "session"} {
		err := sensorstest.TestSource(s, sensorstest.Want{Node: node, Kinds: []sensors.Kind{sensors.InletTemp, sensors.Power}, Hangs: "hangs",
			Fails:   map[string]error{"wrong": sensors.ErrUnauthorized, "refused": sensors.ErrUnreachable, "stranger": sensors.ErrUnreachable},
			Secrets: []string{password}})
		if err != nil {
			t.Errorf("%s: %v", node, err)
		}
	}
}

// The documented precedence, one view less at a time.
func TestPrecedence(t *testing.T) {
	a := authority(t)
	for _, c := range []struct {
		name         string
		without      []string
		inlet, power string
	}{
		{"all views", nil, "redfish:ThermalMetrics", "redfish:EnvironmentMetrics"},
		{"no ThermalSubsystem", []string{"ThermalSubsystem"}, "redfish:Sensors", "redfish:EnvironmentMetrics"},
		{"no EnvironmentMetrics", []string{"EnvironmentMetrics"}, "redfish:ThermalMetrics", "redfish:PowerControl"},
		{"old: Thermal and Power alone", []string{"ThermalSubsystem", "Sensors", "EnvironmentMetrics", "PowerSubsystem"}, "redfish:Thermal", "redfish:PowerControl"},
		{"Sensors alone", []string{"ThermalSubsystem", "Thermal", "EnvironmentMetrics", "Power", "PowerSubsystem"}, "redfish:Sensors", "redfish:Sensors"},
		{"supplies", []string{"EnvironmentMetrics", "Power", "Sensors"}, "redfish:ThermalMetrics", "redfish:PowerSupplies"},
	} {
		bmc := emulate.NewBMC(machine, with(emulate.BMCOptions{Without: c.without}))
		s := source(t, map[string]redfish.Endpoint{"n": serve(t, a, bmc)}, redfish.Options{})
		for range 2 { // discovery, then its plan
			got, err := read(t, s, "n")
			if err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
			if d := cmp.Diff(reading{23.5, c.inlet}, got[sensors.InletTemp]); d != "" {
				t.Errorf("%s: inlet (-want +got):\n%s", c.name, d)
			}
			if d := cmp.Diff(reading{344.1, c.power}, got[sensors.Power]); d != "" {
				t.Errorf("%s: power (-want +got):\n%s", c.name, d)
			}
		}
	}
}

// A BMC is weak: what was found out once must not be asked for again.
func TestLaterReadsAskForLittle(t *testing.T) {
	a := authority(t)
	for _, c := range []struct {
		name string
		opts emulate.BMCOptions
		most int
	}{
		{"all views", emulate.BMCOptions{}, 2},
		{"Sensors alone", emulate.BMCOptions{Without: []string{"ThermalSubsystem", "Thermal", "EnvironmentMetrics", "Power", "PowerSubsystem"}}, 2},
		{"with a metric report", emulate.BMCOptions{Reports: true}, 1},
	} {
		bmc := emulate.NewBMC(machine, with(c.opts))
		s := source(t, map[string]redfish.Endpoint{"n": serve(t, a, bmc)}, redfish.Options{})
		if _, err := read(t, s, "n"); err != nil {
			t.Fatal(err)
		}
		before := bmc.Requests()
		got, err := read(t, s, "n")
		if err != nil || got[sensors.InletTemp].Value != 23.5 || got[sensors.Power].Value != 344.1 {
			t.Errorf("%s: %v, %v", c.name, got, err)
		}
		if n := bmc.Requests() - before; n > c.most {
			t.Errorf("%s: the second read made %d requests, want at most %d", c.name, n, c.most)
		}
		if c.opts.Reports && got[sensors.InletTemp].Source != "redfish:MetricReport" {
			t.Errorf("%s: the inlet is of %s", c.name, got[sensors.InletTemp].Source)
		}
	}
}

func TestValuesAreLive(t *testing.T) {
	a := authority(t)
	m := machine()
	bmc := emulate.NewBMC(func() emulate.Machine { return m }, with(emulate.BMCOptions{}))
	s := source(t, map[string]redfish.Endpoint{"n": serve(t, a, bmc)}, redfish.Options{})
	for _, watts := range []float64{100, 100, 250, 250, 90} { // unchanged answers come as 304
		m.Watts = watts
		got, err := read(t, s, "n")
		if err != nil || got[sensors.Power].Value != watts {
			t.Errorf("%v, %v, want %v W", got, err, watts)
		}
	}
}

func TestReadingsHaveTheHardwaresTime(t *testing.T) {
	a := authority(t)
	only := emulate.BMCOptions{Without: []string{"ThermalSubsystem", "Thermal", "EnvironmentMetrics", "Power", "PowerSubsystem"}}
	bmc := emulate.NewBMC(machine, with(only))
	s := source(t, map[string]redfish.Endpoint{"n": serve(t, a, bmc)}, redfish.Options{})
	for f, want := range map[emulate.Fault]time.Duration{emulate.NoFault: 0, emulate.ClockBehind: time.Hour, emulate.ClockAhead: -time.Hour} {
		bmc.SetFault(f)
		rs, err := s.Read(t.Context(), "n")
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range rs {
			if age := r.Age(time.Now()); (age - want).Abs() > time.Minute {
				t.Errorf("fault %d: %s is %v old, want about %v", f, r.Kind, age, want)
			}
		}
	}
}

// A BMC whose clock is wrong as a whole says so in the Date header.
func TestAWrongClockIsCorrected(t *testing.T) {
	a := authority(t)
	const off = 5 * time.Hour
	m := machine()
	bmc := emulate.NewBMC(func() emulate.Machine { m.At = time.Now().Add(-off); return m },
		with(emulate.BMCOptions{Without: []string{"ThermalSubsystem", "Thermal", "EnvironmentMetrics", "Power", "PowerSubsystem"}}))
	late := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(-off).UTC().Format(http.TimeFormat))
		bmc.ServeHTTP(w, r)
	})
	s := source(t, map[string]redfish.Endpoint{"n": serve(t, a, late)}, redfish.Options{})
	rs, err := s.Read(t.Context(), "n")
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rs {
		if age := r.Age(time.Now()); age.Abs() > time.Minute {
			t.Errorf("%s is %v old by a BMC that is five hours late, want about 0", r.Kind, age)
		}
	}
}

func TestOverride(t *testing.T) {
	a := authority(t)
	e := serve(t, a, emulate.NewBMC(machine, with(emulate.BMCOptions{})))
	e.Override = map[sensors.Kind]string{
		sensors.InletTemp: chassis + "/Thermal#/Temperatures/0/ReadingCelsius", // the CPU's, to be told apart
		sensors.Power:     chassis + "/Sensors/Nowhere",
	}
	bad := e
	bad.Override = map[sensors.Kind]string{sensors.Power: "Sensors/1"}
	s := source(t, map[string]redfish.Endpoint{"n": e, "bad": bad}, redfish.Options{})
	got, err := read(t, s, "n")
	if d := cmp.Diff(map[sensors.Kind]reading{sensors.InletTemp: {61, "redfish:Override"}}, got); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	if !errors.Is(err, sensors.ErrNoReading) || !strings.Contains(err.Error(), string(sensors.Power)) {
		t.Errorf("an override that leads nowhere: error %v, want ErrNoReading of the kind, and no other view", err)
	}
	if _, err := s.Read(t.Context(), "bad"); err == nil {
		t.Error("an override that is no path is no error")
	}
}

func TestSessionsAreFewAndClosed(t *testing.T) {
	a := authority(t)
	bmc := emulate.NewBMC(machine, with(emulate.BMCOptions{NoBasic: true, MaxSessions: 2}))
	e := serve(t, a, bmc)
	e.Session = true
	s := source(t, map[string]redfish.Endpoint{"n": e}, redfish.Options{})
	for range 5 {
		if _, err := s.Read(t.Context(), "n"); err != nil {
			t.Fatal(err)
		}
	}
	if open, ever := bmc.Sessions(); open != 1 || ever != 1 {
		t.Errorf("after five reads: %d sessions open, %d ever, want one", open, ever)
	}
	bmc.ExpireSessions()
	if _, err := s.Read(t.Context(), "n"); err != nil {
		t.Errorf("after the session expired: %v, want a new login", err)
	}
	if open, ever := bmc.Sessions(); open != 1 || ever != 2 {
		t.Errorf("after the session expired: %d open, %d ever, want 1 and 2", open, ever)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Error(err)
	}
	if open, _ := bmc.Sessions(); open != 0 {
		t.Errorf("after Close, %d sessions are open", open)
	}
}

func TestForgottenNodesAreLookedUpAnew(t *testing.T) {
	a := authority(t)
	nodes := map[string]redfish.Endpoint{"n": serve(t, a, emulate.NewBMC(machine, with(emulate.BMCOptions{})))}
	s := redfish.New(func(node string) (redfish.Endpoint, error) { return redfish.Nodes(maps.Clone(nodes))(node) }, redfish.Options{})
	if _, err := s.Read(t.Context(), "n"); err != nil {
		t.Fatal(err)
	}
	delete(nodes, "n")
	if err := s.Forget(t.Context(), "n"); err != nil {
		t.Error(err)
	}
	if _, err := s.Read(t.Context(), "n"); !errors.Is(err, sensors.ErrUnknownNode) {
		t.Errorf("error %v, want ErrUnknownNode", err)
	}
}
