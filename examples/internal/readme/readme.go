// Package readme runs what README.md shows. A test prepares what a reader is supposed to have, and a [Shell] runs the
// commands of one section as they stand there, and fails where they print something else.
//
// A console block is a fenced block without a language that begins with "$ ". What follows a command, up to the next one,
// is its output: "…" stands for any text, an age such as 5s for any age, white space for any white space. A command
// without output is run and may print what it likes.
package readme

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A Command is what the reader types, and what it prints.
type Command struct {
	Line, Output string
}

// A Section is what stands under one heading of README.md.
type Section struct {
	Commands []Command
	Blocks   []string // the fenced blocks with a language, without their fences
}

// Root is the repository's folder.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(filepath.Dir(file))))
}

// Read returns a section of README.md.
func Read(t testing.TB, heading string) Section {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(Root(), "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	s, ok := parse(string(text), heading)
	if !ok {
		t.Fatalf("README.md has no section %q", heading)
	}
	return s
}

func parse(text, heading string) (Section, bool) {
	var s Section
	_, text, ok := strings.Cut(text, "\n"+heading+"\n")
	if !ok {
		return s, false
	}
	level := heading[:strings.Index(heading, " ")+1]
	var block []string
	var language string
	fenced := false
	for line := range strings.SplitSeq(text, "\n") {
		mark, isFence := strings.CutPrefix(line, "```")
		switch {
		case isFence && !fenced:
			fenced, language, block = true, mark, nil
		case isFence:
			fenced = false
			if language != "" {
				s.Blocks = append(s.Blocks, strings.Join(block, "\n")+"\n")
			} else if len(block) > 0 && strings.HasPrefix(block[0], "$ ") {
				s.Commands = append(s.Commands, commands(block)...)
			}
		case fenced:
			block = append(block, line)
		case strings.HasPrefix(line, level) || len(level) > 3 && strings.HasPrefix(line, "## "):
			return s, true
		}
	}
	return s, true
}

func commands(block []string) (list []Command) {
	for _, line := range block {
		if c, ok := strings.CutPrefix(line, "$ "); ok {
			list = append(list, Command{Line: c})
			continue
		}
		list[len(list)-1].Output += line + "\n"
	}
	return list
}

// matches tells whether what was printed is what is shown.
func matches(shown, printed string, numbers bool) bool {
	var b strings.Builder
	b.WriteString(`(?s)^\s*`)
	for i, part := range strings.Split(shown, "…") {
		if i > 0 {
			b.WriteString(`.*?`)
		}
		for j, word := range strings.Fields(part) {
			if j > 0 {
				b.WriteString(`\s*`)
			}
			switch {
			case age.MatchString(word):
				b.WriteString(`\d+[smh](\d+[smh])?`)
			case numbers && number.MatchString(word):
				b.WriteString(`-?[\d.]+`)
			default:
				b.WriteString(regexp.QuoteMeta(word))
			}
		}
		b.WriteString(`\s*`)
	}
	b.WriteString(`$`)
	return regexp.MustCompile(b.String()).MatchString(printed)
}

var (
	age        = regexp.MustCompile(`^\d+s$`)
	number     = regexp.MustCompile(`^-?[\d.]+$`)
	assignment = regexp.MustCompile(`^([A-Z]+)=\$\(.*\)$`)
)

// A Shell is where commands run. Programs has those that the reader is supposed to have, by name; "go run ./examples/NAME"
// starts the one with the example's name.
type Shell struct {
	Programs   map[string]string
	Kubeconfig string            // at ~/.kube/config
	Files      map[string]string // in the current folder, beside k8s and examples of this repository
	Typed      *strings.Replacer // changes a command, for what differs in a test, such as ports; nil changes nothing
	Printed    *strings.Replacer // changes an output in the same way
	Numbers    bool              // a number that is shown stands for any number: of what chance decides
	Patience   time.Duration     // for how long an output may be another one at first; 0 is a minute

	dir string
	env []string
}

// Play runs the commands in their order. What is started by go run goes on until the test ends; what only asks
// (kubectl get, curl) is asked again until it answers as shown.
func (s *Shell) Play(ctx context.Context, t testing.TB, list []Command) {
	t.Helper()
	if err := s.prepare(t); err != nil {
		t.Fatal(err)
	}
	if len(list) == 0 {
		t.Fatal("README.md shows no command here")
	}
	for _, c := range list {
		line := c.Line
		if s.Typed != nil {
			line = s.Typed.Replace(line)
		}
		if strings.HasPrefix(line, "go run ") && c.Output == "" {
			s.background(t, line)
			continue
		}
		if m := assignment.FindStringSubmatch(line); m != nil {
			out, err := s.run(ctx, line+` && printf %s "$`+m[1]+`"`)
			if err != nil || out == "" {
				t.Fatalf("$ %s\n%v", line, err)
			}
			s.env = append(s.env, m[1]+"="+out)
			continue
		}
		out, err := s.again(ctx, line, c.Output)
		if err != nil {
			t.Fatalf("$ %s\n%v", line, err)
		}
		t.Logf("$ %s\n%s", line, out)
		if c.Output != "" && !matches(c.Output, out, s.Numbers) {
			t.Errorf("README.md shows another output:\n%s", c.Output)
		}
	}
}

// again runs a command that asks until it answers as shown, and any other once.
func (s *Shell) again(ctx context.Context, line, shown string) (out string, err error) {
	patience := s.Patience
	if patience == 0 {
		patience = time.Minute
	}
	asks := strings.Contains(line, "kubectl get ") || strings.Contains(line, "curl ")
	for deadline := time.Now().Add(patience); ; {
		out, err = s.run(ctx, line)
		if s.Printed != nil {
			out = s.Printed.Replace(out)
		}
		if !asks || err == nil && matches(shown, out, s.Numbers) || time.Now().After(deadline) {
			return out, err
		}
		select {
		case <-ctx.Done():
			return out, ctx.Err()
		case <-time.After(200 * time.Millisecond):
		}
	}
}

func (s *Shell) prepare(t testing.TB) error {
	if s.dir != "" {
		return nil
	}
	s.dir = t.TempDir()
	bin, home := filepath.Join(s.dir, "bin"), filepath.Join(s.dir, "home")
	var errs []error
	for _, folder := range []string{bin, filepath.Join(home, ".kube"), filepath.Join(s.dir, "work")} {
		errs = append(errs, os.MkdirAll(folder, 0o755))
	}
	for name, path := range s.Programs {
		errs = append(errs, os.Symlink(path, filepath.Join(bin, name)))
	}
	errs = append(errs, os.WriteFile(filepath.Join(bin, "go"), []byte("#!/bin/sh\n# go run ./examples/NAME ARGUMENTS\nname=${2##*/}\nshift 2\nexec '"+bin+"'/\"$name\" \"$@\"\n"), 0o755))
	if s.Kubeconfig != "" {
		errs = append(errs, os.Symlink(s.Kubeconfig, filepath.Join(home, ".kube", "config")))
	}
	for _, folder := range []string{"k8s", "examples"} {
		errs = append(errs, os.Symlink(filepath.Join(Root(), folder), filepath.Join(s.dir, "work", folder)))
	}
	for name, text := range s.Files {
		errs = append(errs, os.WriteFile(filepath.Join(s.dir, "work", name), []byte(text), 0o600))
	}
	s.env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "HOME="+home, "KUBECONFIG=")
	return errors.Join(errs...)
}

func (s *Shell) command(line string) *exec.Cmd {
	cmd := exec.Command("sh", "-c", line)
	cmd.Dir, cmd.Env = filepath.Join(s.dir, "work"), s.env
	return cmd
}

func (s *Shell) run(ctx context.Context, line string) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", err
	}
	var out, said bytes.Buffer
	cmd := s.command(line)
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("%w\n%s%s", err, out.String(), said.String())
	}
	return out.String(), nil
}

// background starts a command that ends with the test.
func (s *Shell) background(t testing.TB, line string) {
	t.Helper()
	var log bytes.Buffer
	cmd := s.command("exec " + line)
	cmd.Stdout, cmd.Stderr = &log, &log
	if err := cmd.Start(); err != nil {
		t.Fatalf("$ %s\n%v", line, err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		select {
		case err := <-ended:
			t.Errorf("$ %s\nended by itself: %v\n%s", line, err, log.String())
			return
		default:
		}
		_ = cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(20 * time.Second):
			_ = cmd.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("$ %s\n%s", line, log.String())
		}
	})
}
