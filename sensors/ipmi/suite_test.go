package ipmi_test

import (
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/ipmi"
	"github.com/leastwatt/leastwatt/sensors/sensorstest"
)

func TestContract(t *testing.T) {
	good, hung := start(t, rack()...), start(t, rack()...)
	hung.Silent.Store(true)
	s := ipmi.New(ipmi.Nodes(map[string]ipmi.BMC{
		"good":  {Address: good.Addr(), Username: user, Password: password},
		"wrong": {Address: good.Addr(), Username: user, Password: "wrong-Pa55"},
		"hung":  {Address: hung.Addr(), Username: user, Password: password},
	}), ipmi.Options{Timeout: 200 * time.Millisecond})
	t.Cleanup(func() { _ = s.Close() })
	if err := sensorstest.TestSource(s, sensorstest.Want{
		Node:    "good",
		Kinds:   []sensors.Kind{sensors.InletTemp, sensors.ExhaustTemp, sensors.CPUTemp, sensors.FanSpeed, sensors.Power},
		Fails:   map[string]error{"wrong": sensors.ErrUnauthorized, "hung": sensors.ErrUnreachable},
		Hangs:   "hung",
		Secrets: []string{user, password, "wrong-Pa55"},
	}); err != nil {
		t.Error(err)
	}
}
