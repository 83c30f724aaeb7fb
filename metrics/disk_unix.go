//go:build linux || darwin

package metrics

import "golang.org/x/sys/unix"

// DiskRoom is what a user may still write below path, and the size of its file
// system, in bytes.
func DiskRoom(path string) (free, size uint64, err error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return 0, 0, err
	}
	block := uint64(st.Bsize)
	return st.Bavail * block, st.Blocks * block, nil
}
