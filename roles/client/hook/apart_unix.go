//go:build unix

package hook

import (
	"os/exec"
	"syscall"
)

// apart gives a program a process group: a Ctrl-C on the client's terminal is
// not for it, and it is killed together with its children.
func apart(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
