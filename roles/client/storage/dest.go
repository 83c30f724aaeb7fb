package storage

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"unicode/utf8"

	"github.com/mtor-dev/mtor/plain"
	"github.com/mtor-dev/mtor/torrentfmt"
)

const (
	partExt = ".part"
	// maxName is the longest name that common file systems take, in bytes.
	maxName = torrentfmt.MaxNameLen
)

// PartPath is where the download of path lives until it is whole: path with
// ".part" behind, or, where that name would be too long for a file system, its
// beginning, a digest of all of it, and ".part".
func PartPath(path string) string {
	dir, name := filepath.Split(path)
	return dir + partName(name)
}

func partName(name string) string {
	if len(name)+len(partExt) <= maxName {
		return name + partExt
	}
	sum := sha1.Sum([]byte(name))
	tail := "-" + hex.EncodeToString(sum[:8]) + partExt
	cut := maxName - len(tail)
	for cut > 0 && !utf8.RuneStart(name[cut]) {
		cut--
	}
	return name[:cut] + tail
}

// dest is a destination: its folder, opened, and the two names in it.
type dest struct {
	dir   string
	root  *os.Root
	name  string
	part  string
	saved sync.Once
	err   error // of the one sync of the folder
}

func openDest(path string) (*dest, error) {
	dir, name := filepath.Split(path)
	if name == "" || name == "." || name == ".." {
		return nil, fmt.Errorf("%q is no file name: %w", path, fs.ErrInvalid)
	}
	if dir == "" {
		dir = "."
	}
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, plain.Say(err, "there is no folder %s: make it first", filepath.Clean(dir))
	}
	if errors.Is(err, syscall.ENOTDIR) {
		return nil, plain.Say(err, "%s is a file, not a folder: choose another destination", filepath.Clean(dir))
	}
	if err != nil {
		return nil, err
	}
	return &dest{dir: dir, root: root, name: name, part: partName(name)}, nil
}

func (d *dest) close() error { return d.root.Close() }

func (d *dest) path(name string) string { return filepath.Join(d.dir, name) }

// named puts the whole path into an error that os.Root made from a bare name.
func (d *dest) named(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) && !strings.ContainsRune(pe.Path, filepath.Separator) {
		return &fs.PathError{Op: pe.Op, Path: d.path(pe.Path), Err: pe.Err}
	}
	return err
}

// open opens t's file, or its folder, under one of the names. Of a folder its
// files are opened when they are needed; one that is missing is no error yet.
func (d *dest) open(t *torrentfmt.Torrent, name string, flag int) (body, error) {
	if !t.Folder() {
		file, err := d.openFile(name, flag)
		if err != nil {
			return nil, err
		}
		return &fileBody{File: file, size: t.Size}, nil
	}
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, d.named(err)
	}
	if !info.IsDir() {
		why := notRegular(info.Mode())
		if why == "" {
			why = "is a file, and the torrent a folder"
		}
		return nil, &OccupiedError{Path: d.path(name), Why: why + inTheWay}
	}
	root, err := d.root.OpenRoot(name)
	if err != nil {
		return nil, d.named(err)
	}
	b, err := newFolderBody(t, root, flag)
	if err != nil {
		return nil, err
	}
	opened, err := b.stat()
	if err == nil && !os.SameFile(info, opened) {
		err = &OccupiedError{Path: d.path(name), Why: "was replaced while it was opened", Err: ErrReplaced}
	}
	if err != nil {
		_ = b.Close()
		return nil, err
	}
	return b, nil
}

// make makes the .part; fs.ErrExist if there is one.
func (d *dest) make(t *torrentfmt.Torrent) (body, error) {
	if t.Folder() {
		if err := d.root.Mkdir(d.part, 0o755); err != nil {
			return nil, err
		}
		return d.open(t, d.part, os.O_RDWR)
	}
	file, err := d.root.OpenFile(d.part, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return &fileBody{File: file, size: t.Size}, nil
}

// openFile opens a regular file of the folder; anything else under that name is an
// *OccupiedError, and never opened: a FIFO would block, a link lead away.
func (d *dest) openFile(name string, flag int) (*os.File, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return nil, d.named(err)
	}
	if why := notRegular(info.Mode()); why != "" {
		return nil, &OccupiedError{Path: d.path(name), Why: why + inTheWay}
	}
	file, err := d.root.OpenFile(name, flag|openNonblock, 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil, &OccupiedError{Path: d.path(name), Why: "may not be opened by the user that runs mtor" + inTheWay, Err: err}
	}
	if err != nil {
		return nil, d.named(err)
	}
	opened, err := file.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = &OccupiedError{Path: d.path(name), Why: "was replaced while it was opened", Err: ErrReplaced}
	}
	if err != nil {
		_ = file.Close()
		return nil, err
	}
	return file, nil
}

// inTheWay is what to do about something that stands where a download wants to
// be.
const inTheWay = ": move it away, or choose another destination"

func notRegular(mode fs.FileMode) string {
	switch {
	case mode.IsRegular():
		return ""
	case mode.IsDir():
		return "is a folder"
	case mode&fs.ModeSymlink != 0:
		return "is a symbolic link"
	default:
		return "is no regular file"
	}
}

// leadsTo is nil when name leads to this open file, and ErrReplaced otherwise.
func (d *dest) leadsTo(name string, b body) error {
	there, err := d.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", d.path(name), ErrReplaced)
	}
	if err != nil {
		return d.named(err)
	}
	own, err := b.stat()
	if err != nil {
		return err
	}
	if !os.SameFile(there, own) {
		return fmt.Errorf("%s: %w", d.path(name), ErrReplaced)
	}
	return nil
}

func (d *dest) lock(b body) error {
	err := b.lock()
	if errors.Is(err, ErrLocked) {
		return &OccupiedError{Path: d.path(d.part), Why: ErrLocked.Error(), Err: ErrLocked}
	}
	if err != nil {
		return fmt.Errorf("%s: lock: %w", d.path(d.part), err)
	}
	return nil
}

// reserve has the .part's room allocated. A disk without it is a *FullError.
func (d *dest) reserve(ctx context.Context, b body) error {
	err := b.reserve(ctx)
	if err != nil && !IsDiskFull(err) {
		return fmt.Errorf("%s: reserve its room: %w", d.path(d.part), err)
	}
	return d.full(err)
}

// full makes a *FullError about the .part of what IsDiskFull knows, and leaves
// other errors as they are.
func (d *dest) full(err error) error {
	if !IsDiskFull(err) {
		return err
	}
	full := &FullError{Err: err}
	if as := (*FullError)(nil); errors.As(err, &as) {
		*full = *as
	}
	full.Path = d.path(d.part)
	return full
}

// syncName makes the .part's name durable, once.
func (d *dest) syncName() error {
	d.saved.Do(func() { d.err = syncFolder(d.root) })
	return d.err
}

// partReader reads a .part for verifying. It passes over holes, which no piece
// was written to, and notices whether anything was.
type partReader struct {
	body    body
	touched atomic.Bool
}

var zeros [4096]byte

func (r *partReader) ReadAt(p []byte, off int64) (int, error) {
	if r.body.hole(off, int64(len(p))) {
		return 0, io.EOF
	}
	n, err := r.body.ReadAt(p, off)
	if errors.Is(err, fs.ErrNotExist) {
		err = io.EOF // a file of a folder that was not made, or is gone
	}
	for b := p[:n]; len(b) > 0 && !r.touched.Load(); {
		k := min(len(b), len(zeros))
		if !bytes.Equal(b[:k], zeros[:k]) {
			r.touched.Store(true)
		}
		b = b[k:]
	}
	return n, err
}
