package endpoints_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	v1 "k8s.io/api/core/v1"
	"sigs.k8s.io/knftables"

	"github.com/leastwatt/leastwatt/balancing"
	"github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// told is a Weigher that says what it is told to, and when it did.
type told struct {
	mu   sync.Mutex
	load map[string]float64 // guarded by mu: of a Service's first endpoint, where it is not 1
	at   time.Time          // guarded by mu
}

func (w *told) Weigh(_ context.Context, services []balancing.Service) ([][]balancing.Share, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	out := make([][]balancing.Share, len(services))
	for i := range services {
		n := len(services[i].Endpoints)
		first := 1.0
		if v, ok := w.load[services[i].Name]; ok {
			first = v
		}
		out[i] = make([]balancing.Share, n)
		for j := range out[i] {
			out[i][j].Value = 1 / (first + float64(n-1))
		}
		out[i][0].Value *= first
	}
	w.at = time.Now()
	return out, nil
}

// ended tells of each Apply that changed something.
type ended struct {
	endpoints.Applier
	done chan time.Time
	fail chan error
}

func (e ended) Apply(ctx context.Context, services []nftables.Service) (nftables.Result, error) {
	r, err := e.Applier.Apply(ctx, services)
	switch {
	case err != nil:
		e.fail <- err
	case r.Changed != 1 && r.Changed != 1000:
		e.fail <- fmt.Errorf("%+v: want one Service changed", r)
	default:
		e.done <- time.Now()
	}
	return r, err
}

// generations returns when the kernel took rules of this thread's network namespace into force: it says so to whoever
// listens (NFNLGRP_NFTABLES, NFT_MSG_NEWGEN).
func generations() (<-chan time.Time, error) {
	s, err := syscall.Socket(syscall.AF_NETLINK, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.NETLINK_NETFILTER)
	if err != nil {
		return nil, err
	}
	if err := syscall.SetsockoptInt(s, syscall.SOL_SOCKET, syscall.SO_RCVBUFFORCE, 64<<20); err != nil {
		return nil, err
	}
	if err := syscall.Bind(s, &syscall.SockaddrNetlink{Family: syscall.AF_NETLINK, Groups: 1 << (7 - 1)}); err != nil {
		return nil, err
	}
	out := make(chan time.Time, 1024)
	go func() { // ends with the process
		b := make([]byte, 1<<20)
		for {
			n, _, err := syscall.Recvfrom(s, b, 0)
			if err != nil {
				close(out)
				return
			}
			now := time.Now()
			for m := b[:n]; len(m) >= 16; {
				size := int(binary.NativeEndian.Uint32(m)+3) &^ 3
				if binary.NativeEndian.Uint16(m[4:]) == 10<<8|15 {
					out <- now
				}
				m = m[min(max(size, 16), len(m)):]
			}
		}
	}()
	return out, nil
}

// inNamespace calls f on a thread with a network namespace of its own, which ends with it.
func inNamespace(b *testing.B, f func() error) {
	b.Helper()
	if os.Getuid() != 0 {
		b.Skip("real nft rules need root: run as root to measure them")
	}
	if _, err := exec.LookPath("nft"); err != nil {
		b.Skip("real nft rules need the program nft: apt-get install nftables")
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			done <- err
			return
		}
		done <- f()
	}()
	if err := <-done; err != nil {
		b.Fatal(err)
	}
}

// millis reports a sum of times as milliseconds an operation.
func millis(b *testing.B, sum time.Duration, what string) {
	b.ReportMetric(sum.Seconds()*1000/float64(b.N), what)
}

// BenchmarkChangeOneOf1000 measures the way of one Service's changed weights into the kernel with 1,000 Services of 20
// endpoints: from the weigher's answer until the rules are in force, and until the nft program has ended, which is when
// the kernel has cleared away the old ones. The floor is nft's own: one rule in the place of another, and nothing else there.
func BenchmarkChangeOneOf1000(b *testing.B) {
	b.Run("floor", func(b *testing.B) {
		inNamespace(b, func() error {
			generation, err := generations()
			if err != nil {
				return err
			}
			if out, err := exec.Command("nft", "add table ip x; add chain ip x y").CombinedOutput(); err != nil {
				return fmt.Errorf("%w: %s", err, out)
			}
			<-generation
			var force, end time.Duration
			for b.Loop() {
				began := time.Now()
				c := exec.Command("nft", "-f", "-")
				c.Stdin = strings.NewReader("flush chain ip x y\nadd rule ip x y accept\n")
				if out, err := c.CombinedOutput(); err != nil {
					return fmt.Errorf("%w: %s", err, out)
				}
				end += time.Since(began)
				force += (<-generation).Sub(began)
			}
			millis(b, force, "ms-in-force")
			millis(b, end, "ms-nft-ended")
			return nil
		})
	})
	b.Run("change", func(b *testing.B) {
		inNamespace(b, func() error { return changeOne(b) })
	})
}

// changeOne runs a proxier on this thread while another changes weights.
func changeOne(b *testing.B) error {
	generation, err := generations()
	if err != nil {
		return err
	}
	writer, err := nftables.Open(knftables.IPv4Family, nftables.Options{Count: true})
	if err != nil {
		return err
	}
	w := &told{load: make(map[string]float64)}
	a := ended{writer, make(chan time.Time), make(chan error)}
	p, err := endpoints.New(map[v1.IPFamily]endpoints.Applier{v1.IPv4Protocol: a}, endpoints.Options{View: site(b), Weigher: w, Pause: time.Nanosecond, Refresh: time.Hour})
	if err != nil {
		return err
	}
	thousand(p)
	ctx, cancel := context.WithCancel(b.Context())
	measured := make(chan error, 1)
	go func() {
		defer cancel()
		measured <- func() error {
			wait := func() (force, end time.Time, err error) {
				select {
				case end = <-a.done:
					return <-generation, end, nil
				case err = <-a.fail:
					return force, end, err
				}
			}
			if _, _, err := wait(); err != nil {
				return err
			}
			var force, end time.Duration
			for k := 0; b.Loop(); k++ {
				w.mu.Lock()
				w.load[fmt.Sprintf("IPv4 shop/s%d:http/tcp", k%1000)] = float64(2 + k/1000)
				w.mu.Unlock()
				p.Sync()
				inForce, ended, err := wait()
				if err != nil {
					return err
				}
				w.mu.Lock()
				force += inForce.Sub(w.at)
				end += ended.Sub(w.at)
				w.mu.Unlock()
			}
			millis(b, force, "ms-in-force")
			millis(b, end, "ms-nft-ended")
			return nil
		}()
	}()
	_ = p.Run(ctx)
	return <-measured
}
