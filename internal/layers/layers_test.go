// Package layers holds the test of who may import whom. The table stands in CONTRIBUTING.md too.
package layers

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/leastwatt/leastwatt"

// A rule says what the packages of a tree may import besides the standard library and their own tree. The
// longest tree that holds a package decides.
type rule struct {
	tree string
	here []string // trees of this repository
	out  []string // path prefixes from outside
	why  string
}

var rules = []rule{
	{"power", []string{"internal"}, nil, "a model must be usable without any sensor or cluster"},
	{"power/calibrate", []string{"power", "internal"}, []string{"gonum.org/v1/gonum"}, "fitting needs linear algebra, and nothing else"},
	{"power/inference", []string{"power", "internal"}, []string{"google.golang.org/grpc", "google.golang.org/protobuf", "golang.org/x/sync"}, "remote models speak gRPC"},
	{"power/powertest", []string{"power"}, nil, "the suite reaches users' tests"},
	{"power/prior", []string{"power", "internal"}, []string{"gonum.org/v1/gonum"}, "the prior is statistics"},

	{"sensors", []string{"internal"}, []string{"github.com/prometheus/client_golang/prometheus"}, "a source must be usable without any model; collectors stand beside what they measure"},
	{"sensors/redfish", []string{"sensors", "internal"}, []string{"github.com/stmcginnis/gofish", "go.yaml.in/yaml/v3"}, "Kepler's mapping file is YAML"},
	{"sensors/ipmi", []string{"sensors", "internal"}, []string{"github.com/bougou/go-ipmi"}, "one protocol, one library"},
	{"sensors/prometheus", []string{"sensors", "internal"}, []string{"github.com/prometheus/client_golang", "github.com/prometheus/common"}, "one protocol, one library"},
	{"sensors/kepler", []string{"sensors", "internal"}, []string{"github.com/prometheus/common", "github.com/prometheus/client_model"}, "text exposition"},
	{"sensors/scaphandre", []string{"sensors", "internal"}, []string{"github.com/prometheus/common", "github.com/prometheus/client_model"}, "text exposition"},
	{"sensors/dcgm", []string{"sensors", "internal"}, []string{"github.com/prometheus/common", "github.com/prometheus/client_model"}, "text exposition"},
	{"sensors/ipmiexporter", []string{"sensors", "internal"}, []string{"github.com/prometheus/common", "github.com/prometheus/client_model"}, "text exposition"},
	{"sensors/config", []string{"sensors", "internal"}, []string{"go.yaml.in/yaml/v3"}, "one configuration of all sources"},
	{"sensors/sensorstest", []string{"sensors", "internal"}, []string{"github.com/bougou/go-ipmi"}, "the emulated BMC of the IPMI library"},

	{"sensors/grid", []string{"sensors", "internal"}, nil, "providers are plain HTTP"},
	{"sensors/grid/promgrid", []string{"sensors", "internal"}, []string{"github.com/prometheus/client_golang", "github.com/prometheus/common"}, "a provider that is asked through Prometheus speaks its API through its own library"},
	{"sensors/grid/config", []string{"sensors", "internal"}, []string{"go.yaml.in/yaml/v3"}, "one configuration of all providers"},
	{"sensors/grid/forecast", []string{"sensors"}, []string{"gonum.org/v1/gonum"}, "regression needs linear algebra"},

	{"scoring", []string{"power", "sensors"}, nil, "the core decides in memory"},
	{"scoring/config", []string{"scoring", "power", "sensors", "internal"}, []string{"go.yaml.in/yaml/v3", "github.com/prometheus/client_golang/prometheus"}, "one YAML file, read as strictly as that of the sensors; collectors stand beside what they measure"},

	{"balancing", []string{"scoring", "power", "sensors"}, nil, "shares are computed in memory"},
	{"balancing/nftables", []string{"balancing", "scoring", "power", "sensors"}, []string{"sigs.k8s.io/knftables"}, "rules through one library"},

	{"internal/strictyaml", []string{"internal"}, []string{"go.yaml.in/yaml/v3"}, "what configurations are read with"},
	{"internal", nil, []string{"github.com/prometheus/common", "github.com/prometheus/client_model"}, "plumbing knows no domain"},
}

// forbidden is what no package of a module may import, whatever its rule says.
var forbidden = map[string][]string{
	"k8s":      {"k8s.io/kubernetes", module + "/internal", module + "/examples"},
	"examples": nil,
}

