//go:build linux || darwin

package doctor

import "golang.org/x/sys/unix"

// fileLimit is how many files this process may have open. Go has raised it to
// the hard limit at the start, as it does for every role.
func fileLimit() (uint64, error) {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	return limit.Cur, err
}
