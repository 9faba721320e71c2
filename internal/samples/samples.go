// Package samples finds the sample data that lie beside the repository, not in it: ../shared/samples. Only
// tests use it.
package samples

import (
	"os"
	"path/filepath"
)

// Path returns the path of a file or folder of the samples, and whether it is there. It looks beside the
// folder that holds go.work, or beside its parent where that is a Git worktree, upwards from the working
// directory.
func Path(elem ...string) (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			var p string
			for _, up := range []string{"..", filepath.Join("..", "..")} {
				p = filepath.Join(append([]string{dir, up, "shared", "samples"}, elem...)...)
				if _, err := os.Stat(p); err == nil {
					return p, true
				}
			}
			return p, false
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}
