package ipmi_test

import (
	"context"
	"errors"
	"math"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/ipmi"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

const (
	user     = "monitor"
	password = "S3cret-Pa55word"
)

// rack is a server in the manner of ipmi_sim's: half a degree a count, four watts a count.
func rack() []emulate.IPMISensor {
	return []emulate.IPMISensor{
		{Name: "PS1 Inlet", Entity: 0x0a, Unit: 1, Raw: 40},
		{Name: "Inlet Temp", Entity: 0x07, Unit: 1, M: 5, RExp: -1, Raw: 47},
		{Name: "CPU1 Temp", Entity: 0x03, Unit: 1, Signed: true, Raw: 61},
		{Name: "CPU2 Temp", Entity: 0x03, Unit: 1, Signed: true, Raw: 64},
		{Name: "Exhaust Temp", Entity: 0x07, Unit: 1, Signed: true, Raw: 38},
		{Name: "System Power", Entity: 0x07, Unit: 6, M: 4, Raw: 53},
		{Name: "Fan1", Entity: 0x1d, Unit: 18, M: 100, Raw: 62},
		{Name: "Fan2", Entity: 0x1d, Unit: 18, M: 100, Raw: 60},
	}
}

func start(t *testing.T, list ...emulate.IPMISensor) *emulate.IPMI {
	t.Helper()
	e, err := emulate.NewIPMI(user, password, list...)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	wg.Go(func() { _ = e.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return e
}

func source(t *testing.T, b ipmi.BMC, o ipmi.Options) *ipmi.Source {
	t.Helper()
	if o.Timeout == 0 {
		o.Timeout = 500 * time.Millisecond
	}
	s := ipmi.New(ipmi.Nodes(map[string]ipmi.BMC{"n1": b}), o)
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func read(t *testing.T, s *ipmi.Source) map[sensors.Kind]sensors.Reading {
	t.Helper()
	list, err := s.Read(t.Context(), "n1")
	if err != nil {
		t.Fatal(err)
	}
	return byKind(t, list)
}

func byKind(t *testing.T, list []sensors.Reading) map[sensors.Kind]sensors.Reading {
	t.Helper()
	out := map[sensors.Kind]sensors.Reading{}
	for _, r := range list {
		if _, twice := out[r.Kind]; twice {
			t.Errorf("%s occurs twice", r.Kind)
		}
		if age := time.Since(r.At); age < 0 || age > time.Minute {
			t.Errorf("%s: measured %v ago", r.Kind, age)
		}
		out[r.Kind] = r
	}
	return out
}

func want(t *testing.T, got map[sensors.Kind]sensors.Reading, kind sensors.Kind, value float64, source string) {
	t.Helper()
	r, ok := got[kind]
	if !ok || math.Abs(r.Value-value) > 1e-9 || r.Source != source {
		t.Errorf("%s = %v from %q (present %v), want %v from %q", kind, r.Value, r.Source, ok, value, source)
	}
}

func TestReadsSensorsWithTheirUnits(t *testing.T) {
	e := start(t, rack()...)
	for _, suite := range []int{0, 3, 17} {
		s := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password, CipherSuite: suite}, ipmi.Options{})
		got := read(t, s)
		want(t, got, sensors.InletTemp, 23.5, "ipmi:SDR/Inlet Temp")
		want(t, got, sensors.ExhaustTemp, 38, "ipmi:SDR/Exhaust Temp")
		want(t, got, sensors.CPUTemp, 64, "ipmi:SDR/CPU2 Temp")
		want(t, got, sensors.FanSpeed, 6200, "ipmi:SDR/Fan1")
		want(t, got, sensors.Power, 212, "ipmi:SDR/System Power")
		if len(got) != 5 {
			t.Errorf("%d kinds, want 5: %v", len(got), got)
		}
		_ = s.Close()
	}
	e.Set("Inlet Temp", 61)
	s := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{})
	want(t, read(t, s), sensors.InletTemp, 30.5, "ipmi:SDR/Inlet Temp")
	e.Set("Inlet Temp", 62)
	want(t, read(t, s), sensors.InletTemp, 31, "ipmi:SDR/Inlet Temp")
}

func TestUnitsAndChoice(t *testing.T) {
	for name, c := range map[string]struct {
		list   []emulate.IPMISensor
		named  map[sensors.Kind]string
		kind   sensors.Kind
		value  float64
		source string
	}{
		"entity before name": {[]emulate.IPMISensor{{Name: "Inlet X", Unit: 1, Raw: 20}, {Name: "T17", Entity: 0x37, Unit: 1, Raw: 25}}, nil, sensors.InletTemp, 25, "ipmi:SDR/T17"},
		"DCMI 1.0 entity":    {[]emulate.IPMISensor{{Name: "T17", Entity: 0x40, Unit: 1, Raw: 25}}, nil, sensors.InletTemp, 25, "ipmi:SDR/T17"},
		"inlet over ambient": {[]emulate.IPMISensor{{Name: "15-Front Ambient", Unit: 1, Raw: 20}, {Name: "01-Inlet Ambient", Unit: 1, Raw: 21}}, nil, sensors.InletTemp, 21, "ipmi:SDR/01-Inlet Ambient"},
		"named":              {[]emulate.IPMISensor{{Name: "Inlet", Unit: 1, Raw: 20}, {Name: "Front Panel", Unit: 1, Raw: 22}}, map[sensors.Kind]string{sensors.InletTemp: "Front Panel"}, sensors.InletTemp, 22, "ipmi:SDR/Front Panel"},
		"fahrenheit":         {[]emulate.IPMISensor{{Name: "Inlet", Unit: 2, Raw: 77}}, nil, sensors.InletTemp, 25, "ipmi:SDR/Inlet"},
		"kelvin":             {[]emulate.IPMISensor{{Name: "Inlet", Unit: 3, Raw: 25, B: 273}}, nil, sensors.InletTemp, 24.85, "ipmi:SDR/Inlet"},
		"below zero":         {[]emulate.IPMISensor{{Name: "Inlet", Unit: 1, Raw: 0xfb, Signed: true}}, nil, sensors.InletTemp, -5, "ipmi:SDR/Inlet"},
		"sum of supplies":    {[]emulate.IPMISensor{{Name: "PS1 Input Power", Entity: 0x0a, Unit: 6, M: 2, Raw: 60}, {Name: "PS2 Input Power", Entity: 0x0a, Unit: 6, M: 2, Raw: 70}, {Name: "PS1 Output Power", Entity: 0x0a, Unit: 6, Raw: 100}}, nil, sensors.Power, 260, "ipmi:SDR/sum of 2"},
		"server over supply": {[]emulate.IPMISensor{{Name: "PS1 Input Power", Entity: 0x0a, Unit: 6, Raw: 60}, {Name: "Pwr Consumption", Unit: 6, Raw: 140}}, nil, sensors.Power, 140, "ipmi:SDR/Pwr Consumption"},
	} {
		t.Run(name, func(t *testing.T) {
			e := start(t, c.list...)
			s := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password, Sensors: c.named}, ipmi.Options{})
			want(t, read(t, s), c.kind, c.value, c.source)
		})
	}
}

