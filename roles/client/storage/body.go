package storage

import (
	"context"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/torrentfmt/tree"
)

// body is what holds a torrent's bytes: one file, or the files of a folder as
// one run of bytes.
type body interface {
	io.ReaderAt
	io.WriterAt
	// wrote tells of n bytes that were written. It may have the disk begin with
	// them, and then wait for a place in the disk's queue.
	wrote(n int)
	// section is an unread reader of n bytes at off.
	section(off, n int64) *io.SectionReader
	// stat tells of the file or folder that is open, whatever its name is now.
	stat() (fs.FileInfo, error)
	mark() (Mark, error)
	// remember notes what the files look like and returns their mark. intact
	// reports whether those with n bytes at off look so still; an error means
	// that nothing of them is there any more under its name. path is the body's.
	remember() (Mark, error)
	intact(path string, off, n int64) (bool, error)
	// sync makes what was written durable, and names in a folder with it.
	sync() error
	// lock takes it for this process, or fails with ErrLocked.
	lock() error
	// distinct refuses, with an *OccupiedError, a folder in which two paths
	// could lead to one file: the pieces of one would overwrite the other's.
	distinct() error
	// reserve gives every file its size and begins to give it its room on the
	// disk; it may be called again. A *FullError, or one that IsDiskFull knows, is
	// a disk that has not that much.
	reserve(ctx context.Context) error
	// hole reports whether nothing was ever written to n bytes at off.
	hole(off, n int64) bool
	// remove deletes it; name is its name in the folder that it is in.
	remove(in *os.Root, name string) error
	Close() error
}

// fileBody is a single file.
type fileBody struct {
	*os.File
	size int64      // the torrent's
	seek sync.Mutex // holds the file's offset, which nothing else uses
	seen fs.FileInfo
	room room
	dirt dirt
}

func (f *fileBody) WriteAt(p []byte, off int64) (int, error) {
	f.room.ahead(f.File, aheadFactor*int64(len(p)))
	return f.File.WriteAt(p, off)
}

func (f *fileBody) wrote(n int) {
	if f.dirt.add(n) {
		writeBack(f.File)
	}
}

func (f *fileBody) section(off, n int64) *io.SectionReader {
	return io.NewSectionReader(f.File, off, n)
}

func (f *fileBody) stat() (fs.FileInfo, error) { return f.Stat() }

func (f *fileBody) mark() (Mark, error) {
	info, err := f.Stat()
	if err != nil {
		return Mark{}, err
	}
	return markOf(info), nil
}

func markOf(info fs.FileInfo) Mark {
	return Mark{Size: info.Size(), ModTime: info.ModTime().UnixNano()}
}

func (f *fileBody) remember() (Mark, error) {
	var err error
	if f.seen, err = f.Stat(); err != nil {
		return Mark{}, err
	}
	return markOf(f.seen), nil
}

func (f *fileBody) intact(path string, _, _ int64) (bool, error) {
	there, err := os.Stat(path)
	if err != nil {
		return false, err
	}
	if !os.SameFile(there, f.seen) {
		return false, ErrReplaced
	}
	return markOf(there) == markOf(f.seen), nil
}

func (f *fileBody) sync() error { return f.Sync() }

func (f *fileBody) lock() error { return lockFile(f.File) }

func (f *fileBody) distinct() error { return nil }

func (f *fileBody) reserve(ctx context.Context) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := checkRoom(f.File, f.size-allocated(info)); err != nil {
		return err
	}
	return f.room.reserve(ctx, f.File, f.size, reserveTime)
}

func (f *fileBody) hole(off, n int64) bool {
	f.seek.Lock()
	defer f.seek.Unlock()
	return isHole(f.File, off, n)
}

func (f *fileBody) remove(in *os.Root, name string) error { return in.Remove(name) }

// folderBody is the files of a folder.
type folderBody struct {
	*tree.Tree
	t     *torrentfmt.Torrent
	root  *os.Root // the folder
	self  *os.File // the same, to lock it
	files *tree.Folder
	seen  []fs.FileInfo
	saved sync.Once
	err   error // of the one sync of the names in it

	mu    sync.Mutex
	dirty map[int]bool // files that were written since they were synced
}

