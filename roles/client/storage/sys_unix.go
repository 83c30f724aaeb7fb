//go:build unix

package storage

import (
	"errors"
	"os"
	"syscall"
)

// openNonblock lets open(2) return at once should the name lead to a FIFO.
const openNonblock = syscall.O_NONBLOCK

var diskFull = []error{syscall.ENOSPC, syscall.EDQUOT}

// syncFolder makes names in the folder survive a power cut.
func syncFolder(root *os.Root) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	err = dir.Sync()
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.ENOTSUP) {
		err = nil // some network file systems know no fsync of a folder
	}
	return errors.Join(err, dir.Close())
}
