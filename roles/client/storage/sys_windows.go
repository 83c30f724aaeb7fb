package storage

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// openNonblock is no flag at all: a name cannot lead to a FIFO here.
const openNonblock = 0

var diskFull = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL}

// syncFolder does nothing: names are written through, and a folder cannot be
// synced.
func syncFolder(*os.Root) error { return nil }

// lockFolder does nothing: a folder cannot be locked. The library keeps one
// client from downloading twice to one place.
func lockFolder(*os.File) error { return nil }

// lockFile takes the file for this process, or fails with ErrLocked. It locks
// the last byte that a file can have, because locks here forbid reading.
func lockFile(file *os.File) error {
	at := &windows.Overlapped{Offset: 0xfffffffe, OffsetHigh: 0x7fffffff}
	err := windows.LockFileEx(windows.Handle(file.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) || errors.Is(err, windows.ERROR_IO_PENDING) {
		return ErrLocked
	}
	return err
}

// hasOtherNames cannot be told from what is known of a file here.
func hasOtherNames(fs.FileInfo) bool { return false }
