//go:build unix

package screen

import (
	"os"
	"syscall"
)

// wake has a suspension end that the system has not obeyed.
func wake() { _ = syscall.Kill(os.Getpid(), syscall.SIGCONT) }
