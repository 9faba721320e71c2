package main

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// A process is the program itself, as its own process.
type process struct {
	cmd *exec.Cmd
	url string
}

// start runs the program on a folder and returns when it serves.
func start(t testing.TB, data string, args ...string) *process {
	t.Helper()
	nodes := filepath.Join(data, "nodes.csv")
	if err := os.WriteFile(nodes, []byte("name,cpu,mem,ci_profile,site_id,peak_power_w\nn1,64,512,sine:300:100:86400,s,400\nn2,64,512,sine:300:100:86400,s,300\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), os.Args[0], append([]string{"-listen", "127.0.0.1:0", "-data", data, "-nodes", nodes}, args...)...)
	cmd.Env = append(os.Environ(), "LEASTWATT_JOBS_MAIN=1")
	return begin(t, cmd)
}

// begin starts a process and returns when it serves.
func begin(t testing.TB, cmd *exec.Cmd) *process {
	t.Helper()
	var log bytes.Buffer
	cmd.Stderr = &log
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{cmd: cmd}
	t.Cleanup(p.kill)
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "serving http://") {
		t.Fatalf("the program said %q, %v: %s", line, err, log.String())
	}
	p.url = strings.TrimSuffix(strings.Fields(line)[1], ",")
	return p
}

// kill is kill -9: the process gets no chance to do anything.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	_ = p.cmd.Wait()
}

// Whatever was answered with 202 is there after kill -9, in the middle of load, again and again; no job is decided on twice, and the
// CSV file holds each decision once.
func TestKill(t *testing.T) {
	data := t.TempDir()
	rnd := rand.New(rand.NewPCG(3, 3))
	var mu sync.Mutex
	accepted := make(map[string]bool)
	const rounds = 4
	for round := range rounds {
		p := start(t, data, "-strategy", "leastwatt", "-tick", "5ms")
		var wg sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		begun := len(accepted)
		quota := 200 + rnd.IntN(300)
		for worker := range 8 {
			wg.Go(func() {
				for i := 0; ; i++ {
					id := fmt.Sprintf("r%d-w%d-%d", round, worker, i)
					if !postOne(p.url, fmt.Sprintf(`{"id":%q,"cpu":0.5,"mem":0.1,"duration":1}`, id)) {
						return // killed
					}
					mu.Lock()
					accepted[id] = true
					n := len(accepted)
					mu.Unlock()
					if n >= begun+quota {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		<-enough
		p.kill()
		wg.Wait()
	}
	p := start(t, data)
	c := client{t: t, url: p.url}
	until(t, "all jobs done", func() bool { s := c.status(); return s.Queued == 0 && s.Running == 0 })
	if failed := c.status().Failed; failed != 0 {
		t.Errorf("%d jobs failed", failed)
	}
	until(t, "decisions.csv complete", func() bool { return countLines(t, filepath.Join(data, "decisions.csv")) > c.status().Done })
	p.kill()

	db, err := sql.Open("sqlite", filepath.Join(data, "jobs.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	rows, err := db.QueryContext(t.Context(), "SELECT jobs.id, jobs.state, COUNT(decisions.JobID) FROM jobs LEFT JOIN decisions ON decisions.JobID = jobs.id GROUP BY 1, 2")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	all := 0
	for rows.Next() {
		var id, state string
		var n int
		if err := rows.Scan(&id, &state, &n); err != nil {
			t.Fatal(err)
		}
		if state != string(Done) || n != 1 {
			t.Errorf("job %s is %s with %d decisions", id, state, n)
		}
		delete(accepted, id)
		all++
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	if len(accepted) > 0 {
		t.Errorf("%d accepted jobs are lost", len(accepted))
	}
	if n := countLines(t, filepath.Join(data, "decisions.csv")); n != all+1 {
		t.Errorf("decisions.csv has %d lines for %d jobs", n, all)
	}
}

func countLines(t *testing.T, name string) int {
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("\n"))
}

func postOne(url, body string) bool {
	resp, err := http.Post(url+"/jobs", "application/json", strings.NewReader(body)) //nolint:noctx // the server is killed
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode == http.StatusAccepted
}

// A second process on the same folder would decide on the same jobs.
func TestOneProcess(t *testing.T) {
	data := t.TempDir()
	unlock, err := lock(data)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	o := &options{data: data}
	defaults(t, o)
	if err := run(t.Context(), o, io.Discard, nil); err == nil || !strings.Contains(err.Error(), "another process") {
		t.Errorf("a second process: %v", err)
	}
}

// A CSV file that a crash cut in the middle of a line goes on at the line before.
func TestCutLog(t *testing.T) {
	dir := t.TempDir()
	store, err := openStore(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { store.Run(ctx) })
	want := ""
	for cut := range 40 {
		if err := store.Do(t.Context(), func(tx *batchTx) error {
			return tx.sample(&Sample{Node: "n,\"1\"", Kind: "cpu_power_watts", Source: "s", Value: float64(cut), At: noon.Add(time.Duration(cut) * time.Second)})
		}); err != nil {
			t.Fatal(err)
		}
		l, err := openLog(store, dir, "samples", "Node", "Kind", "Value", "Source", "Timestamp")
		if err != nil {
			t.Fatal(err)
		}
		if err := l.flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		name := l.file.Name()
		if err := l.file.Close(); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(string(b), want) || bytes.Count(b, []byte("\n")) != cut+2 {
			t.Fatalf("after cut %d:\n%s", cut, b)
		}
		want = string(b[:max(0, len(b)-cut*3)])
		if err := os.Truncate(name, int64(len(want))); err != nil {
			t.Fatal(err)
		}
	}
}
