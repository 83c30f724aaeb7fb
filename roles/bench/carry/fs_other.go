//go:build !linux

package carry

// FileSystem names the file system that a folder is on; it is known on Linux
// alone.
func FileSystem(string) string { return "unknown" }
