//go:build !unix

package hook

import "os/exec"

// apart does nothing where there are no process groups: the program alone is
// killed.
func apart(*exec.Cmd) {}