func TestRootModuleImports(t *testing.T) {
	root := filepath.Join("..", "..")
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	seen := 0
	walk(t, root, func(dir, file string, imports []string) {
		tree := top(dir)
		if tree == "k8s" || tree == "examples" {
			for _, imp := range imports {
				if i := slices.IndexFunc(forbidden[tree], func(p string) bool { return under(imp, p) }); i >= 0 {
					t.Errorf("%s imports %s: %s never does", file, imp, tree)
				}
			}
			return
		}
		seen++
		r, ok := ruleFor(dir)
		if !ok {
			t.Errorf("%s: no rule for %q: add one, with its reason", file, dir)
			return
		}
		for _, imp := range imports {
			if !allowed(r, imp, strings.HasSuffix(file, "_test.go")) {
				t.Errorf("%s imports %s: %s may not (%s)", file, imp, r.tree, r.why)
			}
		}
	})
	if seen < 10 {
		t.Errorf("saw %d files of the root module: the walk is broken", seen)
	}
}

// The rules themselves must refuse what they are there for.
func TestRulesRefuse(t *testing.T) {
	for dir, imp := range map[string]string{
		"power":           module + "/sensors",
		"sensors":         module + "/power",
		"sensors/redfish": "k8s.io/api/core/v1",
		"scoring":         "k8s.io/apimachinery/pkg/runtime",
		"power/calibrate": module + "/scoring",
		"sensors/ipmi":    "github.com/stmcginnis/gofish",
	} {
		if r, ok := ruleFor(dir); !ok || allowed(r, imp, false) {
			t.Errorf("%s may import %s", dir, imp)
		}
	}
}

func allowed(r rule, imp string, test bool) bool {
	if !strings.Contains(strings.SplitN(imp, "/", 2)[0], ".") {
		return true // standard library
	}
	if test && (under(imp, "github.com/google/go-cmp") || under(imp, "github.com/prometheus/client_golang") || under(imp, "go.yaml.in/yaml/v3")) {
		return true
	}
	if under(imp, module) {
		own := strings.TrimPrefix(strings.TrimPrefix(imp, module), "/")
		if top(own) == top(r.tree) || test && (top(own) == "internal" || own == top(r.tree)+"/"+top(r.tree)+"test") {
			return true
		}
		return slices.ContainsFunc(r.here, func(tree string) bool { return under(own, tree) })
	}
	return slices.ContainsFunc(r.out, func(p string) bool { return under(imp, p) })
}

func ruleFor(dir string) (rule, bool) {
	best, ok := rule{}, false
	for _, r := range rules {
		if under(dir, r.tree) && len(r.tree) >= len(best.tree) {
			best, ok = r, true
		}
	}
	return best, ok
}

func under(path, tree string) bool { return path == tree || strings.HasPrefix(path, tree+"/") }

func top(path string) string { return strings.SplitN(path, "/", 2)[0] }

func walk(t *testing.T, root string, visit func(dir, file string, imports []string)) {
	t.Helper()
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata") {
			return fs.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(name, ".go") {
			return nil
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		imports := make([]string, 0, len(f.Imports))
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, p)
		}
		visit(filepath.ToSlash(filepath.Dir(rel)), filepath.ToSlash(rel), imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// The modules themselves: no Kubernetes in the root, none of its internals in k8s, and only local replaces.
func TestModuleFiles(t *testing.T) {
	for file, bad := range map[string][]string{
		"go.mod":          {"k8s.io/", "replace "},
		"k8s/go.mod":      {"k8s.io/kubernetes "},
		"examples/go.mod": nil,
	} {
		f, err := os.Open(filepath.Join("..", "..", file))
		if err != nil {
			t.Fatal(err)
		}
		for sc, line := bufio.NewScanner(f), 1; sc.Scan(); line++ {
			text := strings.TrimSpace(sc.Text())
			for _, b := range bad {
				if strings.HasPrefix(text, b) || strings.HasPrefix(text, "require "+b) {
					t.Errorf("%s:%d: %s", file, line, text)
				}
			}
			if _, to, ok := strings.Cut(text, "=>"); ok && !strings.HasPrefix(strings.TrimSpace(to), "../") {
				t.Errorf("%s:%d: a replacement that is not local: %s", file, line, text)
			}
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
}
