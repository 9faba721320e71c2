package charttest

import (
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// Every program of the chart is built as the Dockerfile says, by the lines that stand there, and needs no library. What
// the engine of containers does beside that (FROM, COPY, the Debian packages) is not run here: it takes Docker.
func TestDockerfile(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "env", "CGO_ENABLED").Output()
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(string(out)) != "0" && os.Getenv("LEASTWATT_E2E") != "1" {
		t.Skip("cgo is on, so everything would be compiled a second time: set CGO_ENABLED=0 or LEASTWATT_E2E=1")
	}
	path, err := chart()
	if err != nil {
		t.Fatal(err)
	}
	root := filepath.Dir(filepath.Dir(path))
	build := buildStep(t, filepath.Join(root, "Dockerfile"))
	for _, p := range programs(t, path) {
		t.Run(p, func(t *testing.T) {
			binary := filepath.Join(t.TempDir(), "program")
			cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(build, "-o /program", "-o '"+binary+"'"))
			cmd.Dir, cmd.Env = root, append(os.Environ(), "PROGRAM="+p)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%s\n%v\n%s", build, err, out)
			}
			if runtime.GOOS != "linux" {
				return
			}
			f, err := elf.Open(binary)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP }) {
				t.Errorf("%s is not static", p)
			}
			if p != "scheduler" {
				return
			}
			if out, err := exec.CommandContext(t.Context(), binary, "--version").CombinedOutput(); err != nil || !strings.HasPrefix(string(out), "Kubernetes v1.") {
				t.Errorf("scheduler --version: %v, %s", err, out)
			}
		})
	}
}

// buildStep is the shell command of the RUN of the Dockerfile's first stage, without -trimpath, which would have Go compile everything
// anew.
func buildStep(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.ReplaceAll(string(text), "\\\n", " ")
	m := regexp.MustCompile(`(?m)^RUN (.*go build.*)$`).FindAllStringSubmatch(lines, -1)
	if len(m) != 1 || !strings.Contains(m[0][1], " -trimpath ") || !strings.Contains(m[0][1], "-o /program ") {
		t.Fatalf("Dockerfile: %q: want one RUN that builds /program with -trimpath", m)
	}
	return strings.Replace(m[0][1], " -trimpath ", " ", 1)
}

// programs are those whose images the chart runs.
func programs(t *testing.T, chart string) []string {
	t.Helper()
	image := regexp.MustCompile(`include "leastwatt.image" \(list \. "([^"]+)"\)`)
	var all []string
	templates, err := os.ReadDir(filepath.Join(chart, "templates"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range templates {
		text, err := os.ReadFile(filepath.Join(chart, "templates", f.Name()))
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range image.FindAllStringSubmatch(string(text), -1) {
			all = append(all, m[1])
		}
	}
	slices.Sort(all)
	if all = slices.Compact(all); len(all) < 6 {
		t.Fatalf("the chart has the images %v: the search is broken", all)
	}
	return all
}
