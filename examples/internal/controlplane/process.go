package controlplane

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// stopGrace is how long a process may take to end by itself; kube-apiserver drains for about 3 s.
const stopGrace = 15 * time.Second

// A Process is one program of the cluster. When it ends without having been stopped, the cluster's
// context is cancelled with an error that names it and shows the end of its log.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd

	ended chan struct{} // closed when the program has ended
	err   error         // how; read after ended

	mu       sync.Mutex
	stopping bool // guarded by mu
}

// command is what to run and how to see that it is ready.
type command struct {
	name  string // of the log file too
	path  string
	args  []string
	env   []string // beside this process's own
	attr  func(*syscall.SysProcAttr)
	ready func(ctx context.Context) error // nil: at once
}

// startProcess starts a program and returns when it is ready. The program's output goes to the log
// folder. unexpected is called if it ends by itself after that.
func startProcess(ctx context.Context, logs string, c command, unexpected func(error)) (*Process, error) {
	p := &Process{name: c.name, log: filepath.Join(logs, c.name+".log"), ended: make(chan struct{})}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	p.cmd = exec.Command(c.path, c.args...)
	p.cmd.Stdout, p.cmd.Stderr = log, log
	p.cmd.Env = append(os.Environ(), c.env...)
	ownGroup(p.cmd)
	if c.attr != nil {
		p.cmd.Dir = "/"
		c.attr(p.cmd.SysProcAttr)
	}

	started := make(chan error, 1)
	go p.run(started)
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", c.name, err)
	}
	if c.ready != nil {
		if err := p.await(ctx, c.ready); err != nil {
			p.Stop()
			return nil, err
		}
	}
	go func() {
		<-p.ended
		p.mu.Lock()
		defer p.mu.Unlock()
		if !p.stopping {
			unexpected(p.failure())
		}
	}()
	return p, nil
}

// run starts the program and waits for it, on one thread: Linux ends a program with the thread that
// started it (see dieWithParent), so the thread must last.
func (p *Process) run(started chan<- error) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := p.cmd.Start(); err != nil {
		started <- err
		return
	}
	started <- nil
	p.err = p.cmd.Wait()
	close(p.ended)
}

// patience is how long a server may take to get ready: seconds on a quiet machine, minutes beside builds on two cores.
const patience = 4 * time.Minute

// await polls ready until it succeeds, the process ends or a minute has passed.
func (p *Process) await(ctx context.Context, ready func(ctx context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := ready(ctx)
		if err == nil {
			return nil
		}
		select {
		case <-p.ended:
			return p.failure()
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
				return fmt.Errorf("%s is not ready after %v: %w\n%s", p.name, patience, err, p.tail())
			}
			return context.Cause(ctx)
		case <-tick.C:
		}
	}
}

// failure describes a process that ended by itself.
func (p *Process) failure() error {
	how := "ended"
	if p.err != nil {
		how = p.err.Error()
	}
	return fmt.Errorf("%s: %s; the end of its log:\n%s", p.name, how, p.tail())
}

// tail returns the last lines of the log.
func (p *Process) tail() string {
	const most = 4 << 10
	f, err := os.Open(p.log)
	if err != nil {
		return err.Error()
	}
	defer f.Close()
	if info, err := f.Stat(); err == nil && info.Size() > most {
		if _, err := f.Seek(-most, io.SeekEnd); err != nil {
			return err.Error()
		}
	}
	text, err := io.ReadAll(io.LimitReader(f, most))
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "\t" + strings.Join(lines[max(0, len(lines)-12):], "\n\t")
}

// Stop asks the process to end, kills it if it does not, and returns when it has ended.
func (p *Process) Stop() {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	select {
	case <-p.ended:
		return
	default:
	}
	if err := terminate(p.cmd.Process); err == nil {
		select {
		case <-p.ended:
			return
		case <-time.After(stopGrace):
		}
	}
	if err := killGroup(p.cmd.Process); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return // already gone, or not ours any more
	}
	<-p.ended
}

// Kill ends the process at once, as a machine that fails would, and returns when it has ended.
func (p *Process) Kill() error {
	p.mu.Lock()
	p.stopping = true
	p.mu.Unlock()
	select {
	case <-p.ended:
		return fmt.Errorf("%s had ended already: %w", p.name, p.failure())
	default:
	}
	if err := killGroup(p.cmd.Process); err != nil {
		return fmt.Errorf("killing %s: %w", p.name, err)
	}
	<-p.ended
	return nil
}

// LogFile returns the path of the file that holds the process's output.
func (p *Process) LogFile() string { return p.log }

// PID returns the process's number.
func (p *Process) PID() int { return p.cmd.Process.Pid }
