// Package samples finds the sample data that lie beside the repository, not in it: ../shared/samples. Only
// tests use it.
package samples

import (
	"os"
	"path/filepath"
)

// Path returns the path of a file or folder of the samples, and whether it is there. It looks beside the
// folder that holds go.work, upwards from the working directory.
func Path(elem ...string) (string, bool) {
	dir, err := os.Getwd()
	if err != nil {
		return "", false
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.work")); err == nil {
			p := filepath.Join(append([]string{dir, "..", "shared", "samples"}, elem...)...)
			_, err := os.Stat(p)
			return p, err == nil
		}
		up := filepath.Dir(dir)
		if up == dir {
			return "", false
		}
		dir = up
	}
}
