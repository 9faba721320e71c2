package sysfs

import (
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"

	"github.com/leastwatt/leastwatt/sensors"
)

// text returns a file's first line. Files of sysfs have one page at most.
func text(root fs.FS, path string) (string, error) {
	f, err := root.Open(path)
	if err != nil {
		return "", reason(err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, 4096))
	if err != nil {
		return "", reason(err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	return strings.TrimSpace(line), nil
}

// number returns a file's integer.
func number(root fs.FS, path string) (int64, error) {
	s, err := text(root, path)
	if err != nil {
		return 0, err
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%w: %s holds %.40q, no integer", sensors.ErrMalformed, path, s)
	}
	return n, nil
}

// entries returns the names in a folder, at most a thousand.
func entries(root fs.FS, path string) []string {
	list, err := fs.ReadDir(root, path)
	if err != nil {
		return nil
	}
	var out []string
	for _, e := range list[:min(len(list), 1000)] {
		out = append(out, e.Name())
	}
	return out
}
