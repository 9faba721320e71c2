package main

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/leastwatt/leastwatt/examples/internal/gridsource"
)

var noon = time.Date(2024, 6, 3, 12, 0, 0, 0, time.UTC)

// The same job in JSON, alone or in a list, and in KubeEnergyScheduler's CSV is the same job.
func TestFormatsAgree(t *testing.T) {
	want, err := parseJobs([]byte(`{"id":"a","submit":"2024-01-01T00:00:00Z","cpu":2,"mem":4,"duration":60,"tag":"web"}`), noon)
	if err != nil {
		t.Fatal(err)
	}
	if j := want[0]; j.CPU != 2 || j.Memory != 4<<30 || j.Duration != time.Minute || !j.Submitted.Equal(noon) || j.State != Queued {
		t.Errorf("%+v", j)
	}
	list, err := parseJobs([]byte(` [{"id":"a","cpu":2,"mem":4,"duration":60,"tag":"web"}]`), noon)
	if err != nil {
		t.Fatal(err)
	}
	table, err := parseCSV([]byte("id,submit,cpu,mem,duration,tag\na,2024-01-01T00:00:00Z,2,4,60,web\n"), noon)
	if err != nil {
		t.Fatal(err)
	}
	sheet, err := parseCSV([]byte("\ufeff\"id\",submit,cpu,mem,duration,tag\r\n\"a\",2024-01-01T00:00:00Z, 2 ,4,\"60\",web\r\n\r\n"), noon)
	if err != nil {
		t.Fatal(err)
	}
	if pausing, err := parseJobs([]byte(`{"id":"a","cpu":2,"mem":4,"duration":60,"tag":"web","suspendable":true}`), noon); err != nil || !pausing[0].Suspendable {
		t.Errorf("%+v, %v", pausing, err)
	}
	pausing, err := parseCSV([]byte("id,cpu,mem,duration,suspendable\na,2,4,60,true\nb,2,4,60,\nc,2,4,60,0\n"), noon)
	if err != nil || !pausing[0].Suspendable || pausing[1].Suspendable || pausing[2].Suspendable {
		t.Errorf("%+v, %v", pausing, err)
	}
	for _, got := range [][]*Job{list, table, sheet} {
		if d := cmp.Diff(want, got, cmpopts.EquateNaNs()); d != "" {
			t.Error(d)
		}
	}
}

// What is wrong is refused whole, with the place.
func TestBadJobs(t *testing.T) {
	for body, want := range map[string]string{
		`{`:                                  "json",
		`[]`:                                 "0 jobs",
		`{"cpu":0,"duration":60}`:            "cpu 0",
		`{"cpu":1e9,"duration":60}`:          "cpu",
		`{"cpu":1,"duration":0}`:             "duration 0",
		`{"cpu":1,"duration":1e300}`:         "duration",
		`{"cpu":1,"duration":60,"mem":-1}`:   "mem -1",
		`{"cpu":1,"duration":60,"id":"A_b"}`: "id",
		`{"cpu":1,"duration":60,"cpus":3}`:   `unknown field "cpus"`,
		`{"cpu":1,"duration":60} {}`:         "follows",
		`[{"cpu":1,"duration":60},{"cpu":-1,"duration":60}]`:        "job 1: cpu -1",
		`{"cpu":1,"duration":60,"deadline":"0001-01-01T00:00:00Z"}`: "deadline",
		``:                            "json: the body is empty",
		`{"cpu":1e400,"duration":60}`: `field "cpu": 1e400 is too large`,
		`[{"cpu":1,"duration":60,"deadline":"tomorrow"}]`:                 `json: job 0: time "tomorrow": want RFC 3339`,
		`{"cpu":1,"duration":60,"deadline":"2024-06-04T00:00:00"}`:        "want RFC 3339",
		`{"cpu":1,"duration":60,"tag":"a\u0000b"}`:                        "control",
		`[{"cpu":1,"duration":60},{"cpu":1,"duration":60,"node":"n1"}]`:   `job 1: field "node"`,
		`{"cpu":1,"duration":60,"state":"done"}`:                          `field "state"`,
		`{"cpu":1,"duration":60,"tag":"` + strings.Repeat("x", 51) + `"}`: "tag",
	} {
		if _, err := parseJobs([]byte(body), noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v: want %q", body, err, want)
		}
	}
	for body, want := range map[string]string{
		"":                                            "csv: the body is empty",
		"id,cpu,duration,tag\na,1,60,\xff\n":          "line 2: tag",
		"id,cpus\n":                                   "line 1",
		"id,cpu,duration\na,2,60\nb,two,60\n":         `line 3: cpu "two"`,
		"id,cpu,duration\na,2,60\nb,2\n":              "csv",
		"id,cpu,duration\na,NaN,60\n":                 "line 2: cpu NaN",
		"id,cpu,duration,submit\na,1,60,x\n":          "RFC 3339",
		"id,cpu,cpu,duration\na,1,2,60\n":             "twice",
		"id,cpu,duration,suspendable\na,1,60,maybe\n": `suspendable "maybe"`,
	} {
		if _, err := parseCSV([]byte(body), noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v: want %q", body, err, want)
		}
	}
}

