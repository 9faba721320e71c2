package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/power"
	"github.com/leastwatt/leastwatt/power/prior"
)

// table writes the embedded servers as a table of curves. Their TDP, which they lack, is made up where tdp is given.
func table(dir string, tdp float64) (string, error) {
	var b strings.Builder
	b.WriteString("vendor,model,cpu,hw_year,chips,cores,threads,cpu_tdp_w,mem_gb,w_idle")
	for i := 10; i <= 100; i += 10 {
		fmt.Fprintf(&b, ",w_%d", i)
	}
	b.WriteString("\n")
	for _, s := range power.Servers() {
		fmt.Fprintf(&b, "%q,%q,%q,%d,%d,%d,%d,", s.Vendor, s.Model, s.CPU, s.Year, s.Chips, s.Cores, s.Threads)
		if tdp > 0 {
			fmt.Fprintf(&b, "%g", tdp+float64(s.Cores))
		}
		fmt.Fprintf(&b, ",%g", s.MemoryGB)
		for _, w := range s.Watts {
			fmt.Fprintf(&b, ",%g", float64(w))
		}
		b.WriteString("\n")
	}
	name := filepath.Join(dir, "curves.csv")
	return name, os.WriteFile(name, []byte(b.String()), 0o600)
}

// The command makes a prior of a table of curves: here of the embedded servers.
func Example() {
	dir, err := os.MkdirTemp("", "fit")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	in, err := table(dir, 90)
	if err != nil {
		panic(err)
	}
	out := filepath.Join(dir, "prior.json")
	if err := run(in, out, prior.FitOptions{Bandwidth: 2, Source: "the embedded table"}); err != nil {
		panic(err)
	}
	f, err := os.Open(out)
	if err != nil {
		panic(err)
	}
	defer f.Close()
	p, err := prior.Parse(f)
	fmt.Println(p.Servers() == len(power.Servers()), err)
	// Output:
	// 57 servers of 2008 to 2022; kin share of what is special: system 0.00, CPU 0.27, series 0.23
	// true <nil>
}

// What is wrong with the table is told with its name.
func TestBadTable(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.csv")
	if err := os.WriteFile(bad, []byte("vendor,model\na,b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	unknown, err := table(dir, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{bad, unknown, filepath.Join(dir, "absent.csv")} {
		out := filepath.Join(dir, "out.json")
		if err := run(in, out, prior.FitOptions{}); err == nil || !strings.Contains(err.Error(), filepath.Base(in)) && !strings.Contains(err.Error(), "tell their TDP") {
			t.Errorf("%s: %v", in, err)
		}
		if _, err := os.Stat(out); err == nil {
			t.Errorf("%s: a prior was written", in)
		}
	}
}
