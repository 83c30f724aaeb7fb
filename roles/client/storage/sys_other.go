//go:build !linux

package storage

import (
	"context"
	"io/fs"
	"os"
)

// preallocate gives the file its size. The blocks come as they are written.
func preallocate(_ context.Context, file *os.File, size int64) error { return file.Truncate(size) }

// checkRoom leaves it to the system to say that the disk is full.
func checkRoom(*os.File, int64) error { return nil }

// allocated is only of use to checkRoom.
func allocated(fs.FileInfo) int64 { return 0 }

// renameNoReplace gives the file from the name to, or fails with fs.ErrExist.
func renameNoReplace(root *os.Root, from, to string) error { return renameByLink(root, from, to) }

// isHole knows of no holes here: every byte is read.
func isHole(*os.File, int64, int64) bool { return false }
