package readme

import (
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	text := strings.ReplaceAll(`
## Before
'''
$ no
'''
### Here
Words.
'''
$ first | second
a  b
c
$ third
'''
'''yaml
x: 1
'''
'''
no command
'''
### After
'''
$ no
'''
`, "'''", "```")
	got, ok := parse(text, "### Here")
	want := Section{Commands: []Command{{"first | second", "a  b\nc\n"}, {"third", ""}}, Blocks: []string{"x: 1\n"}}
	if !ok || !reflect.DeepEqual(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
	if _, ok := parse(text, "### Nowhere"); ok {
		t.Error("a section that is not there is found")
	}
}

func TestMatches(t *testing.T) {
	for _, c := range []struct {
		shown, printed string
		want           bool
	}{
		{"a b\n", "a    b\n", true},
		{"a b\n", "a c\n", false},
		{"a b\n", "a b\nmore\n", false},
		{"a … d", "a b\nc d", true},
		{"… \"x\": 1 …", "{\"y\": 2, \"x\":1}", true},
		{"… \"x\": 1 …", "{\"y\": 2, \"x\":2}", false},
		{"n1 5s True", "n1 1m12s True", true},
		{"n1 5s True", "n1 soon True", false},
		{"1.5", "1x5", false},
	} {
		if got := matches(c.shown, c.printed, false); got != c.want {
			t.Errorf("%q shown, %q printed: %t", c.shown, c.printed, got)
		}
	}
}

func TestMatchesAnyNumbers(t *testing.T) {
	for printed, want := range map[string]bool{"a 7 2.5": true, "b 1 2.5": false, "a 1 x": false, "a 1 2 3": false} {
		if got := matches("a  1  0.0\n", printed, true); got != want {
			t.Errorf("%q: %t", printed, got)
		}
	}
}

// The shell really runs, takes what a command stores, asks again, and fails where the output is another.
func TestShell(t *testing.T) {
	s := &Shell{Files: map[string]string{"f": "1\n"}, Typed: strings.NewReplacer("PORT", "f")}
	s.Play(t.Context(), t, []Command{{"TOKEN=$(echo secret)", ""}, {`cat PORT; echo "$TOKEN" | tr s S`, "1 Secret"},
		{`: kubectl get ; echo x >>n; wc -l <n`, "3"}, {"test -d k8s/chart && cd k8s && ls -d chart", "chart"}})
	f := &failing{TB: t}
	s.Play(t.Context(), f, []Command{{"echo one", "two"}})
	if !f.failed {
		t.Error("another output passes")
	}
}

// A failing records that a test would have failed.
type failing struct {
	testing.TB
	failed bool
}

func (f *failing) Errorf(string, ...any) { f.failed = true }
