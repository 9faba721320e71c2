package emulate

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// A Kepler is an emulated Kepler exporter of one node, an [http.Handler] that answers any path with the
// text exposition. It is safe for concurrent use.
type Kepler struct {
	node  string
	live  func() Machine
	opts  KeplerOptions
	fault atomic.Int64
}

// KeplerOptions describe a [Kepler]. The zero value speaks the scheme of version 0.10 and later.
type KeplerOptions struct {
	// Legacy speaks the scheme of 0.7 to 0.9: counters alone.
	Legacy bool

	// Platform adds kepler_platform_watts, which Kepler reads from the server's BMC.
	Platform bool

	// User and Password are demanded by basic authentication; "" needs none.
	User, Password string

	// RedirectTo is where [RedirectAway] leads.
	RedirectTo string
}

// NewKepler returns an exporter of the machine that live tells of. It does not listen; see [Listen].
func NewKepler(node string, live func() Machine, o KeplerOptions) *Kepler {
	return &Kepler{node: node, live: live, opts: o}
}

// SetFault makes the exporter misbehave, from the next request on; NoFault makes it well again.
func (k *Kepler) SetFault(f Fault) { k.fault.Store(int64(f)) }

// ServeHTTP implements [http.Handler].
func (k *Kepler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	f := Fault(k.fault.Load())
	if fault(f, k.opts.RedirectTo, w, r) {
		return
	}
	if user, password, _ := r.BasicAuth(); user != k.opts.User || password != k.opts.Password {
		http.Error(w, "unauthorized", http.StatusUnauthorized)
		return
	}
	e := exposition{fault: f}
	m := f.measure(k.live(), time.Now())
	if k.opts.Legacy {
		e.family("kepler_node_package_joules_total", "counter")
		e.add(`{instance="%s",mode="dynamic",package="0",source="rapl"}`, k.node, m.CPUJoules*0.7)
		e.add(`{instance="%s",mode="idle",package="0",source="rapl"}`, k.node, m.CPUJoules*0.3)
		e.family("kepler_node_core_joules_total", "counter")
		e.add(`{instance="%s",mode="dynamic",package="0",source="rapl"}`, k.node, m.CPUJoules*0.6)
		e.family("kepler_node_dram_joules_total", "counter")
		e.add(`{instance="%s",mode="dynamic",package="0",source="rapl"}`, k.node, m.DRAMJoules)
		if k.opts.Platform {
			e.family("kepler_node_platform_joules_total", "counter")
			e.add(`{instance="%s",mode="dynamic",package="0",source="acpi"}`, k.node, m.Joules)
		}
	} else {
		e.family("kepler_node_cpu_usage_ratio", "gauge")
		e.add(`{node_name="%s"}`, k.node, m.Utilization)
		e.family("kepler_node_cpu_watts", "gauge")
		e.add(`{node_name="%s",path="/sys/class/powercap/intel-rapl:0:0",zone="core"}`, k.node, m.CPUWatts*0.8)
		e.add(`{node_name="%s",path="/sys/class/powercap/intel-rapl:0:1",zone="dram"}`, k.node, m.DRAMWatts)
		e.add(`{node_name="%s",path="/sys/class/powercap/intel-rapl:0",zone="package"}`, k.node, m.CPUWatts)
		e.family("kepler_node_cpu_joules_total", "counter")
		e.add(`{node_name="%s",path="/sys/class/powercap/intel-rapl:0:1",zone="dram"}`, k.node, m.DRAMJoules)
		e.add(`{node_name="%s",path="/sys/class/powercap/intel-rapl:0",zone="package"}`, k.node, m.CPUJoules)
		if k.opts.Platform {
			e.family("kepler_platform_watts", "gauge")
			e.add(`{source="redfish",node_name="%s",bmc_id="bmc-1",chassis_id="1"}`, k.node, m.Watts)
		}
	}
	w.Header().Set("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
	_, _ = w.Write([]byte(e.String()))
}

// exposition writes metrics as text.
type exposition struct {
	strings.Builder
	fault Fault
	name  string
}

func (e *exposition) family(name, kind string) {
	e.name = name
	fmt.Fprintf(e, "# HELP %s Emulated.\n# TYPE %s %s\n", name, name, kind)
	if e.fault == ManySensors {
		for i := range 10_000 / 4 {
			fmt.Fprintf(e, "%s{node_name=\"other-%d\",instance=\"other-%d\",zone=\"package\"} 1\n", name, i, i)
		}
	}
}

func (e *exposition) add(labels, node string, v float64) {
	if math.IsNaN(v) {
		return
	}
	text := fmt.Sprint(v)
	switch e.fault {
	case NullReadings:
		return
	case WrongType:
		text = "N/A"
	case NotANumber:
		text = "NaN"
	}
	line := e.name + fmt.Sprintf(labels, node) + " " + text + "\n"
	e.WriteString(line)
	if e.fault == Duplicates {
		e.WriteString(line)
	}
}