// newFolderBody takes root over. flag is how files are opened.
func newFolderBody(t *torrentfmt.Torrent, root *os.Root, flag int) (*folderBody, error) {
	self, err := root.Open(".")
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	files := &tree.Folder{Root: root, Paths: t.Paths(), Flag: flag}
	return &folderBody{
		Tree: tree.New(t.Sizes(), files), t: t, root: root, self: self, files: files, dirty: map[int]bool{},
	}, nil
}

// section reads through the tree: a piece may have bytes of several files.
func (f *folderBody) section(off, n int64) *io.SectionReader {
	return io.NewSectionReader(f.Tree, off, n)
}

func (f *folderBody) stat() (fs.FileInfo, error) { return f.self.Stat() }

// mark sums the sizes; its time is a digest of size and time of every file.
func (f *folderBody) mark() (Mark, error) {
	m, _, err := f.look()
	return m, err
}

func (f *folderBody) remember() (m Mark, err error) {
	m, f.seen, err = f.look()
	return m, err
}

func (f *folderBody) look() (m Mark, seen []fs.FileInfo, err error) {
	for i := range f.Len() {
		info, err := f.Stat(i)
		if err != nil {
			return Mark{}, nil, err
		}
		if !info.Mode().IsRegular() {
			return Mark{}, nil, f.occupied(f.files.Paths[i], notRegular(info.Mode()))
		}
		seen = append(seen, info)
	}
	return FolderMark(seen), seen, nil
}

// FolderMark is the mark of a folder whose files, in the torrent's order, look
// like this.
func FolderMark(files []fs.FileInfo) Mark {
	var m Mark
	var b [16]byte
	sum := sha1.New()
	for _, info := range files {
		m.Size += info.Size()
		binary.BigEndian.PutUint64(b[:], uint64(info.Size()))
		binary.BigEndian.PutUint64(b[8:], uint64(info.ModTime().UnixNano()))
		_, _ = sum.Write(b[:]) // never fails
	}
	m.ModTime = int64(binary.BigEndian.Uint64(sum.Sum(nil)))
	return m
}

func (f *folderBody) intact(_ string, off, n int64) (bool, error) {
	same := true
	for _, part := range f.Parts(off, n) {
		there, err := f.Stat(part.File)
		if err != nil {
			return false, err
		}
		if !os.SameFile(there, f.seen[part.File]) {
			f.Forget(part.File)
			same = false
		}
		same = same && markOf(there) == markOf(f.seen[part.File])
	}
	return same, nil
}

// WriteAt notes which files will have to be synced.
func (f *folderBody) WriteAt(p []byte, off int64) (int, error) {
	f.mu.Lock()
	for _, part := range f.Parts(off, int64(len(p))) {
		f.dirty[part.File] = true
	}
	f.mu.Unlock()
	return f.Tree.WriteAt(p, off)
}

// wrote leaves the time of writing to the system.
func (f *folderBody) wrote(int) {}

func (f *folderBody) sync() error {
	f.mu.Lock()
	dirty := f.dirty
	f.dirty = map[int]bool{}
	f.mu.Unlock()
	for i := range dirty {
		if err := f.syncOne(i); err != nil {
			f.mu.Lock()
			for i := range dirty {
				f.dirty[i] = true
			}
			f.mu.Unlock()
			return err
		}
	}
	f.saved.Do(func() {
		for _, name := range append(tree.Folders(f.files.Paths), ".") {
			f.err = errors.Join(f.err, f.syncName(name))
		}
	})
	return f.err
}

func (f *folderBody) syncOne(i int) error {
	file, release, err := f.Acquire(i)
	if err != nil {
		return err
	}
	defer release()
	return file.Sync()
}

func (f *folderBody) syncName(name string) error {
	in, err := f.root.OpenRoot(filepath.FromSlash(name))
	if err != nil {
		return err
	}
	return errors.Join(syncFolder(in), in.Close())
}

