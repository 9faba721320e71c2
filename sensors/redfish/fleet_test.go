//go:build unix

package redfish_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/leastwatt/leastwatt/sensors"
	"github.com/leastwatt/leastwatt/sensors/redfish"
	"github.com/leastwatt/leastwatt/sensors/sensorstest/emulate"
)

// fleetEnv makes the test binary a fleet of emulated BMCs, so that they do not count as the poller's memory
// and CPU.
const fleetEnv = "LEASTWATT_TEST_FLEET"

const (
	fleetSize = 1000
	hanging   = 20 // every 20th hangs, another 20th answers 500
)

type fleet struct {
	URLs []string
	CA   []byte
}

func TestMain(m *testing.M) {
	if os.Getenv(fleetEnv) == "" {
		os.Exit(m.Run())
	}
	if err := serveFleet(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serveFleet writes where the BMCs are and serves them until stdin ends.
func serveFleet() error {
	a, err := emulate.NewAuthority()
	if err != nil {
		return err
	}
	f := fleet{CA: a.PEM()}
	for i := range fleetSize {
		bmc := emulate.NewBMC(machine, with(emulate.BMCOptions{Delay: 5 * time.Millisecond}))
		switch i % hanging {
		case 0:
			bmc.SetFault(emulate.Hang)
		case 1:
			bmc.SetFault(emulate.Fail500)
		}
		s, err := emulate.Listen(a, bmc)
		if err != nil {
			return err
		}
		f.URLs = append(f.URLs, s.URL)
	}
	if err := json.NewEncoder(os.Stdout).Encode(f); err != nil {
		return err
	}
	_, err = bufio.NewReader(os.Stdin).ReadByte()
	_ = err // the end of stdin is the end of the fleet
	return nil
}

func startFleet(b *testing.B) fleet {
	b.Helper()
	exe, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(exe)
	cmd.Env = append(os.Environ(), fleetEnv+"=1")
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		b.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		_ = in.Close()
		_ = cmd.Wait()
	})
	var f fleet
	if err := json.NewDecoder(out).Decode(&f); err != nil {
		b.Fatal(err)
	}
	return f
}

// BenchmarkThousandBMCs polls 1,000 BMCs over TLS every 10 s for half a minute. They answer after 5 ms; 5 % of
// them hang and 5 % fail. It reports how long a cold start takes until every healthy node has been read, the
// oldest healthy reading seen afterwards, and what the poller's process uses.
//
//	go test ./sensors/redfish -run '^$' -bench ThousandBMCs -benchtime 1x
func BenchmarkThousandBMCs(b *testing.B) {
	f := startFleet(b)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(f.CA)
	c := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	endpoints, healthy, all := map[string]redfish.Endpoint{}, []string{}, []string{}
	for i, url := range f.URLs {
		n := fmt.Sprintf("n%d", i)
		endpoints[n] = redfish.Endpoint{URL: url, User: user, Password: password, TLS: c}
		all = append(all, n)
		if i%hanging > 1 {
			healthy = append(healthy, n)
		}
	}
	for b.Loop() {
		runtime.GC()
		src := redfish.New(redfish.Nodes(endpoints), redfish.Options{})
		p := sensors.NewPoller(src, all, sensors.PollerOptions{})
		ctx, cancel := context.WithCancel(b.Context())
		var wg sync.WaitGroup
		wg.Go(func() { _ = p.Run(ctx) })

		start := time.Now()
		for missing := true; missing; time.Sleep(10 * time.Millisecond) {
			missing = false
			for _, n := range healthy {
				if _, ok := p.Snapshot().Node(n).Find(sensors.Power); !ok {
					missing = true
					break
				}
			}
			if time.Since(start) > time.Minute {
				b.Fatal("after a minute, a healthy BMC has not been read")
			}
		}
		cold := time.Since(start)

		var oldest time.Duration
		goroutines, before := 0, cpu(b)
		steady := time.Now()
		for time.Since(steady) < 30*time.Second {
			time.Sleep(100 * time.Millisecond)
			now := time.Now()
			for _, n := range healthy {
				for _, r := range p.Snapshot().Node(n).Readings {
					oldest = max(oldest, r.Age(now))
				}
			}
			goroutines = max(goroutines, runtime.NumGoroutine())
		}
		used := cpu(b) - before
		b.ReportMetric(cold.Seconds(), "cold-s")
		b.ReportMetric(oldest.Seconds(), "oldest-s")
		b.ReportMetric(used.Seconds()/time.Since(steady).Seconds(), "cores")
		b.ReportMetric(rss(b), "MB")
		b.ReportMetric(float64(goroutines), "goroutines")
		b.ReportMetric(float64(sockets(b)), "sockets")
		cancel()
		wg.Wait()
		if err := src.Close(b.Context()); err != nil {
			b.Error(err)
		}
	}
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// rss returns the largest resident set that the process has had, in megabytes.
func rss(b *testing.B) float64 {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	if runtime.GOOS == "darwin" {
		return float64(u.Maxrss) / 1e6
	}
	return float64(u.Maxrss) * 1024 / 1e6
}

// sockets counts open files that are sockets; 0 where /proc is not there.
func sockets(b *testing.B) int {
	b.Helper()
	files, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	n := 0
	for _, f := range files {
		if to, err := os.Readlink("/proc/self/fd/" + f.Name()); err == nil && len(to) > 7 && to[:7] == "socket:" {
			n++
		}
	}
	return n
}
