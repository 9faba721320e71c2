package assign

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestDenseAgainstGLPK compares with the linear programme, which has an integral optimum.
func TestDenseAgainstGLPK(t *testing.T) {
	bin, err := exec.LookPath("glpsol")
	if err != nil {
		t.Skip("glpsol is not installed (Debian: apt-get install glpk-utils)")
	}
	objective := regexp.MustCompile(`Objective:\s+\w+ = (-?[0-9.e+-]+)`)
	r := rand.New(rand.NewPCG(7, 7))
	for n := range 6 {
		rows, cols := 10+5*n, 40+r.IntN(30)
		cost := randomCosts(r, rows, cols)
		for i, c := range cost {
			if math.IsInf(c, 1) || math.Abs(c) > 1e6 {
				cost[i] = float64(i%13) - 3
			}
		}
		got, err := Dense(rows, cols, cost)
		if err != nil {
			t.Fatal(err)
		}
		var lp strings.Builder
		lp.WriteString("Minimize\n cost:")
		for i := range rows {
			for j := range cols {
				fmt.Fprintf(&lp, " %+.17g x%d_%d\n", cost[i*cols+j], i, j)
			}
		}
		lp.WriteString("Subject To\n")
		for i := range rows {
			fmt.Fprintf(&lp, " r%d:", i)
			for j := range cols {
				fmt.Fprintf(&lp, " + x%d_%d\n", i, j)
			}
			lp.WriteString(" = 1\n")
		}
		for j := range cols {
			fmt.Fprintf(&lp, " c%d:", j)
			for i := range rows {
				fmt.Fprintf(&lp, " + x%d_%d\n", i, j)
			}
			lp.WriteString(" <= 1\n")
		}
		lp.WriteString("End\n")
		dir := t.TempDir()
		in, out := filepath.Join(dir, "p.lp"), filepath.Join(dir, "p.out")
		if err := os.WriteFile(in, []byte(lp.String()), 0o600); err != nil {
			t.Fatal(err)
		}
		if msg, err := exec.CommandContext(t.Context(), bin, "--lp", in, "-o", out).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, msg)
		}
		text, err := os.ReadFile(out)
		if err != nil {
			t.Fatal(err)
		}
		m := objective.FindSubmatch(text)
		if m == nil {
			t.Fatalf("no objective in %.200s", text)
		}
		want, err := strconv.ParseFloat(string(m[1]), 64)
		if err != nil || math.Abs(want-got.Cost) > 1e-5*(1+math.Abs(want)) {
			t.Errorf("%d x %d: cost %v, GLPK says %s", rows, cols, got.Cost, m[1])
		}
	}
}
