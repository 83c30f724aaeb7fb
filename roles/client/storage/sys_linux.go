package storage

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// allocStep is how much is allocated in one system call: between two, a
// download can be cancelled.
const allocStep = 256 << 20

// preallocate gives the file its size and all of its blocks, so that a disk
// that is too small says so before the download begins. On file systems without
// fallocate(2) it gets the size alone.
func preallocate(ctx context.Context, file *os.File, size int64) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var sysErr error
	if err := conn.Control(func(fd uintptr) { sysErr = allocate(ctx, int(fd), size) }); err != nil {
		return err
	}
	if errors.Is(sysErr, unix.EOPNOTSUPP) || errors.Is(sysErr, unix.ENOSYS) {
		return file.Truncate(size)
	}
	return sysErr
}

// checkRoom refuses, with a *FullError, need bytes more than are free on the disk
// of file. Asking first spares the other programs of this machine a full disk
// for the moment that it takes to find out. File systems without a limit of their
// own say zero.
func checkRoom(file *os.File, need int64) error {
	conn, err := file.SyscallConn()
	if err != nil {
		return err
	}
	var disk unix.Statfs_t
	var sysErr error
	if err := conn.Control(func(fd uintptr) { sysErr = unix.Fstatfs(int(fd), &disk) }); err != nil {
		return err
	}
	free := int64(disk.Bfree) * disk.Bsize
	if sysErr == nil && disk.Blocks > 0 && need > free {
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

func allocate(ctx context.Context, fd int, size int64) error {
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(allocStep, size-off)
		err := unix.Fallocate(fd, 0, off, n)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		off += n
	}
	return nil
}

// renameNoReplace gives the file from the name to, or fails with fs.ErrExist.
func renameNoReplace(root *os.Root, from, to string) error {
	dir, err := root.Open(".")
	if err != nil {
		return err
	}
	defer func() { _ = dir.Close() }() // only a handle
	conn, err := dir.SyscallConn()
	if err != nil {
		return err
	}
	var sysErr error
	if err := conn.Control(func(fd uintptr) {
		sysErr = unix.Renameat2(int(fd), from, int(fd), to, unix.RENAME_NOREPLACE)
	}); err != nil {
		return err
	}
	// EINVAL: the file system does not know the flag.
	if errors.Is(sysErr, unix.ENOSYS) || errors.Is(sysErr, unix.EINVAL) || errors.Is(sysErr, unix.EOPNOTSUPP) {
		return renameByLink(root, from, to)
	}
	return sysErr
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
