// Package keplercontract keeps the names of Kepler's old scheme in package sensors/kepler equal to those of
// Kepler itself. It is a module of its own, outside the workspace, so that Kepler's requirements reach no user:
//
//	cd examples/internal/keplercontract && GOWORK=off go test .
package keplercontract

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"testing"

	"github.com/sustainable-computing-io/kepler/pkg/config"
	"github.com/sustainable-computing-io/kepler/pkg/metrics/consts"
)

// What we read of the old scheme is what Kepler 0.9.0 writes: namespace, subsystem node, name, suffix.
func TestNamesOfTheOldScheme(t *testing.T) {
	read := constants(t, "../../../sensors/kepler/kepler.go")
	for _, name := range []string{config.PKG, config.DRAM, config.GPU, config.PLATFORM} {
		written := consts.MetricsNamespace + "_node_" + name + consts.EnergyMetricNameSuffix
		if !slices.Contains(read, written) {
			t.Errorf("Kepler writes %s, which is not read; read are %v", written, read)
		}
		if !slices.Contains(consts.EnergyMetricNames, name) {
			t.Errorf("Kepler has no energy named %q any more", name)
		}
	}
	for _, label := range []string{"package", "instance", "mode"} {
		if !slices.Contains(consts.NodeEnergyLabels, label) {
			t.Errorf("Kepler's labels of a node are %v, want %q among them", consts.NodeEnergyLabels, label)
		}
	}
}

// constants returns the texts of a file's constants. The file is read, not imported, so that this module
// requires nothing of ours.
func constants(t *testing.T, file string) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, d := range f.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.CONST {
			ast.Inspect(g, func(n ast.Node) bool {
				if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
					if s, err := strconv.Unquote(l.Value); err == nil {
						all = append(all, s)
					}
				}
				return true
			})
		}
	}
	return all
}
