package emulate

import (
	"fmt"
	"math"
	"strings"
	"time"
)

type (
	object = map[string]any
	array  = []any
)

const (
	chassis = "/redfish/v1/Chassis/1"
	nan     = "@NaN" // what becomes NaN, without quotes, under NotANumber
)

// tree is a Redfish tree at one moment.
type tree struct {
	m     Machine
	fault Fault
	opts  BMCOptions
}

// resource returns the resource at a path, or nil.
func (t tree) resource(path string, expand bool) object {
	switch path {
	case "/redfish/v1":
		o := object{"@odata.type": "#ServiceRoot.v1_15_0.ServiceRoot", "Id": "RootService", "Name": "Root Service", "RedfishVersion": "1.15.0",
			"ProtocolFeaturesSupported": object{"ExpandQuery": object{"ExpandAll": true, "NoLinks": true, "Levels": true, "MaxLevels": 2}},
			"Chassis":                   link("/redfish/v1/Chassis"), "Systems": link("/redfish/v1/Systems"),
			"SessionService": link("/redfish/v1/SessionService"), "Links": object{"Sessions": link("/redfish/v1/SessionService/Sessions")}}
		if t.opts.Reports {
			o["TelemetryService"] = link("/redfish/v1/TelemetryService")
		}
		return o
	case "/redfish/v1/Chassis":
		return collection("Chassis", chassis)
	case "/redfish/v1/Systems":
		return collection("ComputerSystem", "/redfish/v1/Systems/1")
	case "/redfish/v1/Systems/1":
		o := object{"@odata.type": "#ComputerSystem.v1_20_0.ComputerSystem", "Id": "1", "Name": "System", "PowerState": "On",
			"Links": object{"Chassis": array{link(chassis)}}}
		if s := t.opts.System; s != nil {
			o["Manufacturer"], o["Model"] = s.Manufacturer, s.Model
			o["ProcessorSummary"] = object{"Model": s.CPU, "Count": s.Chips, "CoreCount": s.Cores, "LogicalProcessorCount": s.Threads}
			o["MemorySummary"] = object{"TotalSystemMemoryGiB": s.MemoryGiB}
		}
		return o
	case chassis:
		o := object{"@odata.type": "#Chassis.v1_22_0.Chassis", "Id": "1", "Name": "Chassis", "ChassisType": "RackMount",
			"Links": object{"ComputerSystems": array{link("/redfish/v1/Systems/1")}}}
		for _, view := range []string{"Thermal", "ThermalSubsystem", "Sensors", "EnvironmentMetrics", "Power", "PowerSubsystem"} {
			if t.opts.offers(view) {
				o[view] = link(chassis + "/" + view)
			}
		}
		return o
	}
	if t.opts.Reports {
		if o := t.telemetry(path); o != nil {
			return o
		}
	}
	view, ok := strings.CutPrefix(path, chassis+"/")
	if first, _, _ := strings.Cut(view, "/"); !ok || !t.opts.offers(first) {
		return nil
	}
	return t.view(view, expand)
}

