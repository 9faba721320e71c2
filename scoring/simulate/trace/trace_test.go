package trace

import (
	"compress/gzip"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/leastwatt/leastwatt/scoring/batch"
	"github.com/leastwatt/leastwatt/scoring/simulate"
)

func read(t *testing.T, format, text string) *Result {
	t.Helper()
	r, err := Read(format, "file", strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestOpenb(t *testing.T) {
	got := read(t, "openb", `name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec,qos,pod_phase,creation_time,deletion_time,scheduled_time
p1,12000,16384,2,500,,LS,Running,100,1000,200
p2,500,1024,0,0,,BE,Pending,40,60,
p3,500,1024,0,0,,BE,Succeeded,40,60,50
`)
	want := []simulate.Job{
		{Name: "p3", Arrival: 0, Duration: 10 * time.Second, Requests: batch.Resources{CPU: 0.5, Memory: 1 << 30}, Class: "BE/500/0"},
		{Name: "p1", Arrival: 60 * time.Second, Duration: 800 * time.Second, Requests: batch.Resources{CPU: 12, Memory: 16 << 30, GPU: 1}, Class: "LS/12000/2"},
	}
	if diff := cmp.Diff(want, got.Jobs); diff != "" || got.Skipped != 1 {
		t.Errorf("skipped %d: %s", got.Skipped, diff)
	}
}

func TestTextFormats(t *testing.T) {
	for format, c := range map[string]struct {
		text string
		want simulate.Job
	}{
		"ecsched": {"1 88 34 7 1\n", simulate.Job{Name: "1", Duration: 34 * time.Second, Requests: batch.Resources{CPU: 7, Memory: 1 << 30}}},
		"swf": {"; Version: 2.2\n 1 0 308434 31405 30 15702.5 -1 60 37980 512 1 9 1 1 -1 -1 1 -1 -1\n 2 0 0 -1 30 1 -1 60 1 -1 0 9 1 1 -1 -1 1 -1\n",
			simulate.Job{Name: "job-1", Duration: 31405 * time.Second, Requests: batch.Resources{CPU: 60, Memory: 512 * 1024 * 60}, Use: 0.5, Class: "user-9"}},
		"batch":       {"arrival_time,length,cpus\n3.5,10,2\n", simulate.Job{Name: "job-1", Duration: 10 * time.Second, Requests: batch.Resources{CPU: 2}}},
		"batch-hours": {"arrival_time,length,cpus\n3.5,0.5,2\n", simulate.Job{Name: "job-1", Duration: 30 * time.Minute, Requests: batch.Resources{CPU: 2}}},
		"kubeenergyscheduler": {"id,submit,cpu,mem,duration,tag\na,2025-01-02T03:04:05Z,2,4,60,web\n",
			simulate.Job{Name: "a", Duration: time.Minute, Requests: batch.Resources{CPU: 2, Memory: 4 << 30}, Class: "web"}},
		"planetlab": {"10,20,30\n", simulate.Job{Name: "vm-0001", Duration: 15 * time.Minute, Requests: batch.Resources{CPU: 1},
			Profile: []float32{0.1, 0.2, 0.3}, Step: 5 * time.Minute, Class: "vm"}},
	} {
		got := read(t, format, c.text)
		if diff := cmp.Diff([]simulate.Job{c.want}, got.Jobs); diff != "" {
			t.Errorf("%s: %s", format, diff)
		}
		if empty := read(t, format, ""); len(empty.Jobs) != 0 {
			t.Errorf("%s: an empty file has jobs", format)
		}
	}
	if !slices.IsSorted(Formats()) {
		t.Error("formats are not sorted")
	}
}

func TestSURF(t *testing.T) {
	tasks := "id,submission_time,duration,cpu_count,cpu_capacity,mem_capacity\n7,1000,1200000,16,33600,100\n8,2000,600000,1,0,1\n"
	parts := "id,duration_ms,cpu_usage_mhz\n7,600000,16800\n7,600000,99999\n"
	got, err := SURF("tasks", strings.NewReader(tasks), "parts", strings.NewReader(parts))
	if err != nil {
		t.Fatal(err)
	}
	want := []simulate.Job{
		{Name: "7", Duration: 20 * time.Minute, Requests: batch.Resources{CPU: 16, Memory: 1e8}, Profile: []float32{0.5, 1}, Step: 10 * time.Minute},
		{Name: "8", Arrival: time.Second, Duration: 10 * time.Minute, Requests: batch.Resources{CPU: 1, Memory: 1e6}},
	}
	if diff := cmp.Diff(want, got.Jobs); diff != "" {
		t.Error(diff)
	}
	if s := Sized(got.Jobs); s[0].Requests.CPU != 12 || s[0].Profile != nil || got.Jobs[0].Profile == nil {
		t.Errorf("sized: %+v", s[0])
	}
	head := "id,duration_ms,cpu_usage_mhz\n"
	for text, column := range map[string]int{"9,1,1\n": 1, "7,0,1\n": 3, "7,1e-9,1\n": 3, "7,1e300,1\n": 3, "7,1,-1\n": 5, "7,NaN,1\n": 3, "7,2,1\n7,1,1\n7,1,1\n": 3} {
		_, err := SURF("tasks", strings.NewReader(tasks), "parts", strings.NewReader(head+text))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.File != "parts" || e.Line != 1+strings.Count(text, "\n") || e.Column != column {
			t.Errorf("%q: %v, want column %d", text, err, column)
		}
	}
	// The last fragment may be of another length.
	got, err = SURF("tasks", strings.NewReader(tasks), "parts", strings.NewReader(head+"7,0.5,16800\n7,0.5,33600\n7,0.1,0\n"))
	if err != nil || got.Jobs[0].Step != 500*time.Microsecond || len(got.Jobs[0].Profile) != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestPlanetLabMachine: a file for each machine, a value a line.
func TestPlanetLabMachine(t *testing.T) {
	got, err := PlanetLabMachine("20110303/host_1", strings.NewReader("10\n20\n\n50\n"), 2)
	if err != nil {
		t.Fatal(err)
	}
	want := simulate.Job{Name: "host_1", Duration: 15 * time.Minute, Requests: batch.Resources{CPU: 2}, Profile: []float32{0.1, 0.2, 0.5}, Step: 5 * time.Minute, Class: "vm"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	for text, line := range map[string]int{"": 1, "10\n-1\n": 2, "10\n20\nlots\n": 3} {
		_, err := PlanetLabMachine("host_1", strings.NewReader(text), 2)
		if e, ok := errors.AsType[*Error](err); !ok || e.Line != line || e.File != "host_1" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestErrorsSayWhere: file, line and column of what is wrong.
func TestErrorsSayWhere(t *testing.T) {
	for _, c := range []struct {
		format, text string
		line, column int
	}{
		{"batch", "arrival_time,length,cpus\n1,2,3\n1,x,3\n", 3, 3},
		{"batch", "arrival_time,length,cpus\n1,-2,3\n", 2, 3},
		{"batch", "arrival_time,length,cpus\n-1,2,3\n", 2, 1},
		{"batch", "arrival_time,length,cpus\n1,2,NaN\n", 2, 5},
		{"batch", "arrival_time,length,cpus\n1\n", 2, 0},
		{"batch", "arrival,length,cpus\n", 1, 0},
		{"batch", "arrival_time,length,cpus\n1e300,2,3\n", 2, 1},
		{"batch", "arrival_time,length,cpus\n\"1,2,3\n", 2, 8},
		{"ecsched", "1 2 3 4 5\n1 2 -3 4 5\n", 2, 3},
		{"ecsched", "1 2 3\n", 1, 0},
		{"swf", "1 2 3\n", 1, 0},
		{"swf", "1 0 1 1 1 1 1 q 1 1 1 1 1 1 1 1 1 1\n", 1, 8},
		{"planetlab", "1,2\n1,101\n", 2, 2},
		{"kubeenergyscheduler", "id,submit,cpu,mem,duration,tag\na,yesterday,2,4,60,web\n", 2, 3},
		{"openb", "name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,creation_time,deletion_time,scheduled_time\np,1,1,0,0,LS,5,3,5\n", 2, 16},
	} {
		_, err := Read(c.format, "some.csv", strings.NewReader(c.text))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.File != "some.csv" || e.Line != c.line || e.Column != c.column {
			t.Errorf("%s %q: error %v, want line %d, column %d", c.format, c.text, err, c.line, c.column)
		}
	}
	if _, err := Read("tea leaves", "f", strings.NewReader("")); err == nil || !strings.Contains(err.Error(), "openb") {
		t.Errorf("error %v does not say what there is", err)
	}
}

// shared finds the folder of public data beside the repository, or skips the test.
func shared(t *testing.T, path ...string) io.Reader {
	t.Helper()
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	for _, up := range []string{"..", "../.."} {
		name := filepath.Join(append([]string{dir, up, "shared", "data"}, path...)...)
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = f.Close() })
		if !strings.HasSuffix(name, ".gz") {
			return f
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(err)
		}
		return z
	}
	t.Skipf("the data file %s is not in ../shared/data", filepath.Join(path...))
	return nil
}

// TestPublishedFiles reads the published traces whole.
func TestPublishedFiles(t *testing.T) {
	for _, c := range []struct {
		format string
		path   []string
		jobs   int
	}{
		{"openb", []string{"openb", "openb_pod_list_default.csv"}, 8152},
		{"batch", []string{"jobs", "pai_1k.csv"}, 1000},
		{"batch-hours", []string{"jobs", "azure-100k.csv.gz"}, 99988},
		{"ecsched", []string{"ecsched", "gtrace_input.txt"}, 85},
		{"swf", []string{"swf", "hpc2n_sample_alea.swf"}, 3184},
		{"planetlab", []string{"planetlab", "planetlab_20110303.csv.gz"}, 1052},
	} {
		t.Run(c.format, func(t *testing.T) {
			r, err := Read(c.format, c.path[len(c.path)-1], shared(t, c.path...))
			if err != nil {
				t.Fatal(err)
			}
			if n := len(r.Jobs) + r.Skipped; n < c.jobs*99/100 || n > c.jobs*101/100 || len(r.Jobs) == 0 {
				t.Errorf("%d jobs and %d skipped of about %d", len(r.Jobs), r.Skipped, c.jobs)
			}
			for i := range r.Jobs {
				if err := r.Jobs[i].Validate(); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
	t.Run("surf", func(t *testing.T) {
		r, err := SURF("tasks", shared(t, "surf", "surf_week_tasks.csv.gz"), "fragments", shared(t, "surf", "surf_week_fragments_10min.csv.gz"))
		if err != nil || len(r.Jobs) != 6295 {
			t.Fatalf("%v", err)
		}
	})
	t.Run("openb nodes", func(t *testing.T) {
		n, err := OpenbNodes("nodes", shared(t, "openb", "openb_node_list_all_node.csv"))
		if err != nil || len(n) != 1523 {
			t.Fatalf("%d nodes, %v", len(n), err)
		}
	})
}

// FuzzSURF reads two foreign files together: it ends, and what it returns is valid.
func FuzzSURF(f *testing.F) {
	f.Add("id,submission_time,duration,cpu_count,cpu_capacity,mem_capacity\n7,1000,1200000,16,33600,100\n8,2000,600000,1,0,1\n",
		"id,duration_ms,cpu_usage_mhz\n7,600000,16800\n7,600000,99999\n8,0.5,1\n")
	f.Fuzz(func(t *testing.T, tasks, parts string) {
		res, err := SURF("tasks", strings.NewReader(tasks), "parts", strings.NewReader(parts))
		if err != nil {
			return
		}
		for _, jobs := range [][]simulate.Job{res.Jobs, Sized(res.Jobs)} {
			for i := range jobs {
				if err := jobs[i].Validate(); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

// FuzzNodes reads foreign lists of nodes and sites: it ends, and the numbers are finite.
func FuzzNodes(f *testing.F) {
	f.Add("sn,cpu_milli,memory_mib,gpu,model\nn,64000,262144,2,P100\n")
	f.Add("name,cpu,mem,ci_profile,site_id,peak_power_w\na,16,64,sine:300:100:86400,s1,400\nb,8,32,randwalk:1:2:3\n")
	f.Add("id,PUE,k,ci_region\ns1,1.2,1,DE\n")
	f.Fuzz(func(t *testing.T, text string) {
		nodes, _ := OpenbNodes("f", strings.NewReader(text))
		for i := range nodes {
			if err := nodes[i].Allocatable.Validate(); err != nil {
				t.Fatal(err)
			}
		}
		rows, _ := KubeEnergyNodes("f", strings.NewReader(text))
		for i := range rows {
			r := batch.Resources{CPU: rows[i].Cores, Memory: rows[i].Memory, GPU: rows[i].Intensity.At(time.Hour, 1)}
			if err := r.Validate(); err != nil {
				t.Fatal(err)
			}
			if _, err := rows[i].Model(); err != nil {
				t.Fatal(err)
			}
		}
		sites, _ := KubeEnergySites("f", strings.NewReader(text))
		for _, s := range sites {
			if !(s.PUE >= 1 && s.K >= 0) {
				t.Fatalf("%+v", s)
			}
		}
	})
}

func FuzzRead(f *testing.F) {
	for i := range Formats() {
		f.Add(uint8(i), "arrival_time,length,cpus\n1,2,3\n")
		f.Add(uint8(i), "1 88 34 7 1\n")
		f.Add(uint8(i), "name,cpu_milli,memory_mib,num_gpu,gpu_milli,qos,creation_time,deletion_time,scheduled_time\np,1,1,0,0,LS,5,8,5\n")
		f.Add(uint8(i), "id,submit,cpu,mem,duration,tag\na,2025-01-02T03:04:05Z,2,4,60,web\n")
		f.Add(uint8(i), "x,s1,d1,300,3900,91.77,25,20.8,Interactive,>24,32\n")
		f.Add(uint8(i), "0,,7,0,,0,u,2,9,0.5,0.25,0,\n1,,7,0,m,1,u,2,9,0.5,0.25,0,\n2,,7,0,m,4,u,2,9,0.5,0.25,0,\n")
		f.Add(uint8(i), "1 0 308434 31405 30 15702.5 -1 60 37980 512 1 9 1 1 -1 -1 1 -1\n")
	}
	f.Fuzz(func(t *testing.T, k uint8, text string) {
		r, err := Read(Formats()[int(k)%len(Formats())], "f", strings.NewReader(text))
		if err != nil {
			return
		}
		var last time.Duration
		for i := range r.Jobs {
			if err := r.Jobs[i].Validate(); err != nil || r.Jobs[i].Arrival < last {
				t.Fatalf("%+v: %v", r.Jobs[i], err)
			}
			last = r.Jobs[i].Arrival
		}
	})
}
