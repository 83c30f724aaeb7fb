package control

import (
	"fmt"
	"path/filepath"
)

// Named are the names of a torrent in a library.
type Named struct {
	ID       string // hex
	Name     string // filename
	Mtorrent string // absolute path
}

// Named are the names that the download goes by.
func (d Download) Named() Named { return Named{d.ID, d.Name, d.Mtorrent} }

// Find picks from a list the torrent that a user has named, as [API] says. The
// path of a .mtorrent, which may be relative to the working directory, goes
// before all else.
func Find[T any](list []T, of func(T) Named, name string) (found T, err error) {
	abs, err := filepath.Abs(name)
	if err != nil {
		return found, err
	}
	n := 0
	for _, x := range list {
		names := of(x)
		if names.Mtorrent == abs {
			return x, nil
		}
		if name != "" && (filepath.Base(names.Mtorrent) == name || names.Name == name || names.ID == name) {
			found = x
			n++
		}
	}
	switch n {
	case 1:
		return found, nil
	case 0:
		return found, fmt.Errorf("%s %w: `show downloads`, or mtor client downloads, lists what is", name, ErrUnknown)
	}
	return found, fmt.Errorf("%s names %d torrents: give the whole path of the .mtorrent", name, n)
}
