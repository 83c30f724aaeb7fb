// Package tree makes one run of bytes of the files of a torrent, in their
// order, as BitTorrent version 1 does: a piece may begin in one file and end in
// another. It opens files when they are needed and keeps few of them open.
package tree

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"sort"
	"sync"
)

// maxOpen is how many files that nobody reads or writes at the moment a tree
// keeps open: enough for those that are in work, and a small part of what a
// process may open.
const maxOpen = 64

// Files are the files of a tree, by their index. Both methods are called from
// several goroutines.
type Files interface {
	// Open opens a file; the tree closes it.
	Open(i int) (*os.File, error)
	// Stat tells what stands under the file's name now, without following a
	// last symbolic link that is not the user's own.
	Stat(i int) (fs.FileInfo, error)
}

// Tree is a run of files. Its methods may be called concurrently.
type Tree struct {
	files Files
	begin []int64 // where each file begins, and behind the last, the length of all

	mu     sync.Mutex
	open   map[int]*handle
	clock  uint64 // of uses, to find the handle that was used longest ago
	closed bool
}

type handle struct {
	file  *os.File
	users int
	used  uint64
	stale bool // forgotten: closed with its last user
}

// New makes a tree of files of the given sizes, in bytes. Nothing is opened.
func New(sizes []int64, files Files) *Tree {
	t := &Tree{files: files, begin: make([]int64, 1, len(sizes)+1), open: make(map[int]*handle)}
	for _, n := range sizes {
		t.begin = append(t.begin, t.begin[len(t.begin)-1]+n)
	}
	return t
}

// Len is how many files there are.
func (t *Tree) Len() int { return len(t.begin) - 1 }

// Size is the length of file i in bytes.
func (t *Tree) Size(i int) int64 { return t.begin[i+1] - t.begin[i] }

// Stat tells what stands under the name of file i now.
func (t *Tree) Stat(i int) (fs.FileInfo, error) { return t.files.Stat(i) }

// A Part is what a range of the run has in one file.
type Part struct {
	File int
	Off  int64 // in the file
	Len  int64 // at least 1
}

// Parts cuts n bytes at off into what each file holds of them, in order. What
// lies behind the end is left out.
func (t *Tree) Parts(off, n int64) []Part {
	var parts []Part
	// The last file that begins at or before off; empty ones yield nothing.
	i := max(0, sort.Search(len(t.begin), func(i int) bool { return t.begin[i] > off })-1)
	for ; i < t.Len() && n > 0; i++ {
		at := off - t.begin[i]
		if take := min(n, t.Size(i)-at); take > 0 {
			parts = append(parts, Part{i, at, take})
			off, n = off+take, n-take
		}
	}
	return parts
}

// Acquire opens file i, or shares it with those who have it open. It stays open
// at least until release is called, once, or the tree is closed.
func (t *Tree) Acquire(i int) (file *os.File, release func(), err error) {
	if h, err := t.take(i, nil); h != nil || err != nil {
		return h.share(t, err)
	}
	// Not under the lock: a slow disk would hold up those whose file is open.
	file, err = t.files.Open(i)
	if err != nil {
		return nil, nil, err
	}
	h, err := t.take(i, file)
	if h == nil || h.file != file {
		_ = file.Close() // another was faster, or the tree is closed
	}
	return h.share(t, err)
}

// take counts a user of file i's handle. Without one it makes one of file, if
// that is not nil.
func (t *Tree) take(i int, file *os.File) (*handle, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, fs.ErrClosed
	}
	h := t.open[i]
	if h == nil && file != nil {
		h = &handle{file: file}
		t.evict()
		t.open[i] = h
	}
	if h != nil {
		h.users++
		t.clock++
		h.used = t.clock
	}
	return h, nil
}

func (h *handle) share(t *Tree, err error) (*os.File, func(), error) {
	if err != nil {
		return nil, nil, err
	}
	return h.file, func() { t.release(h) }, nil
}

func (t *Tree) release(h *handle) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h.users--
	if h.stale && h.users == 0 {
		_ = h.file.Close()
	}
}

// evict makes room for one more handle, unless all are in use. t.mu is held.
func (t *Tree) evict() {
	for len(t.open) >= maxOpen {
		oldest := -1
		for i, h := range t.open {
			if h.users == 0 && (oldest < 0 || h.used < t.open[oldest].used) {
				oldest = i
			}
		}
		if oldest < 0 {
			return
		}
		_ = t.open[oldest].file.Close() // what it wrote is synced through another handle
		delete(t.open, oldest)
	}
}

// Forget lets the next user of file i open it anew: another file may stand
// under its name by now.
func (t *Tree) Forget(i int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := t.open[i]
	if h == nil {
		return
	}
	delete(t.open, i)
	h.stale = true
	if h.users == 0 {
		_ = h.file.Close()
	}
}

// Rest closes every file that nobody uses.
func (t *Tree) Rest() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for i, h := range t.open {
		if h.users == 0 {
			_ = h.file.Close()
			delete(t.open, i)
		}
	}
}

// Close closes all files, also those in use: reading them fails from then on
// with fs.ErrClosed.
func (t *Tree) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	var errs []error
	for _, h := range t.open {
		errs = append(errs, h.file.Close())
	}
	clear(t.open)
	return errors.Join(errs...)
}

// ReadAt is io.ReaderAt over the run. A file that is shorter than it should be
// ends the read with io.EOF, as does the end of the run.
func (t *Tree) ReadAt(p []byte, off int64) (n int, err error) {
	for _, part := range t.Parts(off, int64(len(p))) {
		got, err := t.readPart(p[n:n+int(part.Len)], part)
		n += got
		if err != nil && !(errors.Is(err, io.EOF) && got == int(part.Len)) {
			return n, err
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (t *Tree) readPart(p []byte, part Part) (int, error) {
	file, release, err := t.Acquire(part.File)
	if err != nil {
		return 0, err
	}
	defer release()
	return file.ReadAt(p, part.Off)
}

// WriteAt is io.WriterAt over the run. What does not fit is refused with
// io.ErrShortWrite before anything is written.
func (t *Tree) WriteAt(p []byte, off int64) (n int, err error) {
	if off < 0 || off+int64(len(p)) > t.begin[t.Len()] {
		return 0, io.ErrShortWrite
	}
	for _, part := range t.Parts(off, int64(len(p))) {
		file, release, err := t.Acquire(part.File)
		if err != nil {
			return n, err
		}
		wrote, err := file.WriteAt(p[n:n+int(part.Len)], part.Off)
		release()
		n += wrote
		if err != nil {
			return n, err
		}
	}
	return n, nil
}

// Folders are all folders that the slash-separated paths of files name, each
// once, a folder before those in it.
func Folders(paths []string) []string {
	seen := make(map[string]bool)
	var list []string
	for _, p := range paths {
		for i := len(p) - 1; i > 0; i-- {
			if p[i] != '/' {
				continue
			}
			if seen[p[:i]] {
				break // and so are those that it is in
			}
			seen[p[:i]] = true
			list = append(list, p[:i])
		}
	}
	slices.Sort(list)
	return list
}