// A request takes no more memory than so many jobs do, whatever its body holds: 8 MiB of "{}," are almost three million jobs.
func TestManyJobsInOneRequest(t *testing.T) {
	body := []byte("[" + strings.Repeat("{},", maxBody/3-2) + "{}]")
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := parseJobs(body, noon)
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "more than 10000 jobs") {
		t.Errorf("error %v", err)
	}
	if used := after.TotalAlloc - before.TotalAlloc; used > 64<<20 {
		t.Errorf("%d bytes were allocated for a body of %d", used, len(body))
	}
	for body, want := range map[string]string{`[{"cpu":1,"duration":60},]`: "json: job 1", `[{"cpu":1,"duration":60}`: "json: job 1", `[{"cpu":"two"}]`: `json: job 0: field "cpu": want a number, not a value of type string`,
		`{"cpu":1,"duration":"10m"}`: `json: field "duration": want a number`, `[1]`: "json: job 0: want an object", `{"cpu":1,"duration":60,"priority":1.5}`: `field "priority": want a whole number`} {
		if _, err := parseJobs([]byte(body), noon); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v: want %q", body, err, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"id":"a","cpu":2,"mem":4,"duration":60,"tag":"web","deadline":"2024-06-04T00:00:00Z"}`))
	f.Add([]byte("id,submit,cpu,mem,duration,tag\na,2024-01-01T00:00:00Z,2,4,60,web\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for _, parse := range []func([]byte, time.Time) ([]*Job, error){parseJobs, parseCSV} {
			jobs, err := parse(b, noon)
			if err == nil && len(jobs) == 0 {
				t.Error("no job and no error")
			}
			for _, j := range jobs {
				if !(j.CPU > 0) || !(j.Memory >= 0) || j.Duration < time.Second || j.Duration > maxDuration || j.ID != "" && !label.MatchString(j.ID) {
					t.Errorf("%+v was accepted", j)
				}
			}
		}
	})
}

// The profiles of a node file are the grid where nobody names another one; a file without them leaves it to -grid, or to NESO.
func TestNodeFile(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	sites := write("sites.csv", "id,PUE,k,ci_region\nA,1.2,1,DE\n")
	with := write("with.csv", "# ours\nci_profile,name,cpu,mem,site_id,peak_power_w\n,a0,16,64,A,300\nstatic:200,a1,16,64,A,300\nstatic:300,a2,16,64,A,300\n")
	without := write("without.csv", "name,cpu,mem,site_id,peak_power_w\na1,16,64,A,300\n")
	for _, c := range []struct {
		nodes, grid string
		want        float64 // NaN: nothing is known of the zone
	}{{with, "", 200}, {with, "static:400", 400}, {without, "static:400", 400}, {without, "", math.NaN()}} {
		o := &options{nodes: c.nodes, sites: sites, grid: gridsource.Flags{Grid: c.grid, Default: "static:1"}}
		if math.IsNaN(c.want) {
			o.grid.Default = "" // which knows zone GB alone
		}
		machines, _, source, err := o.inventory(slog.New(slog.DiscardHandler))
		if err != nil || len(machines) == 0 || machines[0].Cores != 16 || machines[0].Curve == nil {
			t.Errorf("%s: %+v, %v", c.nodes, machines, err)
			continue
		}
		p, err := source.Current(t.Context(), "DE")
		if math.IsNaN(c.want) != (err != nil) || err == nil && p.Value != c.want {
			t.Errorf("%s with -grid %q: %v, %v, want %v", filepath.Base(c.nodes), c.grid, p.Value, err, c.want)
		}
	}
}
