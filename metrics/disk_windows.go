package metrics

import "golang.org/x/sys/windows"

// DiskRoom is what a user may still write below path, and the size of its file
// system, in bytes.
func DiskRoom(path string) (free, size uint64, err error) {
	p, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return 0, 0, err
	}
	err = windows.GetDiskFreeSpaceEx(p, &free, &size, nil)
	return free, size, err
}
