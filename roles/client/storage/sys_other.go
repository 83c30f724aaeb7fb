//go:build !linux

package storage

import (
	"errors"
	"io/fs"
	"os"
)

// allocate does nothing: the blocks come as they are written.
func allocate(*os.File, int64, int64) error { return errors.ErrUnsupported }

// writeBack leaves the time of writing to the system.
func writeBack(*os.File) {}

// checkRoom leaves it to the system to say that the disk is full.
func checkRoom(*os.File, int64) error { return nil }

// allocated is only of use to checkRoom.
func allocated(fs.FileInfo) int64 { return 0 }

// renameNoReplace gives the file from the name to, or fails with fs.ErrExist.
func renameNoReplace(root *os.Root, from, to string) error { return renameByLink(root, from, to) }

// isHole knows of no holes here: every byte is read.
func isHole(*os.File, int64, int64) bool { return false }
