//go:build !unix

package controlplane

import (
	"context"
	"errors"
	"os"
	"os/exec"
)

var errUnix = errors.New("a Kubernetes control plane runs on Linux and other Unix systems only")

func ownGroup(*exec.Cmd) {}

func terminate(p *os.Process) error { return p.Kill() }

func killGroup(p *os.Process) error { return p.Kill() }

func lockFolder(context.Context, string, func()) (func(), error) { return nil, errUnix }
