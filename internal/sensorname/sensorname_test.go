package sensorname

import "testing"

func TestInletRank(t *testing.T) {
	for name, want := range map[string]int{
		"Inlet Temp": 2, "01-Inlet Ambient": 2, "SystemBoardInletTemp": 2, "System Board Inlet Temp": 2, "MB_Intake": 2, "AirInlet": 2,
		"Ambient": 1, "15-Front Ambient": 1, "Ambient Temp": 1,
		"17-PS 1 Inlet": 0, "PCIe Inlet": 0, "PCIeInlet": 0, "PSU1Inlet": 0, "CPU Inlet Temp": 0, "CPUInletTemp": 0, "CPU1 Temp": 0,
		"Exhaust Temp": 0, "Rear Ambient": 0, "Water Inlet": 0, "PS1 Ambient": 0, "Temp": 0, "": 0, "System Temp": 0, "02-CPU 1": 0,
	} {
		if got := InletRank(name); got != want {
			t.Errorf("InletRank(%q) = %d, want %d (words %q)", name, got, want, words(name))
		}
	}
}

func TestOthers(t *testing.T) {
	for _, c := range []struct {
		f    func(string) bool
		what string
		yes  []string
		no   []string
	}{
		{Exhaust, "Exhaust", []string{"Exhaust Temp", "System Board Exhaust Temp", "Outlet Temp", "Rear Ambient"}, []string{"Inlet Temp", "PSU1 Outlet", "CPU1 Temp"}},
		{CPUTemp, "CPUTemp", []string{"CPU1 Temp", "02-CPU 1", "Processor 1 Temp", "CPU0_TEMP"}, []string{"CPU1 VR Temp", "P1 DIMM Temp", "CPU1 Therm Margin", "CPU Inlet Temp", "Temp"}},
		{ServerPower, "ServerPower", []string{"System Power", "Pwr Consumption", "Power Meter", "Total_Power", "Sys Power", "Power", "SysInputPower"}, []string{"CPU Power", "PS1 Input Power", "MEM Power", "Power Cap", "GPU1 Power", "Peak Power", "PSU1_PIN", "Inlet Temp", "Fan Power"}},
		{SupplyInput, "SupplyInput", []string{"PS1 Input Power", "PSU1_PIN", "PSU2 Power In"}, []string{"PS1 Output Power", "PS1 Status", "System Power", "PSU1_POUT"}},
	} {
		for _, n := range c.yes {
			if !c.f(n) {
				t.Errorf("%s(%q) = false (words %q)", c.what, n, words(n))
			}
		}
		for _, n := range c.no {
			if c.f(n) {
				t.Errorf("%s(%q) = true (words %q)", c.what, n, words(n))
			}
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("SystemBoardInletTemp")
	f.Add("\xff\x00 \u00c9A")
	f.Fuzz(func(t *testing.T, s string) {
		if InletRank(s) > 0 && Exhaust(s) {
			t.Errorf("%q both enters and leaves", s)
		}
		CPUTemp(s)
		if ServerPower(s) && SupplyInput(s) {
			t.Errorf("%q is both the server and a part of it", s)
		}
	})
}
