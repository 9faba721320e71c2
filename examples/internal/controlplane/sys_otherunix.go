//go:build unix && !linux

package controlplane

import "syscall"

// dieWithParent does nothing: only Linux can tie a process to the one that started it.
func dieWithParent(*syscall.SysProcAttr) {}
