package main

import (
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkAccept posts one job a request from 64 clients to the program as its own process. Every answer means a job on the disk. It
// reports jobs/s and how many jobs one commit held.
func BenchmarkAccept(b *testing.B) {
	p := start(b, b.TempDir(), "-strategy", SpaceTime)
	const clients = 64
	http.DefaultTransport.(*http.Transport).MaxIdleConnsPerHost = clients
	b.ResetTimer()
	began := time.Now()
	var next, failed atomic.Int64
	var wg sync.WaitGroup
	for range clients {
		wg.Go(func() {
			for {
				i := next.Add(1)
				if i > int64(b.N) {
					return
				}
				if !postOne(p.url, fmt.Sprintf(`{"id":"j%d","cpu":1,"mem":1,"duration":3600}`, i)) {
					failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "jobs/s")
	if failed.Load() > 0 {
		b.Errorf("%d requests failed", failed.Load())
	}
}

// fill queues jobs, a thousand a request.
func fill(t testing.TB, url string, n int) {
	for from := 0; from < n; from += 1000 {
		var body strings.Builder
		body.WriteString("id,submit,cpu,mem,duration,tag\n")
		for i := from; i < min(from+1000, n); i++ {
			fmt.Fprintf(&body, "j%d,2024-01-01T00:00:00Z,%d,1,%d,web\n", i, 1+i%8, 3600+i)
		}
		resp, err := http.Post(url+"/jobs", "text/csv", strings.NewReader(body.String()))
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			t.Fatalf("status %d", resp.StatusCode)
		}
	}
}

// BenchmarkQueue reports what 100,000 queued jobs take: the program's memory while it holds and plans them, and the time that it needs
// from kill -9 to serving again.
func BenchmarkQueue(b *testing.B) {
	const jobs = 100_000
	for range b.N {
		dir := b.TempDir()
		p := start(b, dir)
		fill(b, p.url, jobs)
		peak := memory(b, p, "VmHWM")
		p.kill()
		began := time.Now()
		p = start(b, dir)
		took := time.Since(began)
		time.Sleep(2 * time.Second) // a measurement while it plans
		b.ReportMetric(peak, "peak-MB")
		b.ReportMetric(memory(b, p, "VmRSS"), "restarted-MB")
		b.ReportMetric(took.Seconds(), "restart-s")
		p.kill()
	}
	b.ReportMetric(0, "ns/op")
}

// memory reads a line of the process' status in megabytes.
func memory(t testing.TB, p *process, name string) float64 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Skip("no /proc here")
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == name+":" {
			kB, err := strconv.ParseFloat(f[1], 64)
			if err != nil {
				t.Fatal(err)
			}
			return kB / 1000
		}
	}
	t.Fatalf("no %s", name)
	return 0
}

// 100,000 jobs are held in 300 MB: a bound on memory, which does not depend on how busy the machine is.
func TestQueueFitsIntoMemory(t *testing.T) {
	if testing.Short() {
		t.Skip("-short")
	}
	p := start(t, t.TempDir())
	fill(t, p.url, 100_000)
	c := client{t: t, url: p.url}
	if s := c.status(); s.Queued+s.Running != 100_000 {
		t.Errorf("%d jobs wait and %d run", s.Queued, s.Running)
	}
	if mb := memory(t, p, "VmHWM"); mb > 300 {
		t.Errorf("the program took %.0f MB", mb)
	}
}
