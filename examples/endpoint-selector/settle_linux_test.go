package main

import (
	"os"
	"slices"
	"strings"
	"testing"
)

func TestDroppable(t *testing.T) {
	const smaps = `00400000-01f3a000 r-xp 00000000 103:02 1234                              /opt/a program
Size:              27880 kB
Rss:               20000 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
01f3a000-03000000 r--p 01b3a000 103:02 1234                              /opt/a program
Anonymous:             4 kB
03000000-03400000 rw-p 02c00000 103:02 1234                              /opt/a program
Anonymous:             0 kB
03400000-03500000 r--p 02c00000 103:02 1234                              /opt/a program
Anonymous:             0 kB
c000000000-c000400000 r--p 00000000 00:00 0
Anonymous:             0 kB
7f0000000000-7f0000001000 r-xp 00000000 103:02 99                        /lib/libc.so
Anonymous:             0 kB
`
	want := []span{{0x400000, 0x1f3a000}, {0x3400000, 0x3500000}}
	if got := droppable(smaps, "/opt/a program"); !slices.Equal(got, want) {
		t.Errorf("%x, want %x", got, want)
	}
	if got := droppable(strings.Repeat("nonsense\n", 3), "/x"); got != nil {
		t.Errorf("of nonsense: %x", got)
	}
}

// The test's own program goes on without its pages.
func TestDropFile(t *testing.T) {
	exe, err := os.Readlink("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		t.Fatal(err)
	}
	if len(droppable(string(text), exe)) == 0 {
		t.Errorf("nothing to drop in\n%s", text)
	}
	if err := dropFile(); err != nil {
		t.Fatal(err)
	}
}
