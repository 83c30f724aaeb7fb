package torrentfmt

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/torrentfmt/tree"
)

// CreateFolder is Create for the folder at path: of all regular files in it, as
// if they stood one behind the other. Symbolic links, devices and the like are
// left out, and skipped, if not nil, is told of each: its path in the folder,
// and what it is. A folder without a file that could be shared is refused.
// Besides it returns what each file looked like before it was hashed and looks
// like still.
func CreateFolder(ctx context.Context, path string, trackers [2]string, progress func(done, total int64), skipped func(path, what string)) (*Torrent, []fs.FileInfo, error) {
	abs, err := filepath.Abs(path) // "." has a name, too
	if err != nil {
		return nil, nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, nil, err
	}
	defer func() { _ = root.Close() }() // only read from: nothing can be lost
	files, before, err := listFolder(ctx, root, skipped)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	t := &Torrent{Trackers: trackers, Name: filepath.Base(abs), Files: files}
	for i := range files {
		if t.Size += files[i].Size; t.Size > MaxSize {
			break // Check says so
		}
	}
	if err := t.checkNew(path); err != nil {
		return nil, nil, err
	}
	folder := &tree.Folder{Root: root, Paths: t.Paths(), Flag: os.O_RDONLY}
	body := tree.New(t.Sizes(), folder)
	defer func() { _ = body.Close() }()
	if err := t.hash(ctx, body, progress); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	for i := range files {
		after, err := folder.Stat(i)
		if err != nil {
			return nil, nil, err
		}
		if after.Size() != before[i].Size() || !after.ModTime().Equal(before[i].ModTime()) || !os.SameFile(before[i], after) {
			return nil, nil, fmt.Errorf("%s: %w", filepath.Join(path, filepath.FromSlash(files[i].Path)), ErrChanged)
		}
	}
	return t, before, nil
}

// listFolder finds the regular files, sorted by path.
func listFolder(ctx context.Context, root *os.Root, skipped func(path, what string)) ([]File, []fs.FileInfo, error) {
	type found struct {
		File
		info fs.FileInfo
	}
	list := []found{}
	err := fs.WalkDir(root.FS(), ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil {
			err = ctx.Err()
		}
		if err != nil || d.IsDir() {
			return err
		}
		if what := irregular(d.Type()); what != "" {
			if skipped != nil {
				skipped(path, what)
			}
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if len(list) == MaxFiles {
			return fmt.Errorf("more than %d files: share an archive of them", MaxFiles)
		}
		list = append(list, found{File{Path: path, Size: info.Size(), Executable: info.Mode()&0o100 != 0}, info})
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	if len(list) == 0 {
		return nil, nil, errors.New("no regular file is in it: there is nothing to share")
	}
	slices.SortFunc(list, func(a, b found) int { return cmp.Compare(a.Path, b.Path) })
	files, infos := make([]File, len(list)), make([]fs.FileInfo, len(list))
	for i := range list {
		files[i], infos[i] = list[i].File, list[i].info
	}
	return files, infos, nil
}

// irregular names what is no regular file; "" for one that is.
func irregular(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode&fs.ModeSymlink != 0:
		return "a symbolic link"
	case mode&fs.ModeNamedPipe != 0:
		return "a FIFO"
	case mode&fs.ModeSocket != 0:
		return "a socket"
	case mode&fs.ModeDevice != 0:
		return "a device"
	default:
		return "no file of bytes"
	}
}

// VerifyFolder is Verify for the folder at path. Pieces with bytes of files that
// are missing, or no regular files, are not there. size is what the torrent's
// files have there altogether, in bytes; other files are not looked at.
func VerifyFolder(ctx context.Context, t *Torrent, path string, progress func(done, total int64)) (have *bitset.BitSet, size int64, err error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, 0, err
	}
	defer func() { _ = root.Close() }() // only read from: nothing can be lost
	folder := &tree.Folder{Root: root, Paths: t.Paths(), Flag: os.O_RDONLY}
	for i := range t.Files {
		if info, err := folder.Stat(i); err == nil {
			size += info.Size()
		}
	}
	body := tree.New(t.Sizes(), folder)
	defer func() { _ = body.Close() }()
	have, err = Verify(ctx, t, partly{body}, progress)
	return have, size, err
}

// partly ends a read at a file that is missing or no regular file.
type partly struct{ body *tree.Tree }

func (p partly) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.body.ReadAt(b, off)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrInvalid) {
		err = io.EOF
	}
	return n, err
}
