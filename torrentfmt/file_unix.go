//go:build unix

package torrentfmt

import (
	"errors"
	"os"
	"syscall"
)

// openNonblock lets open(2) return at once should the path lead to a FIFO.
const openNonblock = syscall.O_NONBLOCK

// syncFolder makes a new name in the folder survive a power cut.
func syncFolder(path string) error {
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	err = d.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // some network file systems know no fsync of a folder
	}
	return errors.Join(err, d.Close())
}
