package carry

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
)

// FileSystem names the file system that a folder is on, as mounted: "tmpfs",
// "ext4"; "unknown" if it cannot be told.
func FileSystem(dir string) string {
	const unknown = "unknown"
	dir, err := filepath.Abs(dir)
	if err != nil {
		return unknown
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	f, err := os.Open("/proc/self/mounts")
	if err != nil {
		return unknown
	}
	defer f.Close()
	name, longest := unknown, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		// The device, the mount point, the type, ... (fstab(5)); of several on
		// one point the last one is seen.
		fields := strings.Fields(lines.Text())
		if len(fields) < 3 {
			continue
		}
		at := fields[1]
		within := dir == at || at == "/" || strings.HasPrefix(dir, at+"/")
		if within && len(at) >= longest {
			name, longest = fields[2], len(at)
		}
	}
	return name
}
