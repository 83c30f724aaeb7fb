package registry

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
)

// Why a seederlist file cannot be used. None of them changes the file.
var (
	ErrInUse   = errors.New("in use by another process: stop that tracker, or give this one its own file")
	ErrForeign = errors.New("not a seederlist file: give another path")
	ErrDamaged = errors.New("damaged: move it away, and the tracker refills from the others")
	ErrVersion = errors.New("written by another version of mtor")
)

// The layout of a bbolt file's first two pages, which hold its metadata in
// turn: a page header, then magic, version, page size, flags (4 bytes each),
// root (16), freelist (8), number of pages (8), transaction (8), and an FNV-1a
// checksum (8) of all before it, in the machine's byte order.
const (
	boltMagic      = 0xED0CDAED
	boltVersion    = 2
	boltHeader     = 16
	boltSumAt      = 56
	boltMetaSize   = 64
	minPage        = 1 << 10
	maxPage        = 1 << 16
	boltPagesAt    = 40
	boltTxAt       = 48
	boltPageSizeAt = 8
)

// checkFile makes sure that bbolt can map the file: it is bbolt's, and as long
// as its metadata says, since touching a mapped page behind the end of the
// file kills the process. It reads without the lock, which is sound: the file
// grows before the metadata says so. created is true if there is no such file,
// or an empty one.
func checkFile(path string) (created bool, err error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer func() { _ = f.Close() }() // only read
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
	need, err := boltLength(f)
	if err != nil {
		return false, err
	}
	if fi, err = f.Stat(); err != nil {
		return false, err
	}
	if fi.Size() < need {
		return false, fmt.Errorf("%w: %d bytes long, must be %d", ErrDamaged, fi.Size(), need)
	}
	return false, nil
}

// boltLength is how many bytes the newest valid metadata says the file has.
func boltLength(f io.ReaderAt) (int64, error) {
	m, err := newestMeta(f)
	if err != nil {
		return 0, err
	}
	ne := binary.NativeEndian
	return int64(ne.Uint32(m[boltPageSizeAt:])) * int64(ne.Uint64(m[boltPagesAt:])), nil
}

// newestMeta is the valid metadata of the newest transaction.
func newestMeta(f io.ReaderAt) ([]byte, error) {
	ne := binary.NativeEndian
	var newest []byte
	ours := false
	look := func(off int64) {
		p := make([]byte, boltHeader+boltMetaSize)
		if n, _ := f.ReadAt(p, off); n < len(p) {
			return
		}
		m := p[boltHeader:]
		if ne.Uint32(m) != boltMagic {
			return
		}
		ours = true
		h := fnv.New64a()
		_, _ = h.Write(m[:boltSumAt]) // never fails
		size, pages, tx := ne.Uint32(m[boltPageSizeAt:]), ne.Uint64(m[boltPagesAt:]), ne.Uint64(m[boltTxAt:])
		if h.Sum64() != ne.Uint64(m[boltSumAt:]) || ne.Uint32(m[4:]) != boltVersion ||
			size < minPage || size > maxPage || pages > 1<<40 {
			return
		}
		if newest == nil || tx >= ne.Uint64(newest[boltTxAt:]) {
			newest = m
		}
	}
	look(0)
	for off := int64(minPage); off <= maxPage; off *= 2 {
		look(off)
	}
	switch {
	case newest != nil:
		return newest, nil
	case ours:
		return nil, fmt.Errorf("%w: both copies of its metadata are broken", ErrDamaged)
	}
	return nil, ErrForeign
}
