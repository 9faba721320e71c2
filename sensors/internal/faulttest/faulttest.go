// Package faulttest runs the table of faults against a back end over HTTP: what an endpoint can do wrong, and
// the reason that a read must then give.
package faulttest

import (
	"context"
	"crypto/tls"
	"errors"
	"math"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/sensorstest"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// The credentials that devices under test demand.
const (
	User     = "monitor"
	Password = "S3cret-Pa55word"
	Node     = "n1"
)

// A Case is a back end and its emulated device.
type Case struct {
	// Device makes the device; it demands User and Password, and redirects to that URL.
	Device func(live func() emulate.Machine, redirectTo string) Device

	// Source makes a source whose nodes are read at the URLs, with User and the password; timeout limits a
	// request.
	Source func(urls map[string]string, password string, tls *tls.Config, timeout time.Duration) sensors.SensorSource

	// Machine is what the device measures, and Kinds what a read of it gives.
	Machine emulate.Machine
	Kinds   []sensors.Kind

	// Reasons overrides the reason that a fault gives; "" means a good read.
	Reasons map[emulate.Fault]string
}

// Timeouts of requests: one for devices that hang, one that is never to be met.
const (
	short = 200 * time.Millisecond
	long  = 20 * time.Second
)

// A Device misbehaves on demand.
type Device interface {
	http.Handler
	SetFault(emulate.Fault)
}

// table holds the reason that each fault must give.
var table = []struct {
	name   string
	fault  emulate.Fault
	reason string
}{
	{"hang", emulate.Hang, "unreachable"},
	{"hang in the body", emulate.HangInBody, "unreachable"},
	{"reset", emulate.ResetConnection, "unreachable"},
	{"401", emulate.Refuse401, "unauthorized"},
	{"429", emulate.Throttle429, "throttled"},
	{"500", emulate.Fail500, "device"},
	{"endless body", emulate.EndlessBody, "malformed"},
	{"gzip bomb", emulate.GzipBomb, "malformed"},
	{"text", emulate.Text2MB, "malformed"},
	{"redirect to another host", emulate.RedirectAway, "device"},
	{"redirect loop", emulate.RedirectLoop, "device"},
	{"invalid UTF-8", emulate.InvalidUTF8, "malformed"},
	{"missing values", emulate.NullReadings, "no_reading"},
	{"strings for numbers", emulate.WrongType, "malformed"},
	{"NaN", emulate.NotANumber, "no_reading"},
	{"1e308", emulate.TooLarge, "implausible"},
	{"negative", emulate.Negative, "implausible"},
	{"clock behind", emulate.ClockBehind, ""},
	{"clock ahead", emulate.ClockAhead, ""},
	{"duplicates", emulate.Duplicates, ""},
	{"10,000 sensors", emulate.ManySensors, ""},
}

// Run checks the contract of [sensors.SensorSource] and every fault.
func Run(t *testing.T, c Case) {
	t.Helper()
	authority, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	other, err := emulate.NewAuthority()
	if err != nil {
		t.Fatal(err)
	}
	var leaked atomic.Bool
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" || r.Header.Get("X-Auth-Token") != "" || r.Header.Get("Cookie") != "" {
			leaked.Store(true)
		}
	}))
	t.Cleanup(elsewhere.Close)
	device := c.Device(func() emulate.Machine { return c.Machine }, elsewhere.URL)
	server, err := emulate.Listen(authority, device)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
	hung := c.Device(func() emulate.Machine { return c.Machine }, "")
	hung.SetFault(emulate.Hang)
	hanging, err := emulate.Listen(authority, hung)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = hanging.Close() })
	dead, err := emulate.Listen(authority, device)
	if err != nil {
		t.Fatal(err)
	}
	if err := dead.Close(); err != nil {
		t.Fatal(err)
	}
	urls := map[string]string{Node: server.URL, "dead": dead.URL, "hung": hanging.URL}
	source := c.Source(urls, Password, authority.ClientTLS(), long)

	t.Run("contract", func(t *testing.T) {
		if err := sensorstest.TestSource(source, sensorstest.Want{
			Node: Node, Kinds: c.Kinds, Hangs: "hung", Secrets: []string{Password},
			Fails: map[string]error{"dead": sensors.ErrUnreachable},
		}); err != nil {
			t.Error(err)
		}
	})
	t.Run("wrong certificate", func(t *testing.T) {
		check(t, c.Source(urls, Password, other.ClientTLS(), long), "unreachable")
	})
	t.Run("wrong password", func(t *testing.T) {
		check(t, c.Source(urls, "wrong-"+Password, authority.ClientTLS(), long), "unauthorized")
	})
	for _, f := range table {
		t.Run(f.name, func(t *testing.T) {
			want := f.reason
			if r, ok := c.Reasons[f.fault]; ok {
				want = r
			}
			timeout := long
			if f.fault == emulate.Hang || f.fault == emulate.HangInBody {
				timeout = short
			}
			source := c.Source(urls, Password, authority.ClientTLS(), timeout)
			device.SetFault(f.fault)
			defer device.SetFault(emulate.NoFault)
			check(t, source, want)
			device.SetFault(emulate.NoFault)
			if timeout == long { // the same source recovers
				check(t, source, "")
			}
		})
	}
	if leaked.Load() {
		t.Error("credentials followed a redirect to another host")
	}
}

func check(t *testing.T, s sensors.SensorSource, reason string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*long)
	defer cancel()
	got, err := s.Read(ctx, Node)
	var kinds []sensors.Kind
	for _, r := range got {
		if math.IsNaN(r.Value) || math.IsInf(r.Value, 0) || slices.Contains(kinds, r.Kind) {
			t.Errorf("reading %+v", r)
		}
		if err := sensors.Possible(r.Kind, r.Value); err != nil {
			t.Errorf("%s: %v", r.Kind, err)
		}
		kinds = append(kinds, r.Kind)
	}
	if got := sensors.Reason(err); got != reason {
		t.Errorf("reason %q, want %q: %v (readings %v)", got, reason, err, kinds)
	}
	if reason == "" || err == nil {
		return
	}
	if e, ok := errors.AsType[*sensors.Error](err); !ok || e.Node != Node || e.Source == "" {
		t.Errorf("%v does not tell source and node", err)
	}
	if strings.Contains(err.Error(), Password) {
		t.Errorf("the error holds the password: %v", err)
	}
}