func (f *folderBody) lock() error { return lockFolder(f.self) }

func (f *folderBody) distinct() error {
	for _, name := range tree.Folders(f.files.Paths) {
		info, err := f.root.Lstat(filepath.FromSlash(name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case info.Mode()&fs.ModeSymlink != 0:
			return f.occupied(name, "is a symbolic link"+inTheWay)
		case !info.IsDir():
			return f.occupied(name, "is no folder"+inTheWay)
		}
	}
	for i := range f.Len() {
		info, err := f.Stat(i)
		switch {
		case errors.Is(err, fs.ErrNotExist):
		case err != nil:
			return err
		case !info.Mode().IsRegular():
			return f.occupied(f.files.Paths[i], notRegular(info.Mode()))
		case hasOtherNames(info):
			return f.occupied(f.files.Paths[i], "has a second name (a hard link)"+inTheWay)
		}
	}
	return nil
}

func (f *folderBody) occupied(path, why string) error {
	return &OccupiedError{Path: filepath.Join(f.root.Name(), filepath.FromSlash(path)), Why: why}
}

// named puts the whole path into an error about a path of the folder.
func (f *folderBody) named(path string, err error) error {
	return tree.Named(err, filepath.Join(f.root.Name(), filepath.FromSlash(path)))
}

// populate makes the folders and files that are missing.
func (f *folderBody) populate() error {
	for _, name := range tree.Folders(f.files.Paths) {
		err := f.root.Mkdir(filepath.FromSlash(name), 0o755)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return f.named(name, err)
		}
	}
	for i := range f.t.Files {
		mode := fs.FileMode(0o644)
		if f.t.Files[i].Executable {
			mode = 0o755
		}
		file, err := f.root.OpenFile(filepath.FromSlash(f.t.Files[i].Path), os.O_RDWR|os.O_CREATE|os.O_EXCL, mode)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			err = file.Close()
		}
		if err != nil {
			return f.named(f.t.Files[i].Path, err)
		}
	}
	return nil
}

func (f *folderBody) reserve(ctx context.Context) error {
	need := int64(0)
	for i := range f.Len() {
		need += f.Size(i)
		if info, err := f.Stat(i); err == nil {
			need -= min(allocated(info), f.Size(i)) // the last block reaches behind the end
		}
	}
	if err := checkRoom(f.self, need); err != nil {
		return err
	}
	if err := f.populate(); err != nil {
		return err
	}
	for i := range f.Len() {
		if err := f.reserveOne(ctx, i); err != nil {
			return err
		}
	}
	return nil
}

func (f *folderBody) reserveOne(ctx context.Context, i int) error {
	file, release, err := f.Acquire(i)
	if err != nil {
		return err
	}
	defer release()
	if info, err := file.Stat(); err != nil || info.Size() > f.Size(i) {
		return errors.Join(err, file.Truncate(f.Size(i)))
	}
	return new(room).reserve(ctx, file, f.Size(i), forever)
}

// hole opens files of its own: it moves their offsets. A file that is missing
// holds nothing.
func (f *folderBody) hole(off, n int64) bool {
	for _, part := range f.Parts(off, n) {
		file, err := f.files.Open(part.File)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return false
		}
		empty := isHole(file, part.Off, part.Len)
		if file.Close() != nil || !empty {
			return false
		}
	}
	return true
}

// remove deletes the torrent's files and the folders that are then empty: what
// somebody else put there stays.
func (f *folderBody) remove(in *os.Root, name string) error {
	f.Rest()
	for _, path := range f.files.Paths {
		if err := f.root.Remove(filepath.FromSlash(path)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	folders := tree.Folders(f.files.Paths)
	slices.Reverse(folders)
	for _, path := range folders {
		_ = f.root.Remove(filepath.FromSlash(path)) // not empty
	}
	_ = in.Remove(name)
	return nil
}

// Close also ends sections that are in use.
func (f *folderBody) Close() error {
	return errors.Join(f.Tree.Close(), f.self.Close(), f.root.Close())
}
