package controlplane

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// workspaceMode says whether the go command sees the repository's go.work.
type workspaceMode bool

const (
	inWorkspace workspaceMode = true  // as the caller has it: go run and this build then share the build cache
	alone       workspaceMode = false // GOWORK=off, for modules with versions of their own
)

// goCommand prepares a go command in dir.
func goCommand(ctx context.Context, dir string, mode workspaceMode, args ...string) (*exec.Cmd, error) {
	path, err := exec.LookPath("go")
	if err != nil {
		return nil, fmt.Errorf("the control plane is built by the go command: %w", err)
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PWD="+dir)
	if mode == alone {
		cmd.Env = append(cmd.Env, "GOWORK=off", "GOFLAGS="+withoutModfile(os.Getenv("GOFLAGS")))
	}
	ownGroup(cmd)
	cmd.Cancel = func() error { return killGroup(cmd.Process) }
	cmd.WaitDelay = 5 * time.Second
	return cmd, nil
}

// withoutModfile drops the flags that name one module's file, which would be wrong in another module.
func withoutModfile(flags string) string {
	kept := strings.Fields(flags)
	n := 0
	for _, f := range kept {
		if !strings.HasPrefix(strings.TrimLeft(f, "-"), "modfile=") {
			kept[n] = f
			n++
		}
	}
	return strings.Join(kept[:n], " ")
}

// runGo runs the go command and gives every line of its standard error to each. The error holds the
// last lines of it.
func runGo(ctx context.Context, dir string, mode workspaceMode, each func(line string), args ...string) error {
	cmd, err := goCommand(ctx, dir, mode, args...)
	if err != nil {
		return err
	}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	var last []string
	for lines := bufio.NewScanner(stderr); lines.Scan(); {
		each(lines.Text())
		if last = append(last, lines.Text()); len(last) > 20 {
			last = last[1:]
		}
	}
	if err := cmd.Wait(); err != nil {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		return fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, strings.Join(last, "\n"))
	}
	return nil
}

// moduleVersion returns the version that a module selects and where its source lies, "" if it is not
// downloaded yet.
func moduleVersion(ctx context.Context, dir string, mode workspaceMode, module string) (version, source string, err error) {
	cmd, err := goCommand(ctx, dir, mode, "list", "-m", "-f", "{{.Version}}\t{{.Dir}}", module)
	if err != nil {
		return "", "", err
	}
	out, err := cmd.Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			err = fmt.Errorf("%w: %s", err, strings.TrimSpace(string(exit.Stderr)))
		}
		return "", "", fmt.Errorf("which version of %s: %w", module, err)
	}
	version, source, _ = strings.Cut(strings.TrimSpace(string(out)), "\t")
	return version, source, nil
}

// examplesFolder finds the source of the examples module: where this file was compiled from, or else
// what the go command finds from the current folder.
func examplesFolder(ctx context.Context) (string, error) {
	if _, file, _, ok := runtime.Caller(0); ok {
		folder := filepath.Dir(filepath.Dir(filepath.Dir(file)))
		if exists(filepath.Join(folder, "go.mod")) {
			return folder, nil
		}
	}
	_, folder, err := moduleVersion(ctx, ".", inWorkspace, examplesModule)
	if err != nil || folder == "" {
		return "", errors.Join(fmt.Errorf("no source of %s: run this in a clone of the repository", examplesModule), err)
	}
	return folder, nil
}
