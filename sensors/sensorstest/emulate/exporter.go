package emulate

import (
	"fmt"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// An Exporter is an emulated program that tells what a [Machine] measures over HTTP: an [http.Handler] that
// answers any path. It is safe for concurrent use.
type Exporter struct {
	live   func() Machine
	opts   ExporterOptions
	fault  atomic.Int64
	format func(e *answer, m Machine)
}

// ExporterOptions describe an [Exporter]. The zero value needs no credentials.
type ExporterOptions struct {
	// User and Password are demanded by basic authentication; "" needs none.
	User, Password string

	// RedirectTo is where [RedirectAway] leads.
	RedirectTo string
}

// SetFault makes the exporter misbehave, from the next request on; NoFault makes it well again.
func (x *Exporter) SetFault(f Fault) { x.fault.Store(int64(f)) }

// ServeHTTP implements [http.Handler].
func (x *Exporter) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := Fault(x.fault.Load())
	if fault(f, x.opts.RedirectTo, w, r) {
		return
	}
	if user, password, _ := r.BasicAuth(); user != x.opts.User || password != x.opts.Password {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	a := &answer{exposition: exposition{fault: f}, path: r.URL.Path, query: r.FormValue, kind: "text/plain; version=0.0.4; charset=utf-8"}
	x.format(a, f.measure(x.live(), time.Now()))
	if a.missing {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", a.kind)
	_, _ = w.Write([]byte(a.String()))
}

// An answer is what an exporter writes to one request.
type answer struct {
	exposition
	path    string
	query   func(string) string
	kind    string
	missing bool
}

// line writes one sample of the family, with the exporter's faults.
func (a *answer) line(labels string, v float64) {
	a.add(labels+"%.0s", "", v)
}

// NewIPMIExporter returns an ipmi_exporter of one BMC, as version 1.6 writes. DCMI adds a second collector, and
// a power of its own.
func NewIPMIExporter(live func() Machine, dcmi bool, o ExporterOptions) *Exporter {
	return &Exporter{live: live, opts: o, format: func(a *answer, m Machine) {
		a.family("ipmi_temperature_celsius", "gauge")
		a.line(`{id="1",name="Inlet Temp"}`, m.Inlet)
		a.line(`{id="2",name="CPU1 Temp"}`, m.CPUTemp)
		a.line(`{id="3",name="Exhaust Temp"}`, m.Exhaust)
		a.line(`{id="6",name="PS1 Inlet"}`, m.Inlet+9)
		a.family("ipmi_power_watts", "gauge")
		a.line(`{id="4",name="System Power"}`, m.Watts)
		a.family("ipmi_fan_speed_rpm", "gauge")
		a.line(`{id="5",name="Fan1"}`, m.FanRPM)
		if dcmi {
			a.family("ipmi_dcmi_power_consumption_watts", "gauge")
			a.line("", m.Watts)
		}
		a.fault = NoFault // the rest is the exporter's own
		a.family("ipmi_up", "gauge")
		a.line(`{collector="ipmi"}`, 1)
		if dcmi {
			a.line(`{collector="dcmi"}`, 1)
		}
	}}
}

// NewScaphandre returns a Scaphandre exporter of one host.
func NewScaphandre(live func() Machine, o ExporterOptions) *Exporter {
	return &Exporter{live: live, opts: o, format: func(a *answer, m Machine) {
		a.family("scaph_host_power_microwatts", "gauge")
		a.line("", math.Round((m.CPUWatts+m.DRAMWatts)*1e6))
		a.family("scaph_host_energy_microjoules", "counter")
		a.line("", math.Round((m.CPUJoules+m.DRAMJoules)*1e6))
		a.family("scaph_socket_power_microwatts", "gauge")
		a.line(`{socket_id="0"}`, math.Round(m.CPUWatts*1e6))
		a.family("scaph_domain_power_microwatts", "gauge")
		a.line(`{domain_id="0",domain_name="core",socket_id="0"}`, math.Round(m.CPUWatts*0.8*1e6))
		a.line(`{domain_id="1",domain_name="dram",socket_id="0"}`, math.Round(m.DRAMWatts*1e6))
	}}
}

// NewDCGM returns a DCGM exporter of a host with two GPUs.
func NewDCGM(host string, live func() Machine, o ExporterOptions) *Exporter {
	return &Exporter{live: live, opts: o, format: func(a *answer, m Machine) {
		both := func(name, kind string, v float64) {
			a.family(name, kind)
			for i := range 2 {
				a.line(fmt.Sprintf(`{gpu="%d",UUID="GPU-%d",device="nvidia%d",Hostname="%s"}`, i, i, i, host), v)
			}
		}
		both("DCGM_FI_DEV_POWER_USAGE", "gauge", m.GPUWatts)
		both("DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", "counter", m.GPUJoules*1000)
		both("DCGM_FI_DEV_GPU_UTIL", "gauge", math.Round(m.GPUUtil*100))
		both("DCGM_FI_DEV_GPU_TEMP", "gauge", m.GPUTemp)
	}}
}

// NewPrometheus returns a Prometheus server that answers instant queries made by package sensors/prometheus:
// any expression that names "inlet" gives the inlet temperature, any other the watts, of each of the nodes.
// The times are those of the machine.
func NewPrometheus(live func() Machine, o ExporterOptions, nodes ...string) *Exporter {
	return &Exporter{live: live, opts: o, format: func(a *answer, m Machine) {
		a.kind = "application/json"
		value := m.Watts
		if strings.Contains(a.query("query"), "inlet") {
			value = m.Inlet
		}
		var series []string
		add := func(node, part, value string) {
			series = append(series, fmt.Sprintf(`{"metric":{"node":%q,"leastwatt_part":%q},"value":[1700000000,%s]}`, node, part, value))
		}
		for _, n := range nodes {
			text := fmt.Sprintf("%q", fmt.Sprint(value))
			switch a.fault {
			case NullReadings:
				continue
			case WrongType:
				text = "null"
			case NotANumber:
				text = `"NaN"`
			}
			add(n, "value", text)
			add(n, "time", fmt.Sprintf(`"%.3f"`, float64(m.At.UnixMilli())/1000))
			if a.fault == Duplicates {
				add(n, "time", `"1600000000"`)
			}
		}
		if a.fault == ManySensors {
			for i := range 10_000 {
				add(fmt.Sprintf("other-%d", i), "value", `"1"`)
			}
		}
		fmt.Fprintf(a, `{"status":"success","data":{"resultType":"vector","result":[%s]}}`, strings.Join(series, ","))
	}}
}

// NewLoadWatcher returns a load-watcher service that knows the nodes.
func NewLoadWatcher(live func() Machine, o ExporterOptions, nodes ...string) *Exporter {
	return &Exporter{live: live, opts: o, format: func(a *answer, m Machine) {
		if a.missing = a.path != "/watcher"; a.missing {
			return
		}
		a.kind = "application/json"
		if a.fault == ManySensors {
			for i := range 10_000 {
				nodes = append(nodes[:len(nodes):len(nodes)], fmt.Sprintf("other-%d", i))
			}
		}
		fmt.Fprintf(a, `{"timestamp":%d,"window":{"duration":"15m","start":%d,"end":%d},"source":"KubernetesMetricsServer","data":{"NodeMetricsMap":{`,
			m.At.Unix(), m.At.Unix()-900, m.At.Unix())
		for i, n := range nodes {
			if i > 0 {
				a.WriteByte(',')
			}
			fmt.Fprintf(a, `%q:{"metrics":[`, n)
			if a.fault != NullReadings {
				metric := fmt.Sprintf(`{"name":"cpu","type":"CPU","operator":"AVG","rollup":"15m","value":%s}`, a.json(m.Utilization*100))
				a.WriteString(metric)
				if a.fault == Duplicates {
					a.WriteString("," + metric)
				}
			}
			a.WriteString(`],"tags":{},"metadata":{}}`)
		}
		a.WriteString(`}}}`)
	}}
}

// NewPressure returns WAO's differential-pressure API, which knows the nodes.
func NewPressure(live func() Machine, o ExporterOptions, nodes ...string) *Exporter {
	return &Exporter{live: live, opts: o, format: func(a *answer, m Machine) {
		node, ok := strings.CutPrefix(a.path, "/api/sensor/by_nodename/")
		if a.missing = !ok || !slices.Contains(nodes, node); a.missing {
			return
		}
		a.kind = "application/json"
		one := fmt.Sprintf(`{"pressure":%s,"sensorid":"dp-1","temperature":25.5}`, a.json(m.Pressure))
		many := 1
		switch a.fault {
		case Duplicates:
			many = 2
		case ManySensors:
			many = 10_000
		}
		fmt.Fprintf(a, `{"code":200,"sensor":[%s]}`, strings.TrimSuffix(strings.Repeat(one+",", many), ","))
	}}
}

// json writes a number with the exporter's faults.
func (a *answer) json(v float64) string {
	switch {
	case a.fault == WrongType:
		return `"N/A"`
	case a.fault == NotANumber:
		return "NaN"
	case a.fault == NullReadings || math.IsNaN(v):
		return "null"
	}
	return strconv.FormatFloat(v, 'g', -1, 64)
}
