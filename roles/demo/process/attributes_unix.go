//go:build unix && !linux

package process

import "syscall"

// attributes puts the child into a process group of its own, so that a Ctrl-C
// on the terminal reaches it only through its owner.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
