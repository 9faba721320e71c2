package main

import (
	"bytes"
	"compress/gzip"
	"database/sql"
	"encoding/csv"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
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

// TestSweepWeights: rows for each weight, of leastwatt alone, and different weights place differently.
func TestSweepWeights(t *testing.T) {
	o := small()
	o.strategies, o.asJSON = "energyaware,leastwatt", true
	o.sweep, o.seeds, o.loads, o.weights = true, 2, "0.4", "0/0/4,1/1/4"
	o.out = t.TempDir()
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var d struct{ Sweep []sweepRow }
	if err := json.Unmarshal(out.Bytes(), &d); err != nil {
		t.Fatal(err)
	}
	if len(d.Sweep) != 3 || d.Sweep[1].Weights != "0/0/4" || d.Sweep[2].Weights != "1/1/4" || d.Sweep[1].EnergyKWh == d.Sweep[2].EnergyKWh {
		t.Errorf("%+v", d.Sweep)
	}
	// The mean of the runs and half of its 95 % interval: with two runs 12.706 standard errors.
	db, err := sql.Open("sqlite", filepath.Join(o.out, "results.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var one, two, mean, half float64
	if err := db.QueryRowContext(t.Context(), `SELECT MIN(s.energy_kwh), MAX(s.energy_kwh), MIN(w.energy_kwh), MIN(w.energy_kwh_half95) FROM summary s
		JOIN sweep w ON s.scheduler = w.scheduler AND s.weights = w.weights WHERE s.weights = '1/1/4'`).Scan(&one, &two, &mean, &half); err != nil {
		t.Fatal(err)
	}
	if math.Abs((one+two)/2-mean) > 1e-9 || math.Abs(12.706*(two-one)/2-half) > 1e-9 || one == two {
		t.Errorf("runs of %v and %v kWh are reported as %v ± %v", one, two, mean, half)
	}
}

// TestGPUs: jobs that ask for GPUs share those that there are, and run without where there are none.
func TestGPUs(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pods.csv")
	text := "name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time\n" +
		"a,1000,1024,1,1000,,LS,Running,0,3600,0\nb,1000,1024,1,1000,,LS,Running,0,3600,0\nc,1000,1024,2,500,,LS,Running,0,3600,0\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for gpus, waits := range map[float64]bool{0: false, 1: true, 3: false} {
		o := small()
		o.nodes, o.trace, o.format, o.load, o.gpus, o.strategies, o.asJSON = "embedded:1", file, "openb", 0, gpus, "leastwatt", true
		var out bytes.Buffer
		if err := run(t.Context(), o, &out, io.Discard); err != nil {
			t.Fatal(err)
		}
		var d document
		if err := json.Unmarshal(out.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		if s := d.Strategies[0]; s.Unplaced != 0 || (s.MeanWaitSeconds > 0) != waits {
			t.Errorf("%v GPUs: %+v", gpus, s)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, f := range []func(*options){
		func(o *options) { o.strategies = "best" },
		func(o *options) { o.load = 0 },
		func(o *options) { o.nodes = "embedded:0" },
		func(o *options) { o.mix = "drinks" },
		func(o *options) { o.load = -1 },
		func(o *options) { o.load = math.NaN() },
		func(o *options) { o.hours = 0 },
		func(o *options) { o.warmup = math.Inf(1) },
		func(o *options) { o.intensity = math.NaN() },
		func(o *options) { o.pue = 0.9 },
		func(o *options) { o.moves = -0.1 },
		func(o *options) { o.wake = -time.Second },
		func(o *options) { o.nodes = "no such file" },
		func(o *options) { o.nodes = os.DevNull },
		func(o *options) { o.trace = "no such file" },
		func(o *options) { o.sweep, o.seeds, o.loads = true, 2, "half" },
		func(o *options) { o.sweep, o.seeds, o.loads, o.weights = true, 1, "0.5", "0.5/0.7" },
		func(o *options) { o.sweep, o.seeds, o.loads, o.weights = true, 1, "0.5", "2/0.7/4" },
	} {
		o := small()
		f(o)
		if err := run(t.Context(), o, io.Discard, io.Discard); err == nil {
			t.Errorf("%+v passes", o)
		}
	}
}

// TestPlanetLabFolder: a folder with a file for each machine, one of them packed, is a trace.
func TestPlanetLabFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "host_a"), []byte("10\n20\n30\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(filepath.Join(dir, "host_b.gz"))
	if err != nil {
		t.Fatal(err)
	}
	z := gzip.NewWriter(f)
	fmt.Fprint(z, "40\n50\n")
	if err := errors.Join(z.Close(), f.Close()); err != nil {
		t.Fatal(err)
	}
	o := small()
	o.trace, o.format, o.declared = dir, "planetlab", true
	jobs, err := loadJobs(o)
	if err != nil || len(jobs) != 2 || jobs[0].Name != "host_a" || len(jobs[0].Profile) != 3 || jobs[1].Duration != 10*time.Minute {
		t.Fatalf("%+v, %v", jobs, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "readme"), []byte("one value a line\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := loadJobs(o); err == nil || !strings.Contains(err.Error(), "readme:1:1") {
		t.Errorf("a file that is no machine: %v", err)
	}
}

// TestSkippedRows: what a trace has not told in full is left out with a word.
func TestSkippedRows(t *testing.T) {
	file := filepath.Join(t.TempDir(), "log.swf")
	if err := os.WriteFile(file, []byte("1 0 -1 10 4 -1 -1 4 -1 -1 1 1 1 1 -1 -1 -1 -1\n2 5 -1 -1 4 -1 -1 4 -1 -1 1 1 1 1 -1 -1 -1 -1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := small()
	o.trace, o.format, o.load, o.strategies = file, "swf", 0, "fcfs"
	var said bytes.Buffer
	if err := run(t.Context(), o, io.Discard, &said); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(said.String(), "log.swf: 1 jobs; 1 rows are incomplete") {
		t.Errorf("%s", said.String())
	}
}

// writer returns a function that writes a file into a folder and returns its path.
func writer(t *testing.T, dir string) func(name, text string) string {
	return func(name, text string) string {
		t.Helper()
		p := filepath.Join(dir, name)
		if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
}

// TestFiles writes a trace and servers of KubeEnergyScheduler's formats, replays them, and reads everything that is written.
func TestFiles(t *testing.T) {
	dir := t.TempDir()
	write := writer(t, dir)
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

// TestDecisionLog: what still runs when the simulation ends was decided, and has no end yet; what had a deadline by then has missed it.
func TestDecisionLog(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "jobs.csv")
	if err := os.WriteFile(file, []byte("at,run,cpu,due\n0,3600,1,60\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	o := small()
	o.strategies, o.trace, o.format, o.columns, o.out = "fcfs", file, "csv", "arrival=at,duration=run,cpu=cpu,deadline=due", filepath.Join(dir, "out")
	var out bytes.Buffer
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`Deadlines missed: fcfs [1-9]`).Match(out.Bytes()) {
		t.Errorf("no word of deadlines:\n%s", out.String())
	}
	db, err := sql.Open("sqlite", filepath.Join(o.out, "results.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var decided, ran, finished, missed int
	if err := db.QueryRowContext(t.Context(), "SELECT (SELECT COUNT(*) FROM schedule_log), (SELECT COUNT(*) FROM run_log), finished, missed_deadlines FROM summary").Scan(&decided, &ran, &finished, &missed); err != nil {
		t.Fatal(err)
	}
	if decided <= ran || ran < finished || missed < finished {
		t.Errorf("%d decisions, %d runs, %d finished, %d late", decided, ran, finished, missed)
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
	o.sites, o.objective, o.slack = "embedded", "grams", time.Hour
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
		for _, want := range []string{`data-ready="7"`, "<td>leastwatt</td>", "Power over time", "Carbon over time", "Share of the oracle", `id="bound"`, `data-strategy="kubernetes"`, "server-0008", `data-wide="false"`} {
			if !strings.Contains(page, want) {
				t.Errorf("width %s: the page lacks %q", width, want)
			}
		}
		if strings.Contains(page, "data-error") || strings.Contains(log.String(), "CONSOLE") {
			t.Errorf("width %s: script errors: %s", width, log.String())
		}
		if m := regexp.MustCompile(`data-smallest="(\d+)"`).FindStringSubmatch(page); m == nil || len(m[1]) == 1 && m[1] < "9" {
			t.Errorf("width %s: the smallest text of the plots is %v pixels high, want 9", width, m)
		}
		if strings.Contains(page, "ZgotmplZ") {
			t.Error("the template has withheld a value as unsafe")
		}
	}
}

// TestProfilesOfNodes: carbon goes by the nodes' own profiles, with PUE and k of their sites, as in KubeEnergyScheduler.
func TestProfilesOfNodes(t *testing.T) {
	write := writer(t, t.TempDir())
	nodes := write("nodes.csv", "name,cpu,mem,ci_profile,site_id,peak_power_w\nn1,16,64,static:500,s,400\nn2,16,64,static:100,s,400\nn3,16,64,static:50,,400\n")
	jobs := write("jobs.csv", "id,submit,cpu,mem,duration,tag\na,2025-01-01T00:00:00Z,8,4,3600,web\n")
	sites := write("sites.csv", "id,PUE,k,ci_region\ns,1.5,2,FR\n")
	do := func(f func(o *options)) (kg float64, err error) {
		o := small()
		o.strategies, o.nodes, o.trace, o.format, o.load, o.told, o.asJSON, o.objective = "fcfs", nodes, jobs, "kubeenergyscheduler", 0, true, true, "grams"
		f(o)
		var out bytes.Buffer
		if err := run(t.Context(), o, &out, io.Discard); err != nil {
			return 0, err
		}
		var doc struct{ Strategies []struct{ CarbonKg float64 } }
		if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
			t.Fatal(err)
		}
		return doc.Strategies[0].CarbonKg, nil
	}
	// n1 draws 60 + 340/2 W for an hour, the others 60 W; then all 60 W until what arrives may have ended: a tenth of an hour.
	const busy, idle, after = 0.230, 0.060, 0.1
	if _, err := do(func(o *options) {
		o.sites, o.nodes = sitesOfNodes, write("none.csv", "name,cpu,mem,site_id\nn7,16,64,s\n")
	}); err == nil || !strings.Contains(err.Error(), `"n7" has no ci_profile`) {
		t.Errorf("nodes without profiles: %v", err)
	}
	for what, c := range map[string]struct {
		f    func(o *options)
		want float64
	}{
		"nodes alone":  {func(o *options) { o.sites = sitesOfNodes }, 0.5*busy + 0.1*idle + 0.05*idle + after*idle*(0.5+0.1+0.05)},
		"with a file":  {func(o *options) { o.sites = sites }, 3 * (0.5*busy + 0.1*idle + after*idle*(0.5+0.1))},
		"one profile":  {func(o *options) { o.sites, o.nodes = sitesOfNodes, write("one.csv", "n1,16,64,static:500,s,400\n") }, 0.5 * (busy + after*idle)},
		"other notion": {func(o *options) { o.sites, o.nodes = sites, write("two.csv", "n1,16,64,static:500,s,400\n") }, 3 * 0.5 * (busy + after*idle)},
	} {
		got, err := do(c.f)
		if what == "with a file" {
			c.want += 0.05*idle + after*idle*0.05 // n3 is at no site
		}
		if err != nil || math.Abs(got-c.want) > 1e-9 {
			t.Errorf("%s: %v kg, %v; want %v", what, got, err, c.want)
		}
	}
	for want, f := range map[string]func(o *options){
		"-nodes embedded:2: these servers have no ci_profile": func(o *options) { o.sites, o.nodes = sitesOfNodes, "embedded:2" },
		"": func(o *options) { o.sites = write("other.csv", "q,1.5,2,FR\n") },
	} {
		if _, err := do(f); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("sites that no node tells of: %v, want %q", err, want)
		}
	}
}

// TestSites: over three made-up grids the planner over site and time emits the least, meets every deadline, and the oracle's share is told.
func TestSites(t *testing.T) {
	o := small()
	o.sites, o.objective, o.slack, o.off, o.strategies = "embedded", "grams", 24*time.Hour, true, "leastwatt,threshold,spacetime"
	var out bytes.Buffer
	o.asJSON = true
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	var doc struct {
		Strategies []struct {
			Name              string
			CarbonKg          float64
			OracleShare       *float64 // of every strategy, also where it is 0
			MissedDeadlines   int
			Unplaced, Waiting int
		}
		Oracle *optimum
	}
	if err := json.Unmarshal(out.Bytes(), &doc); err != nil {
		t.Fatal(err)
	}
	if x := doc.Oracle; x == nil || !(x.CarbonKg > 0 && x.CarbonKg < x.PlaceKg && x.PlaceKg < x.AtOnceKg && x.PlaceShare > 0 && x.PlaceShare < 1) {
		t.Errorf("the oracle is %+v", x)
	}
	s := doc.Strategies
	if len(s) != 3 || s[2].Name != "spacetime" {
		t.Fatalf("%+v", s)
	}
	if s[2].CarbonKg >= s[0].CarbonKg || s[2].CarbonKg >= s[1].CarbonKg {
		t.Errorf("spacetime emits %v kg, leastwatt %v, threshold %v", s[2].CarbonKg, s[0].CarbonKg, s[1].CarbonKg)
	}
	if a, b := s[0].OracleShare, s[2].OracleShare; a == nil || b == nil {
		t.Errorf("no share of the oracle: %+v", s)
	} else if *a != 0 || !(*b > 0.8) {
		t.Errorf("shares of the oracle: %v at once, %v planned", *a, *b)
	}
	for _, x := range s {
		if x.MissedDeadlines+x.Unplaced+x.Waiting > 0 {
			t.Errorf("%+v: work is late or lost", x)
		}
	}
}

// TestMoney: by prices that fall below 0 at noon in one zone, and are told in two currencies, the planner pays the least, is told in money, and a price of carbon
// moves work to the clean zone.
func TestMoney(t *testing.T) {
	prices, carbon := new(strings.Builder), new(strings.Builder)
	fmt.Fprintln(prices, "t,sunny (EUR/MWh),even (CHF/MWh)")
	fmt.Fprintln(carbon, "t,sunny,even")
	start := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	for h := range 60 * 24 {
		at := start.Add(time.Duration(h) * time.Hour).Format(time.RFC3339)
		fmt.Fprintf(prices, "%s,%.2f,%d\n", at, 80+100*math.Cos(2*math.Pi*float64(h%24)/24), 100)
		fmt.Fprintf(carbon, "%s,800,20\n", at)
	}
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	o := small()
	o.objective, o.slack, o.off, o.strategies = "money", 24*time.Hour, true, "leastwatt,threshold,spacetime"
	o.prices, o.carbon, o.rates = write("p.csv", prices.String()), write("c.csv", carbon.String()), "EUR=1,CHF=1.05"
	type row struct {
		Name                        string
		CarbonKg, Cost, OracleShare float64
		MissedDeadlines, Unplaced   int
	}
	paid := func() (string, []row, *optimum) {
		var table, doc bytes.Buffer
		o.asJSON = false
		if err := run(t.Context(), o, &table, io.Discard); err != nil {
			t.Fatal(err)
		}
		o.asJSON = true
		if err := run(t.Context(), o, &doc, io.Discard); err != nil {
			t.Fatal(err)
		}
		var d struct {
			Strategies []row
			Oracle     *optimum
		}
		if err := json.Unmarshal(doc.Bytes(), &d); err != nil {
			t.Fatal(err)
		}
		return table.String(), d.Strategies, d.Oracle
	}
	table, s, oracle := paid()
	if s[2].Cost >= s[0].Cost || s[2].Cost >= s[1].Cost || s[2].OracleShare < 0.8 || s[2].MissedDeadlines+s[2].Unplaced > 0 {
		t.Errorf("costs: %+v", s)
	}
	if oracle == nil || !(oracle.Cost < oracle.PlaceCost && oracle.PlaceCost < oracle.AtOnceCost) {
		t.Errorf("the oracle is %+v", oracle)
	}
	if want := fmt.Sprintf("(%.2f EUR instead of %.2f)", oracle.Cost, oracle.AtOnceCost); !strings.Contains(table, want) || !strings.Contains(table, "sunny EUR") {
		t.Errorf("%s\n\tdoes not tell %s", table, want)
	}
	o.carbonPrice = 1000
	if _, dear, _ := paid(); dear[2].CarbonKg > 0.2*s[2].CarbonKg {
		t.Errorf("with a price of carbon %v kg are emitted, without %v", dear[2].CarbonKg, s[2].CarbonKg)
	}
}

// runJSON runs what options say and decodes the answer.
func runJSON(t *testing.T, o *options, doc any) {
	t.Helper()
	var out bytes.Buffer
	o.asJSON = true
	if err := run(t.Context(), o, &out, io.Discard); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(out.Bytes(), doc); err != nil {
		t.Fatal(err)
	}
}

// TestThreshold: under a threshold above all that the grids cost nothing waits, under one that they never reach work waits for its latest start, and 0 lies
// in between.
func TestThreshold(t *testing.T) {
	wait := func(limit float64) float64 {
		o := small()
		o.sites, o.objective, o.slack, o.strategies, o.threshold = "embedded", "grams", 24*time.Hour, "threshold", limit
		var doc struct {
			Strategies []struct {
				MeanWaitSeconds float64
				MissedDeadlines int
			}
		}
		runJSON(t, o, &doc)
		if s := doc.Strategies[0]; s.MissedDeadlines > 0 {
			t.Errorf("a threshold of %v: %d jobs are late", limit, s.MissedDeadlines)
		}
		return doc.Strategies[0].MeanWaitSeconds
	}
	for limit, want := range map[float64]string{math.NaN(): "-threshold NaN", 100: "-threshold 100: it is what the grid costs"} {
		o := small()
		o.threshold = limit
		if err := run(t.Context(), o, io.Discard, io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("without a grid: %v, want %s", err, want)
		}
	}
	never, some, always := wait(1e9), wait(0), wait(1e-9)
	if never != 0 || !(some < always) || always < 12*3600 {
		t.Errorf("jobs wait %v s under a high threshold, %v s under the forecast's mean, %v s under a low one", never, some, always)
	}
}

// TestPublishedCarbon: on the grids of three years the planner reaches most of what a perfect forecast would save, more than a threshold, and
// misses no deadline.
func TestPublishedCarbon(t *testing.T) {
	dir := filepath.Join("..", "..", "..", "shared", "data", "carbon")
	if _, err := os.Stat(dir); err != nil {
		t.Skipf("the carbon data are not here: %v", err)
	}
	sites := filepath.Join(t.TempDir(), "sites.csv")
	if err := os.WriteFile(sites, []byte("id,PUE,k,ci_region\nontario,1.1,1,CA-ON\nbritain,1.2,1,GB\ncalifornia,1.15,1,US-CAL-CISO\ntexas,1.3,1,US-TEX-ERCO\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, year := range []string{"2021", "2022", "2023"} {
		o := small()
		o.sites = sites
		o.carbon, o.objective, o.slack, o.off, o.strategies = filepath.Join(dir, "electricitymaps_lca_hourly_"+year+".csv"), "grams", 24*time.Hour, true, "threshold,spacetime"
		o.nodes = "embedded:12"
		var doc struct {
			Strategies []struct {
				Name                               string
				OracleShare                        float64
				MissedDeadlines, Unplaced, Waiting int
			}
		}
		runJSON(t, o, &doc)
		threshold, planned := doc.Strategies[0], doc.Strategies[1]
		t.Logf("%s: threshold %.3f, spacetime %.3f of the oracle", year, threshold.OracleShare, planned.OracleShare)
		if planned.OracleShare < threshold.OracleShare || planned.OracleShare < 0.85 {
			t.Errorf("%s: spacetime reaches %.3f of the oracle's saving, threshold %.3f", year, planned.OracleShare, threshold.OracleShare)
		}
		if planned.MissedDeadlines+planned.Unplaced+planned.Waiting > 0 {
			t.Errorf("%s: work is late or lost: %+v", year, planned)
		}
	}
}

// TestSeries: a gap is unknown to strategies and paid at the last known value; currencies do not mix.
func TestSeries(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	g := gridOptions{objective: "grams", start: "2023-01-01T01:00:00Z",
		carbon: write("c.csv", "datetime_utc,A\n2023-01-01T00:00:00Z,100\n2023-01-01T01:00:00Z,200\n2023-01-01T02:00:00Z,\n2023-01-01T03:00:00Z,400\n")}
	if err := g.load(1, "embedded:1"); err != nil {
		t.Fatal(err)
	}
	if got := g.world.simulated(2 * time.Hour)[0].Intensity; !slices.Equal(got, []float64{200, 200, 400}) {
		t.Errorf("paid at %v", got)
	}
	ahead := g.newOutlook(true).Ahead(nil, "A", 0, 4)
	if len(ahead) != 4 || ahead[0] != 200 || !math.IsNaN(ahead[1]) || ahead[2] != 400 || !math.IsNaN(ahead[3]) {
		t.Errorf("told %v", ahead)
	}
	// Quarters and halves of an hour, as NESO and markets tell them, are paid at their mean; half an hour that is not known counts as the other.
	g = gridOptions{objective: "grams", start: "2023-01-01T00:00:00Z", carbon: write("h.csv",
		"datetime_utc,A\n2023-01-01T00:00:00Z,100\n2023-01-01T00:30:00Z,300\n2023-01-01T01:00:00Z,500\n2023-01-01T01:30:00Z,\n2023-01-01T02:00:00Z,\n2023-01-01T02:15:00Z,10\n2023-01-01T02:30:00Z,20\n2023-01-01T02:45:00Z,60\n2023-01-01T03:00:00Z,7\n")}
	if err := g.load(1, "embedded:1"); err != nil {
		t.Fatal(err)
	}
	if got := g.world.simulated(3 * time.Hour)[0].Intensity; !slices.Equal(got, []float64{200, 500, 30, 7}) {
		t.Errorf("by half-hours paid at %v, want the means of the hours", got)
	}
	for what, c := range map[string]struct {
		g    gridOptions
		want string
	}{
		"zone":       {gridOptions{objective: "grams", carbon: g.carbon, sites: write("s.csv", "id,PUE,k,ci_region\nx,1.2,1,B\n")}, `no zone "B"`},
		"currencies": {gridOptions{objective: "money", prices: write("p.csv", "t,A (EUR/MWh),B (USD/MWh)\n2023-01-01T00:00:00Z,1,2\n")}, "-rates"},
		"sites":      {gridOptions{objective: "grams", sites: filepath.Join(dir, "none.csv")}, "-sites: open"},
		"objective":  {gridOptions{objective: "smiles", carbon: g.carbon}, "grams or money"},
		"start":      {gridOptions{objective: "grams", carbon: g.carbon, start: "2024-01-01T00:00:00Z"}, "the series go from"},
		"text":       {gridOptions{objective: "grams", carbon: write("t.csv", "t,A\n2023-01-01T00:00:00Z,many\n")}, "t.csv:2"},
	} {
		if err := c.g.load(1, "embedded:1"); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error is %v, want %q", what, err, c.want)
		}
	}
}
