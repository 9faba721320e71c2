package redfish

import (
	"testing"

	"github.com/stmcginnis/gofish/schemas"

	"github.com/leastwatt/leastwatt/sensors"
)

// What vendors name, and whether it is the inlet of the server.
func TestInletAmongVendorsNames(t *testing.T) {
	for _, c := range []struct {
		vendor string
		names  map[string]schemas.PhysicalContext
		want   string
	}{
		{"HPE", map[string]schemas.PhysicalContext{"02-CPU 1": "CPU", "01-Inlet Ambient": "", "15-Front Ambient": "", "17-PS 1 Inlet": ""}, "01-Inlet Ambient"},
		{"HPE, with contexts", map[string]schemas.PhysicalContext{"01-Inlet Ambient": "Intake", "15-Front Ambient": "Chassis", "17-PS 1 Inlet": "Intake"}, "01-Inlet Ambient"},
		{"Dell", map[string]schemas.PhysicalContext{"PCIe Inlet": "SystemBoard", "SystemBoardInletTemp": "SystemBoard", "CPU1 Temp": "CPU", "System Board Exhaust Temp": "SystemBoard"}, "SystemBoardInletTemp"},
		{"front only", map[string]schemas.PhysicalContext{"15-Front Ambient": "", "P1 DIMM 1-4": "", "HD Max": ""}, "15-Front Ambient"},
		{"none", map[string]schemas.PhysicalContext{"PSU1 Inlet": "", "GPU 3 Ambient": "", "CPU1 Inlet": "", "PCIe Inlet": ""}, ""},
	} {
		got, best := "", 1000
		for name, context := range c.names {
			if kind, rank := temperature(context, name, rankThermal, rankThermalName); kind == sensors.InletTemp && rank < best {
				got, best = name, rank
			}
		}
		if got != c.want {
			t.Errorf("%s: the inlet is %q, want %q", c.vendor, got, c.want)
		}
	}
}
