package prometheus_test

import (
	"fmt"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/prometheus"
)

// TestRealServer starts Prometheus, has it scrape one exposition per exporter, and asks every ready-made query.
func TestRealServer(t *testing.T) {
	program, err := exec.LookPath("prometheus")
	if err != nil {
		t.Skip("prometheus is not installed: apt-get install prometheus")
	}
	if testing.Short() {
		t.Skip("takes some ten seconds, which rate() needs")
	}
	counter := newCounters()
	exporters := httptest.NewServer(counter)
	defer exporters.Close()
	url := startPrometheus(t, program, strings.TrimPrefix(exporters.URL, "http://"), "node", "ipmi", "dcmi", "ipmidown", "kepler", "psys", "legacy", "scaphandre", "dcgm", "blank", "pdu")

	for _, c := range []struct {
		name    string
		queries []prometheus.Query
		node    string
		label   string
		want    map[sensors.Kind]float64
		reason  string
	}{
		{"node_exporter", prometheus.NodeExporter(), "node", "", map[sensors.Kind]float64{sensors.CPUUtilization: 0.25, sensors.CPUUsed: 0.5, sensors.MemoryUsed: 600, sensors.CPUTemp: 52, sensors.CPUPower: 70, sensors.CPUTime: math.NaN()}, ""},
		{"ipmi_exporter", prometheus.IPMIExporter(), "ipmi", "", map[sensors.Kind]float64{sensors.InletTemp: 23.5, sensors.ExhaustTemp: 38, sensors.CPUTemp: 61, sensors.FanSpeed: 6200, sensors.Power: 212}, ""},
		{"ipmi_exporter with DCMI", prometheus.IPMIExporter(), "dcmi", "", map[sensors.Kind]float64{sensors.Power: 287}, ""},
		{"ipmi_exporter whose BMC is down", prometheus.IPMIExporter(), "ipmidown", "", nil, "no_reading"},
		{"kepler", prometheus.Kepler(), "kepler", "node", map[sensors.Kind]float64{sensors.CPUPower: 100, sensors.CPUEnergy: 1100, sensors.CPUUtilization: 0.5, sensors.Power: 344, sensors.GPUPower: 75}, ""},
		{"kepler with psys", prometheus.Kepler(), "psys", "node", map[sensors.Kind]float64{sensors.CPUPower: 130}, ""},
		{"kepler 0.7", prometheus.KeplerLegacy(), "legacy", "node", map[sensors.Kind]float64{sensors.CPUPower: 95}, ""},
		{"scaphandre", prometheus.Scaphandre(), "scaphandre", "", map[sensors.Kind]float64{sensors.CPUPower: 92.5, sensors.CPUEnergy: 5}, ""},
		{"dcgm", prometheus.DCGM(), "dcgm", "node", map[sensors.Kind]float64{sensors.GPUPower: 550, sensors.GPUUtilization: 0.6, sensors.GPUTemp: 71}, ""},
		{"dcgm with a blank", prometheus.DCGM(), "blank", "node", map[sensors.Kind]float64{sensors.GPUTemp: 50}, "no_reading"},
		{"pdu", prometheus.PDU("rPDU2OutletMeteredStatusPower", 1), "pdu", "", map[sensors.Kind]float64{sensors.Power: 310}, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for i := range c.queries {
				if c.label != "" {
					c.queries[i].Label = c.label // every target bears "node" here
				}
			}
			s, err := prometheus.New(prometheus.Endpoint{URL: url}, c.queries, prometheus.Options{Window: 5 * time.Second})
			if err != nil {
				t.Fatal(err)
			}
			var got map[sensors.Kind]sensors.Reading
			for deadline := time.Now().Add(40 * time.Second); ; {
				list, err := s.Read(t.Context(), c.node)
				got = map[sensors.Kind]sensors.Reading{}
				for _, r := range list {
					got[r.Kind] = r
				}
				// rate() extrapolates over a live clock, and a scrape may come late: it settles.
				settled := len(got) >= len(c.want) && sensors.Reason(err) == c.reason
				for k, v := range c.want {
					settled = settled && (math.IsNaN(v) || math.Abs(got[k].Value-v) <= v*0.05)
				}
				if settled {
					break
				}
				if time.Now().After(deadline) {
					t.Fatalf("got %v, %v; want %v, reason %q", list, err, c.want, c.reason)
				}
			}
			for k, v := range c.want {
				r, ok := got[k]
				if !ok {
					t.Errorf("no %s, want %v", k, v)
				}
				if age := r.Age(time.Now()); age < 0 || age > 30*time.Second {
					t.Errorf("%s is %v old", k, age)
				}
			}
			if len(got) != len(c.want) {
				t.Errorf("got %v, want the kinds of %v", got, c.want)
			}
		})
	}
	t.Run("a wrong query", func(t *testing.T) {
		s, err := prometheus.New(prometheus.Endpoint{URL: url}, []prometheus.Query{{Kind: sensors.Power, Expr: "sum by (", Time: "up"}}, prometheus.Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Read(t.Context(), "n1"); sensors.Reason(err) != "device" || !strings.Contains(err.Error(), "bad_data") {
			t.Errorf("%v", err)
		}
	})
	t.Run("the time is the scrape's", func(t *testing.T) {
		s, err := prometheus.New(prometheus.Endpoint{URL: url}, prometheus.Scaphandre(), prometheus.Options{})
		if err != nil {
			t.Fatal(err)
		}
		times := map[time.Time]bool{}
		began := time.Now()
		for range 10 {
			list, err := s.Read(t.Context(), "scaphandre")
			if err != nil {
				t.Fatal(err)
			}
			times[list[0].At] = true
		}
		if scrapes := int(time.Since(began)/time.Second) + 2; len(times) > scrapes {
			t.Errorf("10 queries within %v gave %d times of measurement, with a scrape a second: they are the queries' own", time.Since(began), len(times))
		}
	})
}

