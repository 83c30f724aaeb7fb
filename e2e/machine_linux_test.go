package e2e

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// openFiles is how many files this process may have open. Programs in Go raise
// their own limit as far as they are permitted, and so do those started here.
func openFiles() (n uint64, ok bool) {
	var l syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l)
	return l.Cur, err == nil
}

// residentMemory is what a process holds in memory, in bytes.
func residentMemory(pid int) (n uint64, ok bool) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, false
	}
	for line := range strings.Lines(string(text)) {
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			return n << 10, true
		}
	}
	return 0, false
}
