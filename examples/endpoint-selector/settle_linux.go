package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// dropFile lets the kernel take the pages of the program's file out of this process's memory: code and constants, which
// nobody writes. They stay in the cache of files, from where the next use maps them again.
func dropFile() error {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		return err
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return err
	}
	for _, m := range droppable(string(text), exe) {
		if _, _, e := syscall.Syscall(syscall.SYS_MADVISE, m.from, m.to-m.from, syscall.MADV_DONTNEED); e != 0 {
			return fmt.Errorf("madvise %x-%x: %w", m.from, m.to, e)
		}
	}
	return nil
}

// A span is a range of addresses.
type span struct {
	from, to uintptr
}

// droppable returns the ranges of smaps that map a file, that cannot be written and of which no page is the process's
// own: what is dropped of them can be read again.
func droppable(smaps, file string) []span {
	var out []span
	var at span
	ours := false
	for l := range strings.Lines(smaps) {
		f := strings.Fields(l)
		switch {
		case len(f) >= 5 && len(f[1]) == 4 && !strings.HasSuffix(f[0], ":"): // 00400000-01f3a000 r-xp 00000000 103:02 1234 /program
			from, to, _ := strings.Cut(f[0], "-")
			a, err := strconv.ParseUint(from, 16, 64)
			b, err2 := strconv.ParseUint(to, 16, 64)
			at, ours = span{uintptr(a), uintptr(b)}, err == nil && err2 == nil && f[1][1] != 'w' && strings.HasSuffix(strings.TrimRight(l, "\n"), " "+file)
		case ours && len(f) == 3 && f[0] == "Anonymous:":
			if f[1] == "0" {
				out = append(out, at)
			}
			ours = false
		}
	}
	return out
}