// counters serves the expositions; counters in them run by the clock.
type counters struct {
	start time.Time
}

func newCounters() *counters { return &counters{start: time.Now()} }

func (c *counters) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name := strings.TrimPrefix(r.URL.Path, "/")
	s := time.Since(c.start).Seconds()
	p := func(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }
	temp := func(name string, v float64) { p(`ipmi_temperature_celsius{id="1",name=%q} %v`, name, v) }
	switch name {
	case "node": // two cores, half a core busy
		p(`node_cpu_seconds_total{cpu="0",mode="idle"} %f`, 0.5*s)
		p(`node_cpu_seconds_total{cpu="0",mode="user"} %f`, 0.5*s)
		p(`node_cpu_seconds_total{cpu="1",mode="idle"} %f`, s)
		p(`node_cpu_seconds_total{cpu="1",mode="user"} 0`)
		p("node_memory_MemTotal_bytes 1000\nnode_memory_MemAvailable_bytes 400")
		p(`node_hwmon_temp_celsius{chip="platform_coretemp_0",sensor="temp1"} 52`)
		p(`node_hwmon_temp_celsius{chip="nvme_nvme0",sensor="temp1"} 70`)
		p(`node_rapl_package_joules_total{index="0"} %f`, 60*s)
		p(`node_rapl_dram_joules_total{index="0"} %f`, 10*s)
	case "ipmi", "ipmidown":
		temp("Inlet Temp", 23.5)
		temp("17-PS 1 Inlet", 14)
		temp("CPU1 Temp", 61)
		temp("Exhaust Temp", 38)
		p(`ipmi_fan_speed_rpm{id="5",name="Fan1"} 6200`)
		p(`ipmi_power_watts{id="4",name="System Power"} 212`)
		p(`ipmi_power_watts{id="7",name="CPU Power"} 90`)
		p(`ipmi_up{collector="ipmi"} %d`, map[string]int{"ipmi": 1}[name])
	case "dcmi":
		p("ipmi_dcmi_power_consumption_watts 287\nipmi_up{collector=\"dcmi\"} 1")
	case "kepler", "psys":
		zone := func(name string, v float64) { p(`kepler_node_cpu_watts{zone=%q,path=%q} %v`, name, "/"+name, v) }
		zone("package", 88)
		zone("core", 70)
		zone("dram", 12)
		if name == "psys" {
			zone("psys", 130)
			return
		}
		p(`kepler_node_cpu_joules_total{zone="package",path="/p"} 1000`)
		p(`kepler_node_cpu_joules_total{zone="core",path="/c"} 900`)
		p(`kepler_node_cpu_joules_total{zone="dram",path="/d"} 100`)
		p("kepler_node_cpu_usage_ratio 0.5\nkepler_platform_watts{source=\"redfish\",bmc_id=\"b\"} 344\nkepler_node_gpu_watts{gpu=\"0\"} 75")
	case "legacy":
		p(`kepler_node_package_joules_total{package="0",mode="dynamic",source="rapl"} %f`, 50*s)
		p(`kepler_node_package_joules_total{package="0",mode="idle",source="rapl"} %f`, 30*s)
		p(`kepler_node_core_joules_total{package="0",mode="dynamic",source="rapl"} %f`, 40*s)
		p(`kepler_node_dram_joules_total{package="0",mode="dynamic",source="rapl"} %f`, 15*s)
	case "scaphandre":
		p("scaph_host_power_microwatts 92500000\nscaph_host_energy_microjoules 5000000\nscaph_socket_power_microwatts{socket_id=\"0\"} 80000000")
	case "dcgm", "blank":
		p(`DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="a",pod="x"} 250`)
		p(`DCGM_FI_DEV_POWER_USAGE{gpu="0",UUID="a",pod="y"} 250`)
		if name == "blank" {
			p(`DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="b"} 9223372036854775794`)
			p(`DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="a"} 50`)
			return
		}
		p(`DCGM_FI_DEV_POWER_USAGE{gpu="1",UUID="b"} 300`)
		p(`DCGM_FI_DEV_GPU_UTIL{gpu="0",UUID="a"} 40`)
		p(`DCGM_FI_DEV_GPU_UTIL{gpu="1",UUID="b"} 80`)
		p(`DCGM_FI_DEV_GPU_TEMP{gpu="0",UUID="a"} 66`)
		p(`DCGM_FI_DEV_GPU_TEMP{gpu="1",UUID="b"} 71`)
	case "pdu":
		p(`rPDU2OutletMeteredStatusPower{rPDU2OutletMeteredStatusIndex="1"} 150`)
		p(`rPDU2OutletMeteredStatusPower{rPDU2OutletMeteredStatusIndex="9"} 160`)
	}
}

// startPrometheus returns the URL of a server that scrapes one target per name, with the label node.
func startPrometheus(t *testing.T, program, target string, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	var conf strings.Builder
	conf.WriteString("global: {scrape_interval: 1s}\nscrape_configs:\n")
	for _, n := range names {
		fmt.Fprintf(&conf, "- {job_name: %s, metrics_path: /%s, static_configs: [{targets: [%q], labels: {node: %s}}]}\n", n, n, target, n)
	}
	if err := os.WriteFile(filepath.Join(dir, "p.yml"), []byte(conf.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	cmd := exec.Command(program, "--config.file="+filepath.Join(dir, "p.yml"), "--storage.tsdb.path="+filepath.Join(dir, "data"), "--web.listen-address="+address, "--log.level=error")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = cmd.Process.Signal(os.Interrupt); _ = cmd.Wait() })
	for deadline := time.Now().Add(20 * time.Second); ; {
		if resp, err := http.Get("http://" + address + "/-/ready"); err == nil {
			_ = resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return "http://" + address
			}
		}
		if time.Now().After(deadline) {
			t.Fatal("prometheus did not become ready")
		}
	}
}
