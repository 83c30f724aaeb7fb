package torrentfmt

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/mtor-dev/mtor/plain"
)

// ExistsError refuses to write a .mtorrent where something else stands.
type ExistsError struct {
	Path string
	Err  error // why what stands there could not be read as a .mtorrent; nil if it could and says something else
}

func (e *ExistsError) Error() string {
	if e.Err == nil {
		return e.Path + " exists and is a different .mtorrent: choose another name"
	}
	return fmt.Sprintf("%s exists and is not this .mtorrent (%s): choose another name", e.Path, strings.TrimPrefix(e.Err.Error(), e.Path+": "))
}

func (e *ExistsError) Unwrap() error { return e.Err }

// Is makes errors.Is(err, fs.ErrExist) true.
func (e *ExistsError) Is(target error) bool { return target == fs.ErrExist }

// WriteFile writes t to path, so that the whole file is there under its name
// and on the disk, or nothing is. A .mtorrent at path that says the same is
// left as it is (reused), anything else is left too and refused with an
// *ExistsError. Of several writers one wins.
//
// The name is given by link(2), which fails where the name is taken; rename(2),
// on which libraries for atomic writes are built, would replace what another
// process has put there since the look.
func WriteFile(path string, t *Torrent) (reused bool, err error) {
	if err := t.Check(); err != nil {
		return false, err
	}
	reused, err = sameAt(path, t)
	if reused || !errors.Is(err, fs.ErrNotExist) {
		return reused, err
	}
	err = writeNew(path, t.Encode())
	if errors.Is(err, fs.ErrExist) {
		// Another writer was faster, or path is a link to nothing.
		reused, err = sameAt(path, t)
		if errors.Is(err, fs.ErrNotExist) {
			err = &ExistsError{path, errors.New("a symbolic link that leads nowhere")}
		}
		return reused, err
	}
	if errors.Is(err, fs.ErrNotExist) {
		return false, plain.Say(err, "write %s: there is no folder %s: make it first", path, filepath.Dir(path))
	}
	if err != nil {
		return false, fmt.Errorf("write %s: %w", path, cause(err))
	}
	return false, nil
}

// sameAt reports whether the .mtorrent at path says what t says. The error is
// fs.ErrNotExist when nothing is there, an *ExistsError when something else is.
func sameAt(path string, t *Torrent) (bool, error) {
	old, err := Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, err
	case err != nil:
		return false, &ExistsError{path, cause(err)}
	case !old.Equal(t):
		return false, &ExistsError{Path: path}
	}
	return true, nil
}

// writeNew makes the file under a name of its own and then links it to path.
// The error is fs.ErrExist when path is taken.
func writeNew(path string, data []byte) error {
	folder := filepath.Dir(path)
	temp := filepath.Join(folder, Ext+"-"+rand.Text())
	if err := writeSynced(temp, data); err != nil {
		return err
	}
	err := os.Link(temp, path)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		err = claim(temp, path)
	}
	// After claim has renamed it, the name is free already.
	if e := os.Remove(temp); e != nil && !errors.Is(e, fs.ErrNotExist) && err == nil {
		err = e
	}
	if err != nil {
		return err
	}
	return syncFolder(folder)
}

// writeSynced writes a new file and brings it to the disk. It leaves no file
// behind when it fails.
func writeSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		_ = os.Remove(path) // the first error is the one to tell
	}
	return err
}

// claim gives temp the name path on a file system without hard links (FAT, some
// network shares): it takes the name with an empty file, which fails where the
// name is taken, and replaces that one.
func claim(temp, path string) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	err = f.Close()
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		_ = os.Remove(path) // our own empty file
	}
	return err
}

// cause drops the operation and the path from an error of package os: the path
// is told anyway, or is that of a file which is gone.
func cause(err error) error {
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) {
		return pathErr.Err
	}
	var linkErr *os.LinkError
	if errors.As(err, &linkErr) {
		return linkErr.Err
	}
	return err
}
