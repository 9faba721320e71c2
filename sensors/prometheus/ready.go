package prometheus

import (
	"fmt"
	"strconv"

	"github.com/leastwatt/leastwatt/sensors"
)

// NodeExporter returns queries for node_exporter: CPU utilization and used cores, used memory, the CPU-time
// counter, the hottest CPU, and the RAPL watts of packages and memory. Its series name the node in
// "instance" unless relabelled.
func NodeExporter() []Query {
	busy := `node_cpu_seconds_total{mode!~"idle|iowait|steal"}`
	const at = `timestamp(node_cpu_seconds_total{mode="idle"})`
	return []Query{
		{Kind: sensors.CPUUtilization, Expr: `sum by ($label) (` + rate(busy) + `) / count by ($label) (node_cpu_seconds_total{mode="idle"})`, Time: at},
		{Kind: sensors.CPUUsed, Expr: `sum by ($label) (` + rate(busy) + `)`, Time: at},
		{Kind: sensors.CPUTime, Expr: `sum by ($label) (` + busy + `)`, Time: at},
		{Kind: sensors.MemoryUsed, Expr: `max by ($label) (node_memory_MemTotal_bytes - node_memory_MemAvailable_bytes)`, Time: `timestamp(node_memory_MemAvailable_bytes)`},
		{Kind: sensors.CPUTemp, Expr: `max by ($label) (node_hwmon_temp_celsius{chip=~".*(coretemp|k10temp|zenpower).*"})`, Time: `timestamp(node_hwmon_temp_celsius{chip=~".*(coretemp|k10temp|zenpower).*"})`},
		{
			Kind: sensors.CPUPower,
			Expr: optionalSum(`sum by ($label) (`+rate("node_rapl_package_joules_total")+`)`, `sum by ($label) (`+rate("node_rapl_dram_joules_total")+`)`),
			Time: `timestamp(node_rapl_package_joules_total)`,
		},
	}
}

// rate is the rate of a counter that has been there for the whole window. PromQL's own rate() divides what a
// younger series gained by the whole window, and makes a server that came up a minute ago look idle.
func rate(counter string) string {
	return `(rate(` + counter + `[$window]) and ` + counter + ` offset $window)`
}

// optionalSum adds b where there is any, and needs a.
func optionalSum(a, b string) string { return fmt.Sprintf("%s + (%s or 0 * %s)", a, b, a) }

// Names of sensors in ipmi_exporter, as regular expressions that match the whole name.
const (
	inletNames = `(?i).*(inlet|intake|ambient).*`
	partNames  = `(?i).*(ps ?[0-9]|psu|power supply|pcie|pci|cpu|gpu|dimm|mem|nic|ocp|hdd|ssd|disk|drive|water|coolant|exhaust|outlet|rear).*`
	cpuNames   = `(?i).*(cpu|processor).*`
	notCPU     = `(?i).*(vr|dimm|mem|margin|inlet|dts).*`
	powerNames = `(?i)(sys(tem)?|total|server|node|chassis|platform)?[ _]*(input)?[ _]*(power|pwr)([ _]*(meter|consumption|reading))?`
)

// IPMIExporter returns queries for ipmi_exporter: inlet (the coolest sensor whose name says so), exhaust and
// CPU temperature, fan speed, and power by DCMI or else by the server's own watt sensor. Series count only
// while ipmi_up says that the collector succeeded. Its series name no node until relabelled: give them the
// label "node", or set Options.Label.
func IPMIExporter() []Query {
	up := func(expr, collector string) string {
		return fmt.Sprintf(`(%s and on ($label) (max by ($label) (ipmi_up{collector=%q}) == 1))`, expr, collector)
	}
	temp := func(kind sensors.Kind, agg, yes, no string) Query {
		s := fmt.Sprintf(`ipmi_temperature_celsius{name=~%q,name!~%q}`, yes, no)
		return Query{Kind: kind, Expr: up(agg+` by ($label) (`+s+`)`, "ipmi"), Time: `timestamp(` + s + `)`}
	}
	named := fmt.Sprintf(`ipmi_power_watts{name=~%q}`, powerNames)
	return []Query{
		temp(sensors.InletTemp, "min", inletNames, partNames),
		temp(sensors.ExhaustTemp, "max", `(?i).*(exhaust|outlet).*`, `(?i).*(ps ?[0-9]|psu|power supply|cpu|gpu|water|coolant).*`),
		temp(sensors.CPUTemp, "max", cpuNames, notCPU),
		{Kind: sensors.FanSpeed, Expr: up(`max by ($label) (ipmi_fan_speed_rpm)`, "ipmi"), Time: `timestamp(ipmi_fan_speed_rpm)`},
		{
			Kind: sensors.Power,
			Expr: up(`max by ($label) (ipmi_dcmi_power_consumption_watts > 0)`, "dcmi") + ` or ` + up(`max by ($label) (`+named+`)`, "ipmi"),
			Time: `timestamp(ipmi_dcmi_power_consumption_watts) or timestamp(` + named + `)`,
		},
	}
}

