package tree

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Folder is Files in an open folder, by slash-separated paths. Nothing outside
// of the folder is opened, and nothing that is no regular file.
type Folder struct {
	Root  *os.Root
	Paths []string
	Flag  int // os.O_RDONLY or os.O_RDWR
}

// Open implements Files. A path that does not lead to a regular file is
// fs.ErrInvalid, and is not opened: a FIFO would block.
func (f *Folder) Open(i int) (*os.File, error) {
	info, err := f.Stat(i)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s is no regular file: %w", f.name(i), fs.ErrInvalid)
	}
	file, err := f.Root.OpenFile(filepath.FromSlash(f.Paths[i]), f.Flag|openNonblock, 0)
	if err != nil {
		return nil, f.named(i, err)
	}
	opened, err := file.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("%s was replaced while it was opened: %w", f.name(i), fs.ErrInvalid)
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// Stat implements Files.
func (f *Folder) Stat(i int) (fs.FileInfo, error) {
	info, err := f.Root.Lstat(filepath.FromSlash(f.Paths[i]))
	return info, f.named(i, err)
}

func (f *Folder) name(i int) string {
	return filepath.Join(f.Root.Name(), filepath.FromSlash(f.Paths[i]))
}

// named puts the whole path into an error of os.Root, and leaves the name of
// the system call out.
func (f *Folder) named(i int, err error) error { return Named(err, f.name(i)) }

// Named says path and cause of an error of package os, and not the system call.
func Named(err error, path string) error {
	switch e := err.(type) { //nolint:errorlint // only an error that is nothing else
	case *fs.PathError:
		return fmt.Errorf("%s: %w", path, e.Err)
	case *os.LinkError:
		return fmt.Errorf("%s: %w", path, e.Err)
	}
	return err
}