func TestDCMIBeforeTheWattSensor(t *testing.T) {
	e := start(t, rack()...)
	e.SetDCMI(287)
	b := ipmi.BMC{Address: e.Addr(), Username: user, Password: password}
	s := source(t, b, ipmi.Options{})
	want(t, read(t, s), sensors.Power, 287, "ipmi:DCMI")
	e.SetDCMI(-1) // answers, but does not measure
	want(t, read(t, s), sensors.Power, 212, "ipmi:SDR/System Power")
	e.SetDCMI(0) // a BMC that answers draws more than nothing
	want(t, read(t, s), sensors.Power, 212, "ipmi:SDR/System Power")
	e.SetDCMI(300)
	b.Sensors = map[sensors.Kind]string{sensors.Power: "System Power"}
	want(t, read(t, source(t, b, ipmi.Options{})), sensors.Power, 212, "ipmi:SDR/System Power")
}

func TestOneSessionKeptAndClosed(t *testing.T) {
	e := start(t, rack()...)
	s := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 5 {
				if _, err := s.Read(t.Context(), "n1"); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	if got := e.OpenedTotal.Load(); got != 1 {
		t.Errorf("%d sessions opened for 40 reads by 8 goroutines, want 1", got)
	}
	if got := e.Sessions(); got != 1 {
		t.Errorf("%d sessions open, want 1", got)
	}
	_ = s.Close()
	if got := e.Sessions(); got != 0 {
		t.Errorf("%d sessions left on the BMC after Close, want 0", got)
	}
}

func TestReconnectsAfterTheBMCForgot(t *testing.T) {
	e := start(t, rack()...)
	s := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{Timeout: 100 * time.Millisecond})
	read(t, s)
	e.Forget()
	want(t, read(t, s), sensors.InletTemp, 23.5, "ipmi:SDR/Inlet Temp")
	if got := e.OpenedTotal.Load(); got != 2 {
		t.Errorf("%d sessions opened, want 2", got)
	}
}

func TestPartialRecords(t *testing.T) {
	e, err := emulate.NewIPMI(user, password, rack()...)
	if err != nil {
		t.Fatal(err)
	}
	e.NoSDRInOne = true
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = e.Run(ctx) })
	s := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{})
	want(t, read(t, s), sensors.InletTemp, 23.5, "ipmi:SDR/Inlet Temp")
	before := e.Requests.Load()
	read(t, s)
	if n := e.Requests.Load() - before; n > 8 {
		t.Errorf("the second read took %d requests: the list of sensors was not kept", n)
	}
}

