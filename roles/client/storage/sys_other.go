//go:build !linux

package storage

import (
	"context"
	"os"
)

// preallocate gives the file its size. The blocks come as they are written.
func preallocate(_ context.Context, file *os.File, size int64) error { return file.Truncate(size) }

// renameNoReplace gives the file from the name to, or fails with fs.ErrExist.
func renameNoReplace(root *os.Root, from, to string) error { return renameByLink(root, from, to) }

// isHole knows of no holes here: every byte is read.
func isHole(*os.File, int64, int64) bool { return false }
