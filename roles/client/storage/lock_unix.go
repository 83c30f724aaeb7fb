//go:build unix && !solaris && !illumos && !aix

package storage

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// lockFolder is lockFile for a folder.
func lockFolder(folder *os.File) error { return lockFile(folder) }

// lockFile takes the file for this descriptor, or fails with ErrLocked. The
// lock ends with the descriptor, however the process ends.
func lockFile(file *os.File) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	if err := conn.Control(func(fd uintptr) {
		lockErr = unix.Flock(int(fd), unix.LOCK_EX|unix.LOCK_NB)
	}); err != nil {
		return err
	}
	if errors.Is(lockErr, unix.EWOULDBLOCK) {
		return ErrLocked
	}
	return lockErr
}
