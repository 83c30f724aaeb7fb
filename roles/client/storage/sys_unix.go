//go:build unix

package storage

import (
	"errors"
	"io/fs"
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

// hasOtherNames reports whether a regular file has more than one name.
func hasOtherNames(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && st.Nlink > 1
}
