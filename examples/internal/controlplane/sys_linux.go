package controlplane

import "syscall"

// dieWithParent has the kernel kill the process when the thread that started it ends, so that nothing
// is left behind even if this program is killed. The starter must keep its thread: see Process.run.
func dieWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGKILL }
