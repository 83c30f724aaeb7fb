package storage

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// checkRoom refuses, with a *FullError, need bytes more than are free on the disk
// of file. Asking first spares the other programs of this machine a full disk
// for the moment that it takes to find out. File systems without a limit of their
// own say zero.
func checkRoom(file *os.File, need int64) error {
	var disk unix.Statfs_t
	if err := control(file, func(fd int) error { return unix.Fstatfs(fd, &disk) }); err != nil {
		return nil //nolint:nilerr // then the writing tells
	}
	free := int64(disk.Bfree) * disk.Bsize
	if disk.Blocks > 0 && need > free {
		return &FullError{Path: file.Name(), Lacks: need - free, Err: unix.ENOSPC}
	}
	return nil
}

// allocated is how many bytes of the disk a file has.
func allocated(info fs.FileInfo) int64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Blocks * 512
	}
	return 0
}

// allocate gives n bytes of the file at off their blocks. File systems without
// fallocate(2) answer errors.ErrUnsupported.
func allocate(file *os.File, off, n int64) error {
	return control(file, func(fd int) error {
		for {
			if err := unix.Fallocate(fd, 0, off, n); err != unix.EINTR {
				return err
			}
		}
	})
}

// writeBack begins to write to the disk what the page cache holds of the file,
// and waits for none of it but a place in the disk's queue.
func writeBack(file *os.File) {
	_ = control(file, func(fd int) error { // Sync finds what cannot be written
		return unix.SyncFileRange(fd, 0, 0, unix.SYNC_FILE_RANGE_WRITE)
	})
}

// control calls f with the file's descriptor.
func control(file *os.File, f func(fd int) error) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var sysErr error
	if err := conn.Control(func(fd uintptr) { sysErr = f(int(fd)) }); err != nil {
		return err
	}
	return sysErr
}

// renameNoReplace gives the file from the name to, or fails with fs.ErrExist.
func renameNoReplace(root *os.Root, from, to string) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // only a handle
	err = control(dir, func(fd int) error {
		return unix.Renameat2(fd, from, fd, to, unix.RENAME_NOREPLACE)
	})
	// EINVAL: the file system does not know the flag.
	if errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EOPNOTSUPP) {
		return renameByLink(root, from, to)
	}
	return err
}

// isHole reports whether nothing was ever written to n bytes at off. It moves
// the file's offset.
func isHole(file *os.File, off, n int64) bool {
	data, err := file.Seek(off, unix.SEEK_DATA)
	if errors.Is(err, unix.ENXIO) {
		return true // nothing but a hole up to the end
	}
	return err == nil && data >= off+n
}
