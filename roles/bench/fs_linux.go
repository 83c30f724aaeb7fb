package bench

import (
	"os"
	"path/filepath"
	"strings"
)

// fileSystem names the file system that dir lies on; "" if that cannot be said.
func fileSystem(dir string) string {
	dir, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return ""
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return ""
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return ""
	}
	return mountedOn(dir, string(b))
}

// mountedOn finds the file system of an absolute path in what proc(5) describes
// as mountinfo: the fifth field is the mount point, and the type follows a lone
// "-". Of several mounts on one point the last is seen.
func mountedOn(path, mounts string) (fs string) {
	best := -1
	for line := range strings.Lines(mounts) {
		front, back, ok := strings.Cut(line, " - ")
		fields, kind := strings.Fields(front), strings.Fields(back)
		if !ok || len(fields) < 5 || len(kind) == 0 {
			continue
		}
		point := strings.TrimSuffix(unescape(fields[4]), "/")
		within := path == point || strings.HasPrefix(path, point+"/")
		if within && len(point) >= best {
			best, fs = len(point), kind[0]
		}
	}
	return fs
}

// unescape undoes what the kernel does to the characters that would end a field.
func unescape(s string) string {
	return strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace(s)
}