// Kepler returns queries for Kepler 0.10 and later. The zone psys holds all others; without it, packages and
// memory are added up, and nothing that lies in them. The node is in "node_name".
func Kepler() []Query {
	zones := func(of string) string {
		return fmt.Sprintf(`sum by ($label) (%s{zone=~"psys.*"}) or sum by ($label) (%s{zone=~"(package|dram).*"})`, of, of)
	}
	return label("node_name", []Query{
		{Kind: sensors.CPUPower, Expr: zones("kepler_node_cpu_watts"), Time: `timestamp(kepler_node_cpu_watts)`},
		{Kind: sensors.CPUEnergy, Expr: zones("kepler_node_cpu_joules_total"), Time: `timestamp(kepler_node_cpu_joules_total)`},
		{Kind: sensors.CPUUtilization, Expr: `max by ($label) (kepler_node_cpu_usage_ratio)`, Time: `timestamp(kepler_node_cpu_usage_ratio)`},
		{Kind: sensors.GPUPower, Expr: `sum by ($label) (kepler_node_gpu_watts)`, Time: `timestamp(kepler_node_gpu_watts)`},
		{Kind: sensors.Power, Expr: `max by ($label) (kepler_platform_watts{source_type!="PowerSupply"}) or sum by ($label) (kepler_platform_watts{source_type="PowerSupply"})`, Time: `timestamp(kepler_platform_watts)`},
	})
}

// KeplerLegacy returns queries for Kepler 0.7 to 0.9, whose counters become watts by rate(). Idle and dynamic
// energy are added up. The node is in "instance".
func KeplerLegacy() []Query {
	watts := func(part string) string {
		return `sum by ($label) (` + rate("kepler_node_"+part+"_joules_total") + `)`
	}
	return label("instance", []Query{
		{Kind: sensors.CPUPower, Expr: optionalSum(watts("package"), watts("dram")), Time: `timestamp(kepler_node_package_joules_total)`},
		{Kind: sensors.GPUPower, Expr: watts("gpu"), Time: `timestamp(kepler_node_gpu_joules_total)`},
		{Kind: sensors.Power, Expr: watts("platform"), Time: `timestamp(kepler_node_platform_joules_total)`},
	})
}

// Scaphandre returns queries for Scaphandre: the host's power as RAPL sees it, and its energy.
func Scaphandre() []Query {
	return []Query{
		{Kind: sensors.CPUPower, Expr: `max by ($label) (scaph_host_power_microwatts) / 1e6`, Time: `timestamp(scaph_host_power_microwatts)`},
		{Kind: sensors.CPUEnergy, Expr: `max by ($label) (scaph_host_energy_microjoules) / 1e6`, Time: `timestamp(scaph_host_energy_microjoules)`},
	}
}

// DCGM returns queries for NVIDIA's DCGM exporter: watts of all GPUs of a node, their mean utilization, the
// hottest. A GPU counts once however many series show it; DCGM's values for "blank" are no readings, and a
// node with a GPU whose power is blank has no sum. The node is in "Hostname".
func DCGM() []Query {
	per := func(field, limit string) string { return `max by ($label, UUID) (` + field + ` < ` + limit + `)` }
	return label("Hostname", []Query{
		{
			Kind: sensors.GPUPower,
			Expr: `sum by ($label) (` + per("DCGM_FI_DEV_POWER_USAGE", "1e6") + `) unless on ($label) (DCGM_FI_DEV_POWER_USAGE >= 1e6)`,
			Time: `timestamp(DCGM_FI_DEV_POWER_USAGE)`,
		},
		{Kind: sensors.GPUUtilization, Expr: `avg by ($label) (` + per("DCGM_FI_DEV_GPU_UTIL", "1e6") + `) / 100`, Time: `timestamp(DCGM_FI_DEV_GPU_UTIL)`},
		{Kind: sensors.GPUTemp, Expr: `max by ($label) (DCGM_FI_DEV_GPU_TEMP < 1e6)`, Time: `timestamp(DCGM_FI_DEV_GPU_TEMP)`},
	})
}

// PDU returns a query for the outlets of rack PDUs as snmp_exporter shows them: the power of a server is the
// sum over its outlets. Outlets must carry the label of the node, by relabelling. The selector names the
// metric ("rPDU2OutletMeteredStatusPower"), wattsPerUnit its unit: 1 for watts, 10 for hundredths of a kilowatt.
func PDU(selector string, wattsPerUnit float64) []Query {
	return []Query{{
		Kind: sensors.Power,
		Expr: `sum by ($label) (` + selector + `) * ` + strconv.FormatFloat(wattsPerUnit, 'g', -1, 64),
		Time: `timestamp(` + selector + `)`,
	}}
}

// label sets the label that names the node.
func label(name string, of []Query) []Query {
	for i := range of {
		of[i].Label = name
	}
	return of
}
