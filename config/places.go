package config

import (
	"os"
	"path/filepath"
	"runtime"
)

// FileEnv names a settings file, as --config does.
const FileEnv = envPrefix + "_CONFIG"

// Places are where a role's settings file is looked for when none is named, the
// first that exists is the one: the user's own, then the machine's.
//
//	$XDG_CONFIG_HOME/mtor/<role>.yaml (XDG Base Directory Specification)
//	/etc/mtor/<role>.yaml
//
// Where XDG_CONFIG_HOME is unset or relative the system's usual folder takes
// its place: ~/.config on Linux.
func Places(role string) []string {
	var list []string
	own := os.Getenv("XDG_CONFIG_HOME")
	if !filepath.IsAbs(own) {
		own, _ = os.UserConfigDir() // without one there is no place
	}
	if own != "" {
		list = append(list, filepath.Join(own, "mtor", role+".yaml"))
	}
	if runtime.GOOS != "windows" {
		list = append(list, "/etc/mtor/"+role+".yaml")
	}
	return list
}

// Find is the first of the places that holds something, or empty.
func Find(places []string) string {
	for _, path := range places {
		if _, err := os.Lstat(path); err == nil {
			return path
		}
	}
	return ""
}
