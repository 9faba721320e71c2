package main

import (
	"os"
	"path/filepath"
	"testing"
)

const site = `
sensors: {sources: [{name: k, type: kepler, url: "http://127.0.0.1:9/{node}"}]}
models: [{name: m, kind: linear, idleWatts: 50, peakWatts: 100}]
`

// Two profiles may have files of the same name in two folders.
func TestOpenFilesOfOneName(t *testing.T) {
	for range 2 {
		path := filepath.Join(t.TempDir(), "leastwatt.yaml")
		if err := os.WriteFile(path, []byte(site), 0o600); err != nil {
			t.Fatal(err)
		}
		if s, err := new(profileOptions).open(path); err != nil || s.Site == nil || s.Scorer == nil {
			t.Errorf("%s: %v", path, err)
		}
	}
}