func (t tree) view(view string, expand bool) object {
	switch view {
	case "Thermal":
		return t.thermal()
	case "ThermalSubsystem":
		return object{"@odata.type": "#ThermalSubsystem.v1_2_0.ThermalSubsystem", "Id": view, "Name": view,
			"ThermalMetrics": link(chassis + "/ThermalSubsystem/ThermalMetrics")}
	case "ThermalSubsystem/ThermalMetrics":
		summary := object{}
		t.excerpt(summary, "Intake", t.m.Inlet, "Inlet")
		t.excerpt(summary, "Exhaust", t.m.Exhaust, "Exhaust")
		return object{"@odata.type": "#ThermalMetrics.v1_3_0.ThermalMetrics", "Id": "ThermalMetrics", "Name": "Thermal Metrics",
			"TemperatureSummaryCelsius": t.mistyped(summary)}
	case "EnvironmentMetrics":
		o := object{"@odata.type": "#EnvironmentMetrics.v1_3_0.EnvironmentMetrics", "Id": view, "Name": view}
		t.excerpt(o, "PowerWatts", t.m.Watts, "TotalPower")
		t.excerpt(o, "EnergyJoules", t.m.Joules, "TotalEnergy")
		if t.has(t.m.FanRPM) {
			o["FanSpeedsPercent"] = array{object{"DeviceName": "Fan 1", "Reading": 50, "SpeedRPM": t.value(t.m.FanRPM)}}
		}
		return o
	case "Power":
		control := object{"@odata.id": chassis + "/Power#/PowerControl/0", "MemberId": "0", "Name": "System Power Control"}
		t.put(control, "PowerConsumedWatts", t.m.Watts)
		return object{"@odata.type": "#Power.v1_7_1.Power", "Id": "Power", "Name": "Power", "PowerControl": t.twice(control)}
	case "PowerSubsystem":
		return object{"@odata.type": "#PowerSubsystem.v1_1_0.PowerSubsystem", "Id": view, "Name": view,
			"PowerSupplies": link(chassis + "/PowerSubsystem/PowerSupplies")}
	case "PowerSubsystem/PowerSupplies":
		return collection("PowerSupply", chassis+"/PowerSubsystem/PowerSupplies/1", chassis+"/PowerSubsystem/PowerSupplies/2")
	case "PowerSubsystem/PowerSupplies/1", "PowerSubsystem/PowerSupplies/2":
		return object{"@odata.type": "#PowerSupply.v1_5_0.PowerSupply", "Id": view[len(view)-1:], "Name": "PSU",
			"Status": object{"State": "Enabled"}, "Metrics": link(chassis + "/" + view + "/Metrics")}
	case "PowerSubsystem/PowerSupplies/1/Metrics", "PowerSubsystem/PowerSupplies/2/Metrics":
		o := object{"@odata.type": "#PowerSupplyMetrics.v1_0_1.PowerSupplyMetrics", "Id": "Metrics", "Name": "PSU metrics"}
		t.excerpt(o, "InputPowerWatts", t.m.Watts/2, "")
		return o
	case "Sensors":
		return t.sensors(expand)
	}
	name, ok := strings.CutPrefix(view, "Sensors/")
	if !ok {
		return nil
	}
	for _, s := range t.sensorList() {
		if s["Id"] == name {
			return s
		}
	}
	return nil
}

func (t tree) thermal() object {
	var temps array
	for i, s := range []struct {
		name, context string
		value         float64
	}{{"CPU1 Temp", "CPU", t.m.CPUTemp}, {"System Board Inlet Temp", "Intake", t.m.Inlet}, {"Exhaust Temp", "Exhaust", t.m.Exhaust}} {
		if !t.has(s.value) {
			continue
		}
		o := object{"@odata.id": fmt.Sprintf("%s/Thermal#/Temperatures/%d", chassis, i), "MemberId": fmt.Sprint(i), "Name": s.name,
			"PhysicalContext": s.context, "Status": object{"State": "Enabled", "Health": "OK"}}
		t.put(o, "ReadingCelsius", s.value)
		temps = append(temps, t.twice(o)...)
	}
	o := object{"@odata.type": "#Thermal.v1_7_1.Thermal", "Id": "Thermal", "Name": "Thermal", "Temperatures": temps}
	if t.has(t.m.FanRPM) {
		fan := object{"MemberId": "0", "Name": "Fan 1", "ReadingUnits": "RPM", "Status": object{"State": "Enabled"}}
		t.put(fan, "Reading", math.Round(t.m.FanRPM))
		o["Fans"] = array{fan}
	}
	return o
}

