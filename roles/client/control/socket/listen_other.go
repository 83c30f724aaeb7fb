//go:build !unix

package socket

import (
	"errors"
	"io/fs"
	"net"
	"syscall"
)

// restrict does nothing: the folder of the socket decides who may connect.
func restrict(_, _ string, _ syscall.RawConn) error { return nil }

// nobody reports whether the error of a dial means that no process is there: all
// of them but that it took too long.
func nobody(err error) bool {
	var timeout net.Error
	return errors.Is(err, fs.ErrNotExist) || !(errors.As(err, &timeout) && timeout.Timeout())
}
