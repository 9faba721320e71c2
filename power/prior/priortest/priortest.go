// Package priortest gives tests the published servers beside the repository, each with a prior that has not seen
// its CPU, and loads as virtual machines have them. Where the data is absent its tests are skipped.
package priortest

import (
	"bufio"
	"compress/gzip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/prior"
)

// Shared returns the path of a data set beside the repository. It skips the test where that is absent, and with
// -short: an evaluation repeats on one goroutine what other tests show in parts, and takes minutes under -race.
func Shared(t testing.TB, path string) string {
	t.Helper()
	if testing.Short() {
		t.Skip("an evaluation on published data: not with -short")
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			break
		}
		if dir == filepath.Dir(dir) {
			t.Skip("not in the repository's workspace: no go.work above")
		}
	}
	// A worktree may lie one folder further down than the repository.
	for _, up := range []string{"..", "../.."} {
		if p := filepath.Join(dir, up, "shared", "data", path); fileExists(p) {
			return p
		}
	}
	t.Skipf("../shared/data/%s is not there: this test evaluates on published data that is not part of the repository", path)
	return ""
}

func fileExists(p string) bool { _, err := os.Stat(p); return err == nil }

// Published returns all published servers, or skips the test where the data is absent.
func Published(t testing.TB) []prior.Published {
	t.Helper()
	f, err := os.Open(Shared(t, "specpower/specpower_ssj2008_curves.csv"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, err := prior.ReadCSV(f)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// A Server is a published server and a prior that was fitted without its CPU.
type Server struct {
	prior.Published
	Prior *prior.Prior
}

const folds = 10

// HeldOut returns all published servers, in ten folds of which none shares a CPU with another, or skips the test
// where the data is absent.
func HeldOut(t testing.TB) []Server {
	t.Helper()
	servers := Published(t)
	fold := make(map[string]int)
	for i := range servers {
		k := prior.CPUModel(servers[i].CPU)
		if _, ok := fold[k]; !ok {
			fold[k] = len(fold) % folds
		}
	}
	out := make([]Server, 0, len(servers))
	for f := range folds {
		var train []prior.Published
		for i := range servers {
			if fold[prior.CPUModel(servers[i].CPU)] != f {
				train = append(train, servers[i])
			}
		}
		p, err := prior.Fit(train, prior.FitOptions{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range servers {
			if fold[prior.CPUModel(servers[i].CPU)] == f {
				out = append(out, Server{servers[i], p})
			}
		}
	}
	return out
}

// Curve returns the server's published curve.
func (s *Server) Curve(t testing.TB) *power.Piecewise {
	t.Helper()
	c, err := power.EvenPiecewise(s.Watts[:]...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Belief returns what the prior thinks of the server when only h is known of it.
func (s *Server) Belief(t testing.TB, h prior.Hardware) prior.Belief {
	t.Helper()
	b, err := s.Prior.Belief(h)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// PlanetLab returns the loads of virtual machines over a day in steps of five minutes, 0 to 1, or skips the test.
func PlanetLab(t testing.TB) [][]float64 {
	f, err := os.Open(Shared(t, "planetlab/planetlab_20110303.csv.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	sc := bufio.NewScanner(z)
	var out [][]float64
	for sc.Scan() {
		var row []float64
		for v := range strings.SplitSeq(sc.Text(), ",") {
			x, err := strconv.ParseFloat(v, 64)
			if err != nil {
				t.Fatal(err)
			}
			row = append(row, min(x/100, 1))
		}
		out = append(out, row)
	}
	return out
}
