package charttest

import (
	"debug/elf"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/leastwatt/leastwatt/examples/internal/controlplane"
)

// Every program of the chart is built as the Dockerfile does it, and needs no library. The Dockerfile itself is not
// built here: that takes Docker.
func TestStaticPrograms(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "env", "CGO_ENABLED").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(out)) != "0" && os.Getenv("LEASTWATT_E2E") != "1" {
		t.Skip("cgo is on, so everything would be compiled a second time: set CGO_ENABLED=0 or LEASTWATT_E2E=1")
	}
	t.Setenv("CGO_ENABLED", "0")
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	image := regexp.MustCompile(`include "leastwatt.image" \(list \. "([^"]+)"\)`)
	var programs []string
	templates, err := os.ReadDir(path + "/templates")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range templates {
		text, err := os.ReadFile(path + "/templates/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range image.FindAllStringSubmatch(string(text), -1) {
			programs = append(programs, m[1])
		}
	}
	slices.Sort(programs)
	if len(programs) < 4 {
		t.Fatalf("the chart has the images %v: the search is broken", programs)
	}
	for _, p := range programs {
		binary := controlplane.ProgramForTest(t, p)
		if runtime.GOOS != "linux" {
			continue
		}
		f, err := elf.Open(binary)
		if err != nil {
			t.Fatal(err)
		}
		if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
			t.Errorf("%s is not static", p)
		}
		f.Close()
	}
}
