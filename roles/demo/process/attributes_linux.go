package process

import "syscall"

// attributes puts the child into a process group of its own, so that a Ctrl-C
// on the terminal reaches it only through its owner, and has the kernel kill
// it if the owner dies without a chance to.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
