// Package sensorname tells what a sensor measures from the name that a vendor gave it, for protocols that
// say it nowhere else: IPMI records, ipmi_exporter labels, Redfish sensors without a context.
//
// A name decides only when it is clear. "Temp" alone means nothing here; a per-node override is the answer.
package sensorname

import (
	"slices"
	"strings"
	"unicode"
)

// InletRank says how surely a name is that of the air entering the server: 2 for inlet or intake, 1 for
// ambient, 0 for anything else. The inlet of a part (a power supply, a PCIe slot, a processor) ranks 0, as
// HPE's "17-PS 1 Inlet" and Dell's "PCIe Inlet" do.
func InletRank(name string) int {
	w := words(name)
	switch {
	case holds(w, parts) || holds(w, outward) || holds(w, liquid):
		return 0
	case holds(w, []string{"inlet", "intake"}):
		return 2
	case holds(w, []string{"ambient"}):
		return 1
	}
	return 0
}

// Part reports whether a name is that of a part of the server: a supply, a card, a processor, a drive.
func Part(name string) bool { return holds(words(name), parts) }

// Exhaust reports whether a name is that of the air leaving the server.
func Exhaust(name string) bool {
	w := words(name)
	return holds(w, outward) && !holds(w, parts) && !holds(w, liquid)
}

// CPUTemp reports whether a name is that of a processor's own temperature: not of its regulator, not of its
// memory, and not of its margin below the limit, which is negative.
func CPUTemp(name string) bool {
	w := words(name)
	return holds(w, []string{"cpu", "processor", "proc"}) &&
		!holds(w, []string{"vr", "vrm", "vrd", "vcore", "dimm", "mem", "memory", "margin", "dts", "inlet", "therm", "thermal", "prochot", "ctrl", "status", "presence"})
}

// ServerPower reports whether a name is that of what the whole server draws: "System Power", "Pwr
// Consumption", "Power Meter"; not a processor's, a supply's, a limit's or a peak's.
func ServerPower(name string) bool {
	w := words(name)
	if !holds(w, powerWords) || holds(w, parts) || holds(w, []string{"cap", "limit", "budget", "peak", "min", "max", "avg", "average", "fan", "out", "output", "unit", "redundancy"}) {
		return false
	}
	if holds(w, []string{"system", "sys", "total", "server", "node", "chassis", "platform", "board", "consumption", "meter"}) {
		return true
	}
	for _, x := range w { // "Power", "Input Power (W)"
		if !slices.Contains(powerWords, x) && !slices.Contains([]string{"input", "in", "ac", "reading", "w"}, x) {
			return false
		}
	}
	return true
}

// SupplyInput reports whether a name is that of what one power supply draws from the wall.
func SupplyInput(name string) bool {
	w := words(name)
	return holds(w, []string{"ps", "psu", "supply"}) && holds(w, []string{"in", "input", "pin", "ac"}) &&
		(holds(w, powerWords) || holds(w, []string{"pin"})) && !holds(w, []string{"out", "output", "pout", "max", "peak", "limit"})
}

var (
	outward    = []string{"exhaust", "outlet", "rear"}
	liquid     = []string{"water", "coolant", "liquid", "cdu"}
	powerWords = []string{"power", "pwr", "watt", "watts", "consumption"}
	parts      = []string{
		"ps", "psu", "supply", "pcie", "pci", "slot", "riser", "cpu", "processor", "proc", "gpu", "dimm", "mem", "memory",
		"vr", "vrm", "nic", "ocp", "lom", "mezz", "hdd", "ssd", "nvme", "disk", "drive", "storage", "raid", "hba", "bmc", "ilo",
		"chipset", "pch", "battery", "bbu",
	}
)

func holds(have, any []string) bool {
	return slices.ContainsFunc(have, func(w string) bool { return slices.Contains(any, w) })
}

// words splits a name where vendors do: at anything but a letter, and at humps ("SystemBoardInletTemp").
func words(name string) []string {
	var out []string
	name = strings.ReplaceAll(name, "PCIe", "pcie ")
	r := []rune(name)
	start := -1
	flush := func(end int) {
		if start >= 0 {
			out = append(out, strings.ToLower(string(r[start:end])))
			start = -1
		}
	}
	for i, c := range r {
		if !unicode.IsLetter(c) {
			flush(i)
			continue
		}
		if start >= 0 && unicode.IsUpper(c) &&
			(unicode.IsLower(r[i-1]) || i+1 < len(r) && unicode.IsLower(r[i+1])) {
			flush(i)
		}
		if start < 0 {
			start = i
		}
	}
	flush(len(r))
	return out
}
