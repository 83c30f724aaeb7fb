package storage

import (
	"context"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// allocStep is how much is allocated in one system call: between two, a
// download can be cancelled.
const allocStep = 256 << 20

// preallocate gives the file its size and all of its blocks, so that a disk
// that is too small says so before the download begins. File systems without
// fallocate(2) get the size, and only the free space is looked at.
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

func allocate(ctx context.Context, fd int, size int64) error {
	// Asking first spares the other programs of this machine a full disk for
	// the moment that it takes to find out. File systems without a limit of
	// their own say zero.
	var disk unix.Statfs_t
	var own unix.Stat_t
	if unix.Fstatfs(fd, &disk) == nil && unix.Fstat(fd, &own) == nil && disk.Blocks > 0 {
		free := int64(disk.Bfree) * disk.Bsize
		if need := size - own.Blocks*512; need > free {
			return fmt.Errorf("%d bytes more than the disk has free: %w", need-free, unix.ENOSPC)
		}
	}
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
