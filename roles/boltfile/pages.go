package boltfile

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"os"
)

// The layout of bbolt's other pages: a header with the page's number (8 bytes),
// its type (2), how many elements follow (2), and how many pages it spans
// beside its first (4). An element of a branch is where its key lies from the
// element on (4), how long that is (4), and the page below (8); one of a leaf is
// flags, where its key lies, its length and that of the value behind it (4 each).
const (
	branchPage  = 0x01
	leafPage    = 0x02
	bucketFlag  = 0x01
	elementSize = 16
	bucketSize  = 16 // a bucket's value: root page (8), sequence (8), or an inline page behind
	// maxDepth is more than a tree of any file that fits a disk has.
	maxDepth = 32
)

// pages walks a bbolt file's trees without bbolt, which meets damage in a
// goroutine of its own when it looks for the free pages: there a panic cannot
// be caught.
type pages struct {
	f    io.ReaderAt
	size int64  // of a page
	n    uint64 // pages in the file
	seen map[uint64]bool
}

// CheckPages verifies the structure of the file at path, which is locked and has
// passed [Check]: all that bbolt asks of it, and that elements lie within their
// pages. It reads every page that is in use. The error is as that of Check.
func CheckPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	m, err := newest(f)
	if err != nil {
		return err
	}
	p := &pages{f: f, size: m.pageSize, n: m.pages, seen: make(map[uint64]bool)}
	_, err = p.tree(m.root, nil, nil, 0)
	return err
}

// tree checks the page and all below it. Its keys are not below low, and below
// high if that is not nil. It returns the last key.
func (p *pages) tree(id uint64, low, high []byte, depth int) ([]byte, error) {
	if depth > maxDepth {
		return nil, damaged("page %d lies too deep", id)
	}
	page, err := p.read(id)
	if err != nil {
		return nil, err
	}
	ne := binary.NativeEndian
	count := int(ne.Uint16(page[10:]))
	if headerSize+count*elementSize > len(page) {
		return nil, damaged("page %d holds %d elements", id, count)
	}
	switch ne.Uint16(page[8:]) {
	case leafPage:
		return p.leaf(id, page, count, low, high, depth)
	case branchPage:
	default:
		return nil, damaged("page %d is of type %#x", id, ne.Uint16(page[8:]))
	}
	if count == 0 {
		return nil, damaged("page %d is an empty branch", id)
	}
	keys, below := make([][]byte, count), make([]uint64, count)
	for i := range count {
		at := headerSize + i*elementSize
		e := page[at:]
		if keys[i], err = part(page, id, at, ne.Uint32(e), ne.Uint32(e[4:])); err != nil {
			return nil, err
		}
		below[i] = ne.Uint64(e[8:])
	}
	last := low
	for i, key := range keys {
		if err := inOrder(id, i, key, last, high); err != nil {
			return nil, err
		}
		end := high
		if i+1 < count {
			end = keys[i+1]
		}
		if last, err = p.tree(below[i], key, end, depth+1); err != nil {
			return nil, err
		}
	}
	return last, nil
}

func (p *pages) leaf(id uint64, page []byte, count int, low, high []byte, depth int) ([]byte, error) {
	ne := binary.NativeEndian
	last := low
	for i := range count {
		at := headerSize + i*elementSize
		e := page[at:]
		pos, klen, vlen := ne.Uint32(e[4:]), ne.Uint32(e[8:]), ne.Uint32(e[12:])
		key, err := part(page, id, at, pos, klen)
		if err != nil {
			return nil, err
		}
		if err := inOrder(id, i, key, last, high); err != nil {
			return nil, err
		}
		last = key
		value, err := part(page, id, at+int(klen), pos, vlen)
		if err != nil {
			return nil, err
		}
		if ne.Uint32(e)&bucketFlag != 0 {
			if err := p.bucket(id, value, depth); err != nil {
				return nil, err
			}
		}
	}
	return last, nil
}

// bucket checks the tree of a bucket, or the page within its value.
func (p *pages) bucket(id uint64, value []byte, depth int) error {
	if len(value) < bucketSize {
		return damaged("page %d holds a bucket of %d bytes", id, len(value))
	}
	ne := binary.NativeEndian
	if root := ne.Uint64(value); root != 0 {
		_, err := p.tree(root, nil, nil, depth+1)
		return err
	}
	inline := value[bucketSize:]
	if len(inline) < headerSize {
		return damaged("page %d holds a bucket without a page", id)
	}
	count := int(ne.Uint16(inline[10:]))
	if ne.Uint16(inline[8:]) != leafPage || headerSize+count*elementSize > len(inline) || depth > maxDepth {
		return damaged("page %d holds a bucket with a broken page", id)
	}
	_, err := p.leaf(id, inline, count, nil, nil, depth+1)
	return err
}

// read returns a page with all that it spans. No page may be met twice.
func (p *pages) read(id uint64) ([]byte, error) {
	if id < 2 || id >= p.n {
		return nil, damaged("page %d of %d", id, p.n)
	}
	head := make([]byte, headerSize)
	if _, err := p.f.ReadAt(head, int64(id)*p.size); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	ne := binary.NativeEndian
	spans := uint64(ne.Uint32(head[12:])) + 1
	if ne.Uint64(head) != id || id+spans > p.n {
		return nil, damaged("page %d calls itself %d and spans %d", id, ne.Uint64(head), spans)
	}
	for i := id; i < id+spans; i++ {
		if p.seen[i] {
			return nil, damaged("page %d is used twice", i)
		}
		p.seen[i] = true
	}
	page := make([]byte, int64(spans)*p.size)
	if _, err := p.f.ReadAt(page, int64(id)*p.size); err != nil {
		return nil, fmt.Errorf("page %d: %w", id, err)
	}
	return page, nil
}

// part is n bytes of the page, pos behind at.
func part(page []byte, id uint64, at int, pos, n uint32) ([]byte, error) {
	from := uint64(at) + uint64(pos)
	if from+uint64(n) > uint64(len(page)) {
		return nil, damaged("page %d has an element outside it", id)
	}
	return page[from : from+uint64(n)], nil
}

// inOrder checks the i-th key of a page against the one before it, which for
// the first is the lower bound that the page above gives.
func inOrder(id uint64, i int, key, before, high []byte) error {
	c := bytes.Compare(before, key)
	if before != nil && (c > 0 || c == 0 && i > 0) || high != nil && bytes.Compare(key, high) >= 0 {
		return damaged("page %d has its keys out of order", id)
	}
	return nil
}
