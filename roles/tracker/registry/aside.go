package registry

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// SetAside renames a seederlist file that [Open] refused, so that nothing is
// written over it, and returns its new name, which says why and when: that of
// the file with ".damaged", ".foreign" or ".other-version" and the time behind
// it. why is Open's error; one that does not say that the file is unusable, such
// as [ErrInUse], leaves the file where it is and comes back.
func SetAside(path string, why error) (string, error) {
	var word string
	switch {
	case errors.Is(why, ErrDamaged):
		word = "damaged"
	case errors.Is(why, ErrForeign):
		word = "foreign"
	case errors.Is(why, ErrVersion):
		word = "other-version"
	default:
		return "", why
	}
	base := fmt.Sprintf("%s.%s-%s", path, word, time.Now().UTC().Format("20060102T150405Z"))
	name := base
	for i := 2; ; i++ {
		_, err := os.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			break
		}
		if err != nil {
			return "", fmt.Errorf("set aside %s: %w", path, err)
		}
		name = fmt.Sprintf("%s-%d", base, i)
	}
	if err := os.Rename(path, name); err != nil {
		return "", fmt.Errorf("set aside %s: %w", path, err)
	}
	syncDir(filepath.Dir(path))
	return name, nil
}
