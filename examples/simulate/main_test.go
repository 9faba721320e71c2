package main

import (
	"bytes"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/scoring/batch"
)

// small is a configuration that takes a moment.
func small() *options {
	return &options{nodes: "embedded:8", strategies: "all", load: 0.5, seed: 1, hours: 2, warmup: 1, longest: 24 * time.Hour, intensity: 300, price: 0.15, pue: 1}
}

type document struct {
	Strategies []struct {
		Name                                                               string
		EnergyKWh, BoundKWh, OverBound, MeanWaitSeconds, SolveMillisPerJob float64
		Unplaced                                                           int
	}
}

func TestJSON(t *testing.T) {
	for _, off := range []bool{false, true} {
		o := small()
		o.asJSON, o.off = true, off
		var out bytes.Buffer
		if err := run(t.Context(), o, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		var d document
		if err := json.Unmarshal(out.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, s := range d.Strategies {
			names = append(names, s.Name)
			if s.OverBound < 1 || s.BoundKWh <= 0 || s.EnergyKWh < s.BoundKWh || s.Unplaced != 0 {
				t.Errorf("off=%v: %+v", off, s)
			}
		}
		if !slices.Equal(names, batch.Names()) {
			t.Errorf("strategies %v", names)
		}
		if !strings.Contains(out.String(), `"solveMillisPerJob"`) || !strings.Contains(out.String(), `"overBound"`) {
			t.Error("the names of the fields differ from those promised")
		}
	}
}

func TestTableAndSweep(t *testing.T) {
	o := small()
	o.strategies = "kubernetes,leastwatt"
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(out.String(), "leastwatt") || !strings.Contains(out.String(), "8 servers") {
		t.Errorf("table:\n%s", out.String())
	}
	o.sweep, o.seeds, o.loads = true, 3, "0.3,0.6"
	out.Reset()
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := strings.Count(out.String(), "leastwatt"); n != 2 {
		t.Errorf("%d rows of leastwatt for two loads:\n%s", n, out.String())
	}
}

func TestErrors(t *testing.T) {
	for _, f := range []func(*options){
		func(o *options) { o.strategies = "best" },
		func(o *options) { o.load = 0 },
		func(o *options) { o.nodes = "embedded:0" },
		func(o *options) { o.nodes = "no such file" },
		func(o *options) { o.trace = "no such file" },
		func(o *options) { o.sweep, o.seeds, o.loads = true, 2, "half" },
	} {
		o := small()
		f(o)
		if err := run(t.Context(), o, io.Discard, io.Discard); err == nil {
			t.Errorf("%+v passes", o)
		}
	}
}

// TestFiles writes a trace and servers of KubeEnergyScheduler's formats, replays them, and reads everything that is written.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	o := small()
	o.strategies = "fcfs,leastwatt"
	o.nodes = write("nodes.csv", "name,cpu,mem,ci_profile,site_id,peak_power_w\nn1,16,64,static:300,s,400\nn2,16,64,static:300,s,200\n")
	o.trace = write("jobs.csv", "id,submit,cpu,mem,duration,tag\na,2025-01-01T00:00:00Z,8,4,3600,web\nb,2025-01-01T00:10:00Z,8,4,1800,web\nc,2025-01-01T00:10:00Z,99,4,1800,web\n")
	o.format, o.load, o.told = "kubeenergyscheduler", 0, true
	o.out = filepath.Join(dir, "out")
	if err := run(t.Context(), o, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	read := func(name string) [][]string {
		f, err := os.Open(filepath.Join(o.out, name))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		rows, err := csv.NewReader(f).ReadAll()
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	for name, header := range map[string]string{
		"run_log.csv":      "JobID,Node,Submit,Start,End,WaitMS,CICost",
		"schedule_log.csv": "JobID,AssignedNode,Strategy,CIscore,Timestamp",
		"summary.csv":      "ci_weight,batch_size,scheduler,avg_wait_s,avg_runtime_s,total_ci_cost,avg_solve_ms",
	} {
		if got := strings.Join(read(name)[0], ","); !strings.HasPrefix(got, header) {
			t.Errorf("%s begins with %s", name, got)
		}
	}
	// Two jobs of two strategies ran; the third is larger than any node.
	if n := len(read("run_log.csv")) - 1; n != 4 {
		t.Errorf("%d rows in run_log.csv, want 4", n)
	}
	// fcfs: n1 at half, then full, then half load: 0.5 h · 230 W + … by hand: 60+0.85·400·u; n2 idles at 30 W.
	first := read("run_log.csv")[1]
	if first[1] != "n1" || first[5] != "0" {
		t.Errorf("first row %v", first)
	}
	db, err := sql.Open("sqlite", filepath.Join(o.out, "results.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var n int
	var energy float64
	if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*), MIN(energy_kwh) FROM summary").Scan(&n, &energy); err != nil || n != 2 {
		t.Fatalf("%d rows in the database: %v", n, err)
	}
	// leastwatt puts both jobs on n2 (peak 200 W): 10 min at half load, 30 min at full, 20 min at half; n1 idles at 60 W.
	want := 0.06 + (30.0*(0.03+0.085)+30*(0.03+0.17))/60
	if energy < want*0.999 || energy > want*1.001 {
		t.Errorf("least energy %v kWh, want %v", energy, want)
	}
}

// TestReportInBrowser opens the report in a headless Chromium, at the width of a phone, and looks for content and errors.
func TestReportInBrowser(t *testing.T) {
	browser := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if p, err := exec.LookPath(name); err == nil {
			browser = p
			break
		}
	}
	if browser == "" {
		t.Skip("no Chromium is installed (Debian: apt-get install chromium)")
	}
	o := small()
	o.strategies, o.out = "kubernetes,energyaware,leastwatt", t.TempDir()
	if err := run(t.Context(), o, io.Discard, io.Discard); err != nil {
		t.Fatal(err)
	}
	home := t.TempDir()
	for _, width := range []string{"390,844", "1280,900"} {
		cmd := exec.CommandContext(t.Context(), browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--user-data-dir="+home,
			"--enable-logging=stderr", "--window-size="+width, "--dump-dom", "file://"+filepath.Join(o.out, "report.html"))
		var log bytes.Buffer
		cmd.Stderr = &log
		dom, err := cmd.Output()
		if err != nil {
			t.Fatalf("%v: %s", err, log.String())
		}
		page := string(dom)
		for _, want := range []string{`data-ready="4"`, "<td>leastwatt</td>", "Power over time", `id="bound"`, `data-strategy="kubernetes"`, "server-0008"} {
			if !strings.Contains(page, want) {
				t.Errorf("width %s: the page lacks %q", width, want)
			}
		}
		if strings.Contains(page, "data-error") || strings.Contains(log.String(), "CONSOLE") {
			t.Errorf("width %s: script errors: %s", width, log.String())
		}
		if strings.Contains(page, "ZgotmplZ") {
			t.Error("the template has withheld a value as unsafe")
		}
	}
}