func TestFaults(t *testing.T) {
	reason := func(t *testing.T, err error, want string) {
		t.Helper()
		if sensors.Reason(err) != want {
			t.Errorf("reason %q (%v), want %q", sensors.Reason(err), err, want)
		}
		if e, ok := errors.AsType[*sensors.Error](err); !ok || e.Source != "ipmi" || e.Node != "n1" {
			t.Errorf("%v: no *sensors.Error that names source and node", err)
		}
		if err != nil && (strings.Contains(err.Error(), password) || strings.Contains(err.Error(), "wrong-Pa55")) {
			t.Errorf("a credential in %q", err)
		}
	}
	t.Run("refused", func(t *testing.T) {
		c, err := net.ListenPacket("udp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		address := c.LocalAddr().String()
		_ = c.Close()
		_, err = source(t, ipmi.BMC{Address: address, Username: user, Password: password}, ipmi.Options{}).Read(t.Context(), "n1")
		reason(t, err, "unreachable")
	})
	t.Run("silent", func(t *testing.T) {
		e := start(t, rack()...)
		e.Silent.Store(true)
		s := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{Timeout: 30 * time.Millisecond})
		_, err := s.Read(t.Context(), "n1")
		reason(t, err, "unreachable")
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
		defer cancel()
		_, err = s.Read(ctx, "n1")
		reason(t, err, "unreachable")
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v does not say that the deadline passed", err)
		}
		e.Silent.Store(false)
		read(t, s)
	})
	t.Run("silent in the middle", func(t *testing.T) {
		e := start(t, rack()...)
		s := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{Timeout: 30 * time.Millisecond})
		read(t, s)
		e.Silent.Store(true)
		_, err := s.Read(t.Context(), "n1")
		reason(t, err, "unreachable")
	})
	t.Run("wrong password is tried once", func(t *testing.T) {
		e := start(t, rack()...)
		s := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: "wrong-Pa55"}, ipmi.Options{})
		for range 3 {
			_, err := s.Read(t.Context(), "n1")
			reason(t, err, "unauthorized")
		}
		if got := e.OpenedTotal.Load(); got != 1 {
			t.Errorf("%d attempts to log in, want 1", got)
		}
	})
	t.Run("wrong user", func(t *testing.T) {
		e := start(t, rack()...)
		_, err := source(t, ipmi.BMC{Address: e.Addr(), Username: "nobody", Password: password}, ipmi.Options{}).Read(t.Context(), "n1")
		reason(t, err, "unauthorized")
	})
	t.Run("busy", func(t *testing.T) {
		e := start(t, rack()...)
		e.SetDCMI(250)
		e.Busy.Store(true)
		got, err := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{}).Read(t.Context(), "n1")
		reason(t, err, "throttled")
		want(t, byKind(t, got), sensors.Power, 250, "ipmi:DCMI") // what could be read stays
	})
	t.Run("unavailable sensor", func(t *testing.T) {
		list := rack()
		list[1].Off = true
		e := start(t, list...)
		got, err := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{}).Read(t.Context(), "n1")
		reason(t, err, "no_reading")
		if f, ok := errors.AsType[*sensors.Error](err); !ok || f.Kind != sensors.InletTemp {
			t.Errorf("%v does not name the kind", err)
		}
		want(t, byKind(t, got), sensors.Power, 212, "ipmi:SDR/System Power")
	})
	t.Run("half a supply", func(t *testing.T) { // a sum with a part missing would be too small
		e := start(t, emulate.IPMISensor{Name: "PS1 Input Power", Unit: 6, Raw: 60}, emulate.IPMISensor{Name: "PS2 Input Power", Unit: 6, Off: true})
		got, err := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{}).Read(t.Context(), "n1")
		reason(t, err, "no_reading")
		if len(got) != 0 {
			t.Errorf("got %v", got)
		}
	})
	t.Run("named sensor missing", func(t *testing.T) {
		e := start(t, rack()...)
		b := ipmi.BMC{Address: e.Addr(), Username: user, Password: password, Sensors: map[sensors.Kind]string{sensors.InletTemp: "Front"}}
		_, err := source(t, b, ipmi.Options{}).Read(t.Context(), "n1")
		reason(t, err, "no_reading")
	})
	t.Run("nothing known", func(t *testing.T) {
		e := start(t, emulate.IPMISensor{Name: "VCORE", Unit: 4, Raw: 1})
		_, err := source(t, ipmi.BMC{Address: e.Addr(), Username: user, Password: password}, ipmi.Options{}).Read(t.Context(), "n1")
		reason(t, err, "no_reading")
	})
	t.Run("unknown node", func(t *testing.T) {
		_, err := source(t, ipmi.BMC{Address: "127.0.0.1:1"}, ipmi.Options{}).Read(t.Context(), "n2")
		if !errors.Is(err, sensors.ErrUnknownNode) {
			t.Errorf("%v", err)
		}
	})
}

func TestRefusesWhatCannotWork(t *testing.T) {
	for name, b := range map[string]ipmi.BMC{
		"no address": {}, "suite 0x": {Address: "h", CipherSuite: 1}, "user": {Address: "h", Username: strings.Repeat("u", 17)},
		"password": {Address: "h", Password: strings.Repeat(password, 2)}, "port": {Address: "h:x"},
	} {
		_, err := ipmi.New(ipmi.Nodes(map[string]ipmi.BMC{"n1": b}), ipmi.Options{}).Read(t.Context(), "n1")
		if sensors.Reason(err) != "unknown_node" || strings.Contains(err.Error(), password) || b.Check() == nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
