package controlplane

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// What was built is removed when it was not used for some days, as from Go's own build cache: other versions, and the
// programs of other checkouts. Those of a checkout that is gone go sooner.
const (
	unused = 5 * 24 * time.Hour
	gone   = time.Hour
)

// ours are the names of what this package builds into the cache, and of what is being removed.
var ours = regexp.MustCompile(`^((etcd|kubernetes|kwok|helm|kubectl|kube-proxy)-v[0-9].*|(scheduler|program)-[0-9a-f]{8}|removing-.*)$`)

// sourceFile, in the folder of a program of a checkout, holds the path of that.
const sourceFile = "source"

// touch notes that the folders of files in the cache are used now. Do so before you look whether the files are there: who
// removes what is not used puts back what was touched meanwhile.
func (w *workshop) touch(files ...string) {
	now := time.Now()
	for _, f := range files {
		if folder := filepath.Dir(f); filepath.Dir(folder) == w.cache {
			_ = os.Chtimes(folder, now, now) // it may not be there, or not be ours: at worst it is built again
		}
	}
}

// prune removes what was not used for long. The caller holds the cache's lock.
func (w *workshop) prune(now time.Time) {
	entries, err := os.ReadDir(w.cache)
	if err != nil {
		return // nothing is lost, and the next build tries again
	}
	removed := 0
	for _, e := range entries {
		if name := e.Name(); ours.MatchString(name) && (strings.HasPrefix(name, removing) || w.stale(name, now)) && w.remove(name, now) {
			removed++
		}
	}
	if removed > 0 {
		w.say("removed %d builds that nobody uses any more from %s", removed, w.cache)
	}
}

// stale tells whether a build was not used for long.
func (w *workshop) stale(name string, now time.Time) bool {
	path := filepath.Join(w.cache, name)
	info, err := os.Stat(path)
	if err != nil {
		return false
	}
	limit := unused
	if source, err := os.ReadFile(filepath.Join(path, sourceFile)); err == nil && !exists(filepath.Join(string(source), "go.mod")) {
		limit = gone
	}
	return now.Sub(info.ModTime()) > limit
}

const removing = "removing-"

// remove removes a build, unless somebody has touched it since it was found stale: it has another name before that is
// looked at for the last time.
func (w *workshop) remove(name string, now time.Time) bool {
	path, away := filepath.Join(w.cache, name), filepath.Join(w.cache, name)
	if !strings.HasPrefix(name, removing) {
		away = filepath.Join(w.cache, removing+name)
		if err := os.Rename(path, away); err != nil {
			return false
		}
		if !w.stale(removing+name, now) {
			_ = os.Rename(away, path) // else it is built again
			return false
		}
	}
	return os.RemoveAll(away) == nil
}
