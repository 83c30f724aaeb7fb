//go:build unix

package socket

import (
	"errors"
	"syscall"
)

// restrict gives a socket its mode before it has a name, so that there is no
// moment at which others may connect. Some systems refuse; see listen.
func restrict(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), 0o600) })
}

// nobody reports whether the error of a dial means that no process is there.
func nobody(err error) bool {
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, syscall.ENOENT)
}
