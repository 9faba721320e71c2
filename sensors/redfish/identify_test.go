package redfish_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/internal/samples"
	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// A BMC tells which hardware its node is, in one request once it is known; one that tells nothing is an error.
func TestIdentify(t *testing.T) {
	a := authority(t)
	told := emulate.NewBMC(machine, with(emulate.BMCOptions{NoBasic: true, System: &emulate.System{Manufacturer: "Dell Inc.", Model: "PowerEdge R740",
		CPU: "Intel(R) Xeon(R) Gold 6140 CPU @ 2.30GHz", Chips: 2, Cores: 36, Threads: 72, MemoryGiB: 192}}))
	silent := emulate.NewBMC(machine, with(emulate.BMCOptions{}))
	dead := emulate.NewBMC(machine, with(emulate.BMCOptions{}))
	dead.SetFault(emulate.Refuse401)
	e := serve(t, a, told)
	e.Session = true
	s := source(t, map[string]redfish.Endpoint{"told": e, "silent": serve(t, a, silent), "dead": serve(t, a, dead)}, redfish.Options{})
	want := sensors.Hardware{System: "Dell Inc. PowerEdge R740", CPU: "Intel(R) Xeon(R) Gold 6140 CPU @ 2.30GHz", Chips: 2, Cores: 36, Threads: 72, MemoryGB: 192}
	for range 2 {
		if h, err := sensors.Identify(t.Context(), sensors.Limit(s, time.Nanosecond), "told"); err != nil || h != want {
			t.Errorf("%+v, %v", h, err)
		}
	}
	before := told.Requests()
	if _, err := s.Identify(t.Context(), "told"); err != nil || told.Requests() != before+1 {
		t.Errorf("%d requests, %v: want 1", told.Requests()-before, err)
	}
	for node, wanted := range map[string]error{"silent": sensors.ErrNoReading, "dead": sensors.ErrUnauthorized, "none": sensors.ErrUnknownNode} {
		if h, err := s.Identify(t.Context(), node); !errors.Is(err, wanted) || h != (sensors.Hardware{}) || strings.Contains(err.Error(), password) {
			t.Errorf("%s: %+v, %v", node, h, err)
		}
	}
}

// DMTF's mock-up, whose fields are those of the file.
func TestIdentifyMockup(t *testing.T) {
	dir, ok := samples.Path("redfish", "public-rackmount1")
	if !ok {
		t.Skipf("DMTF's mock-up is not there: %s", dir)
	}
	s := source(t, map[string]redfish.Endpoint{"n": serve(t, authority(t), mockup(dir))}, redfish.Options{})
	want := sensors.Hardware{System: "Contoso 3500", CPU: "Multi-Core Intel(R) Xeon(R) processor 7xxx Series", Chips: 2, Cores: 8, Threads: 16, MemoryGB: 96}
	if h, err := s.Identify(t.Context(), "n"); err != nil || h != want {
		t.Errorf("%+v, %v", h, err)
	}
}

// A node that the poller drops is logged out of; those that stay are not.
func TestPollerEndsTheSessionOfARemovedNode(t *testing.T) {
	a := authority(t)
	bmcs, nodes := map[string]*emulate.BMC{}, map[string]redfish.Endpoint{}
	for _, n := range []string{"a", "b", "hangs"} {
		bmcs[n] = emulate.NewBMC(machine, with(emulate.BMCOptions{NoBasic: true}))
		e := serve(t, a, bmcs[n])
		e.Session = true
		nodes[n] = e
	}
	src := redfish.New(redfish.Nodes(nodes), redfish.Options{Timeout: 5 * time.Second})
	p := sensors.NewPoller(sensors.NewBreaker(src, sensors.BreakerOptions{}), []string{"a", "b", "hangs"}, sensors.PollerOptions{Interval: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	open := func(n string) int {
		now, _ := bmcs[n].Sessions()
		return now
	}
	eventually(t, "all are logged in to", func() bool { return open("a") == 1 && open("b") == 1 && open("hangs") == 1 })
	bmcs["hangs"].SetFault(emulate.Hang)
	p.SetNodes([]string{"b"})
	eventually(t, "a is logged out of", func() bool { return open("a") == 0 })
	p.Add("a")
	eventually(t, "a is back", func() bool { return open("a") == 1 && p.Snapshot().Node("a") != nil })
	if open("b") != 1 {
		t.Error("a node that stayed was logged out of")
	}
	if _, ever := bmcs["b"].Sessions(); ever != 1 {
		t.Errorf("a node that stayed was logged in to %d times", ever)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := src.Close(context.Background()); err != nil {
		t.Error(err)
	}
	if open("a")+open("b") != 0 {
		t.Error("sessions are left after Close")
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	end := time.After(30 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			t.Fatalf("not within 30 s: %s", what)
		case <-tick.C:
		}
	}
}

// Whatever a BMC does wrong, asking for its hardware ends in time, in an error without the credentials, and the next
// question is answered.
func TestIdentifyFaults(t *testing.T) {
	a := authority(t)
	for fault, wanted := range map[emulate.Fault]error{
		emulate.Hang: sensors.ErrUnreachable, emulate.HangInBody: sensors.ErrUnreachable, emulate.ResetConnection: sensors.ErrUnreachable,
		emulate.Refuse401: sensors.ErrUnauthorized, emulate.Throttle429: sensors.ErrThrottled, emulate.Fail500: sensors.ErrDevice,
		emulate.Text2MB: sensors.ErrMalformed, emulate.EndlessBody: sensors.ErrMalformed, emulate.GzipBomb: sensors.ErrMalformed,
		emulate.RedirectAway: sensors.ErrDevice, emulate.RedirectLoop: sensors.ErrDevice, emulate.InvalidUTF8: sensors.ErrMalformed,
	} {
		bmc := emulate.NewBMC(machine, with(emulate.BMCOptions{System: &emulate.System{Model: "X1"}, RedirectTo: "http://127.0.0.1:1/"}))
		timeout := 20 * time.Second
		if fault == emulate.Hang || fault == emulate.HangInBody {
			timeout = 500 * time.Millisecond
		}
		nodes := map[string]redfish.Endpoint{"n": serve(t, a, bmc)}
		s := source(t, nodes, redfish.Options{Timeout: timeout})
		bmc.SetFault(fault)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		h, err := s.Identify(ctx, "n")
		if !errors.Is(err, wanted) || h != (sensors.Hardware{}) || strings.Contains(err.Error(), password) || ctx.Err() != nil {
			t.Errorf("fault %d: %+v, %v: want %v", fault, h, err, wanted)
		}
		bmc.SetFault(emulate.NoFault)
		if timeout < time.Second { // a busy machine may be slower than that: ask with patience
			s = source(t, nodes, redfish.Options{Timeout: 20 * time.Second})
		}
		if h, err := s.Identify(ctx, "n"); err != nil || h.System != "X1" {
			t.Errorf("after fault %d: %+v, %v", fault, h, err)
		}
		cancel()
	}
}
