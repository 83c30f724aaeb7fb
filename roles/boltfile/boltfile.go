// Package boltfile looks at a bbolt file before bbolt does. bbolt maps the file
// and trusts it: a page that the file does not reach down to kills the process,
// and one that is broken may panic in a goroutine where nobody can catch it.
//
// [Check] says whether a file may be mapped, [CheckPages] whether its trees are
// sound, and [Guard] catches what damage bbolt meets all the same. None of them
// changes anything.
package boltfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"runtime/debug"
)

// ErrForeign: the file is not bbolt's.
var ErrForeign = errors.New("not a bbolt file")

// Damage is what is broken in a file of bbolt's.
type Damage struct{ What string }

func (d *Damage) Error() string { return d.What }

func damaged(format string, args ...any) error {
	return &Damage{fmt.Sprintf(format, args...)}
}

// The layout of a bbolt file's first two pages, which hold its metadata in
// turn: a page header, then magic, version, page size, flags (4 bytes each),
// root (16), freelist (8), number of pages (8), transaction (8), and an FNV-1a
// checksum (8) of all before it, in the machine's byte order.
const (
	magic      = 0xED0CDAED
	version    = 2
	headerSize = 16
	metaSize   = 64
	pageSizeAt = 8
	rootAt     = 16
	pagesAt    = 40
	txAt       = 48
	sumAt      = 56
	minPage    = 1 << 10
	maxPage    = 1 << 16
	// maxPages is more than a disk holds.
	maxPages = 1 << 40
)

// meta is what matters here of a file's metadata.
type meta struct {
	pageSize int64 // bytes
	pages    uint64
	root     uint64 // the page on which the tree of buckets begins
	tx       uint64 // the newer copy has the higher one
}

// parseMeta reads a page header and the metadata behind it. bbolt is whether it
// is bbolt's at all, ok whether it is sound.
func parseMeta(page []byte) (m meta, bbolt, ok bool) {
	ne := binary.NativeEndian
	if len(page) < headerSize+metaSize || ne.Uint32(page[headerSize:]) != magic {
		return meta{}, false, false
	}
	b := page[headerSize:]
	h := fnv.New64a()
	_, _ = h.Write(b[:sumAt]) // never fails
	m = meta{
		pageSize: int64(ne.Uint32(b[pageSizeAt:])),
		pages:    ne.Uint64(b[pagesAt:]),
		root:     ne.Uint64(b[rootAt:]),
		tx:       ne.Uint64(b[txAt:]),
	}
	ok = h.Sum64() == ne.Uint64(b[sumAt:]) && ne.Uint32(b[4:]) == version &&
		m.pageSize >= minPage && m.pageSize <= maxPage && m.pages <= maxPages
	return m, true, ok
}

// newest is the sound metadata of the newest transaction.
func newest(f io.ReaderAt) (meta, error) {
	var best meta
	found, ours := false, false
	look := func(at int64) {
		page := make([]byte, headerSize+metaSize)
		if n, _ := f.ReadAt(page, at); n < len(page) {
			return
		}
		m, bbolt, ok := parseMeta(page)
		ours = ours || bbolt
		if ok && (!found || m.tx >= best.tx) {
			best, found = m, true
		}
	}
	look(0)
	for at := int64(minPage); at <= maxPage; at *= 2 {
		look(at) // the second page, whatever the size of the first
	}
	switch {
	case found:
		return best, nil
	case ours:
		return meta{}, damaged("both copies of its metadata are broken")
	}
	return meta{}, ErrForeign
}

// Check makes sure that bbolt can map the file at path: it is bbolt's, and as
// long as its metadata says. It needs no lock: the file grows before the metadata
// says so. empty is true if there is no such file, or nothing in it. The error is
// a [*Damage], [ErrForeign], or the file system's.
func Check(path string) (empty bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read
	return CheckFile(f)
}

// CheckFile is Check of an open file.
func CheckFile(f *os.File) (empty bool, err error) {
	fi, err := f.Stat()
	if err != nil {
		return false, err
	}
	if !fi.Mode().IsRegular() {
		return false, fmt.Errorf("%w: not a regular file", ErrForeign)
	}
	if fi.Size() == 0 {
		return true, nil
	}
	m, err := newest(f)
	if err != nil {
		return false, err
	}
	if fi, err = f.Stat(); err != nil {
		return false, err
	}
	if need := m.pageSize * int64(m.pages); fi.Size() < need {
		return false, damaged("%d bytes long, must be %d", fi.Size(), need)
	}
	return false, nil
}

// Guard turns the panics and page faults that bbolt meets on damaged pages, in
// the goroutine of the call, into a [*Damage].
func Guard(do func() error) (err error) {
	old := debug.SetPanicOnFault(true)
	defer debug.SetPanicOnFault(old)
	defer func() {
		if p := recover(); p != nil {
			err = damaged("%v", p)
		}
	}()
	return do()
}
