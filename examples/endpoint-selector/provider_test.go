package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	kubeproxy "k8s.io/kubernetes/pkg/proxy"

	"github.com/leastwatt/leastwatt/k8s/endpoints"
)

// A forked kube-proxy takes our proxier in place of its own.
var _ kubeproxy.Provider = (*endpoints.Proxier)(nil)

// The lines that CONTRIBUTING shows make a kube-proxy that compiles.
func TestForkOfKubeProxyCompiles(t *testing.T) {
	if testing.Short() {
		t.Skip("compiling kube-proxy takes a while")
	}
	text, err := os.ReadFile(filepath.Join("..", "..", "CONTRIBUTING.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, lines, _ := strings.Cut(string(text), "`createProxier`")
	_, lines, _ = strings.Cut(lines, "```go\n")
	lines, _, ok := strings.Cut(lines, "```")
	if !ok || !strings.Contains(lines, "return endpoints.New(") {
		t.Fatalf("CONTRIBUTING shows no fork, but %q", lines)
	}
	module, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes").Output()
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(module)), "cmd", "kube-proxy", "app", "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("kube-proxy has no files: %v", err)
	}
	// A package of this module that is nowhere but in an overlay: what is in the cache of modules cannot be replaced.
	here, err := filepath.Abs("forked")
	if err != nil {
		t.Fatal(err)
	}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for _, f := range files {
		name := filepath.Base(f)
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		if name == "server_linux.go" {
			source, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			f = filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(f, []byte(forked(t, string(source), lines)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		overlay.Replace[filepath.Join(here, name)] = f
	}
	list := filepath.Join(t.TempDir(), "overlay.json")
	b, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(list, b, 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", list, "./forked")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// forked puts lines into createProxier, and what they need into the imports.
func forked(t *testing.T, source, lines string) string {
	t.Helper()
	const imports = "import (\n"
	source = strings.Replace(source, imports, imports+`	"log/slog"
	"net"
	"net/netip"

	"github.com/go-logr/logr"
	rules "github.com/leastwatt/leastwatt/balancing/nftables"
	"github.com/leastwatt/leastwatt/k8s/endpoints"
	sites "github.com/leastwatt/leastwatt/scoring/config"
	"sigs.k8s.io/knftables"
`, 1)
	const place = "\tvar err error\n"
	before, after, ok := strings.Cut(source, ") createProxier(")
	head, rest, ok2 := strings.Cut(after, place)
	if !ok || !ok2 {
		t.Fatal("server_linux.go has no createProxier with its var err error")
	}
	return before + ") createProxier(" + head + place + lines + rest
}