func (t tree) sensorList() []object {
	var all []object
	for _, s := range []struct {
		id, name, units, context string
		value                    float64
	}{{"CPU1Temp", "CPU1 Temp", "Cel", "CPU", t.m.CPUTemp}, {"Inlet", "Inlet Temp", "Cel", "Intake", t.m.Inlet},
		{"Exhaust", "Exhaust Temp", "Cel", "Exhaust", t.m.Exhaust}, {"TotalPower", "Total Power", "W", "Chassis", t.m.Watts},
		{"TotalEnergy", "Total Energy", "J", "Chassis", t.m.Joules}} {
		if !t.has(s.value) {
			continue
		}
		o := object{"@odata.type": "#Sensor.v1_6_0.Sensor", "@odata.id": chassis + "/Sensors/" + s.id, "Id": s.id, "Name": s.name,
			"ReadingUnits": s.units, "PhysicalContext": s.context, "ReadingTime": t.m.At.UTC().Format(time.RFC3339Nano),
			"Status": object{"State": "Enabled", "Health": "OK"}}
		t.put(o, "Reading", s.value)
		all = append(all, o)
		if t.fault == Duplicates {
			all = append(all, o)
		}
	}
	return all
}

func (t tree) sensors(expand bool) object {
	var members array
	for _, s := range t.sensorList() {
		if expand {
			members = append(members, s)
		} else {
			members = append(members, link(s["@odata.id"].(string)))
		}
	}
	if t.fault == ManySensors {
		for i := range 10_000 {
			o := link(fmt.Sprintf("%s/Sensors/Extra%d", chassis, i))
			if expand {
				o["Name"], o["ReadingUnits"], o["Reading"] = "Extra", "V", 12
			}
			members = append(members, o)
		}
	}
	return object{"@odata.type": "#SensorCollection.SensorCollection", "Name": "Sensors", "Members": members, "Members@odata.count": len(members)}
}

func (t tree) telemetry(path string) object {
	const service = "/redfish/v1/TelemetryService"
	switch path {
	case service:
		return object{"@odata.type": "#TelemetryService.v1_3_0.TelemetryService", "Id": "TelemetryService", "Name": "Telemetry", "ServiceEnabled": true,
			"MetricReports": link(service + "/MetricReports")}
	case service + "/MetricReports":
		return collection("MetricReport", service+"/MetricReports/All")
	case service + "/MetricReports/All":
		var values array
		for _, s := range t.sensorList() {
			if s["Reading"] != nil {
				values = append(values, object{"MetricId": s["Id"], "MetricProperty": s["@odata.id"].(string) + "#/Reading",
					"MetricValue": fmt.Sprint(s["Reading"]), "Timestamp": s["ReadingTime"]})
			}
		}
		return object{"@odata.type": "#MetricReport.v1_5_0.MetricReport", "Id": "All", "Name": "All", "MetricValues": values}
	}
	return nil
}

func (t tree) has(v float64) bool { return !math.IsNaN(v) }

// value is a number as a device with the fault gives it.
func (t tree) value(v float64) any {
	switch t.fault {
	case NullReadings:
		return nil
	case WrongType:
		return "N/A"
	case NotANumber:
		return nan
	}
	return v
}

func (t tree) put(o object, name string, v float64) {
	if t.has(v) {
		o[name] = t.value(v)
	}
}

// excerpt puts a value in the form in which metrics views quote a sensor.
func (t tree) excerpt(o object, name string, v float64, sensor string) {
	if !t.has(v) {
		return
	}
	e := object{"Reading": t.value(v)}
	if sensor != "" && t.opts.offers("Sensors") {
		e["DataSourceUri"] = chassis + "/Sensors/" + sensor
	}
	o[name] = e
}

// mistyped makes a list of what the schema says is an object.
func (t tree) mistyped(o object) any {
	if t.fault == WrongType {
		return array{o}
	}
	return o
}

func (t tree) twice(o object) array {
	if t.fault == Duplicates {
		return array{o, o}
	}
	return array{o}
}

func link(path string) object { return object{"@odata.id": path} }

func collection(kind string, members ...string) object {
	all := array{}
	for _, m := range members {
		all = append(all, link(m))
	}
	return object{"@odata.type": "#" + kind + "Collection." + kind + "Collection", "Name": kind, "Members": all, "Members@odata.count": len(all)}
}
