package library

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"runtime/debug"

	bolt "go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"
)

// guard turns what bbolt does about a broken file, which is to panic, into
// ErrDamaged; a page that the file does not reach down to is a fault, which is
// made a panic for this goroutine.
func guard(do func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if p := recover(); p != nil {
			err = fmt.Errorf("%w (%v)", ErrDamaged, p)
		}
	}()
	err = do()
	for _, broken := range []error{berrors.ErrInvalid, berrors.ErrVersionMismatch, berrors.ErrChecksum, berrors.ErrInvalidMapping} {
		if errors.Is(err, broken) {
			return fmt.Errorf("%w (%w)", ErrDamaged, err)
		}
	}
	return err
}

// openFile opens and locks the bbolt file.
func openFile(path string) (*bolt.DB, error) {
	return bolt.Open(path, 0o600, &bolt.Options{
		Timeout:      lockWait,
		FreelistType: bolt.FreelistMapType,
		OpenFile: func(name string, flag int, perm os.FileMode) (*os.File, error) {
			f, err := os.OpenFile(name, flag, perm)
			if err != nil {
				return nil, err
			}
			if err := checkLength(f); err != nil {
				_ = f.Close()
				return nil, err
			}
			return f, nil
		},
	})
}

// checkLength refuses a bbolt file that is shorter than its newest meta page
// says: bbolt maps the file and would be killed by the first page that is not
// there. It runs before the file is locked, and holds even while another
// process writes: that one lengthens the file before it says so.
func checkLength(f *os.File) error {
	pageSize, pages := int64(os.Getpagesize()), uint64(0)
	var newest uint64
	for i := range int64(2) {
		buf := make([]byte, metaLen)
		if _, err := f.ReadAt(buf, i*pageSize); err != nil && err != io.EOF {
			return err
		}
		m, ok := parseMeta(buf)
		if !ok {
			continue // bbolt will use the other, or refuse the file
		}
		pageSize = int64(m.pageSize)
		if m.txid >= newest {
			newest, pages = m.txid, m.pages
		}
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w (not a regular file)", ErrDamaged)
	}
	if have := uint64(info.Size() / pageSize); have < pages {
		return fmt.Errorf("%w (cut off after %d of %d pages)", ErrDamaged, have, pages)
	}
	return nil
}

// meta is what matters here of a bbolt meta page.
type meta struct {
	pageSize uint32 // bytes
	pages    uint64 // how many are in use, from the file's start
	txid     uint64 // the newer page has the higher one
}

const (
	metaLen     = 80 // a 16-byte page header and the meta data with its checksum
	metaMagic   = 0xED0CDAED
	maxPageSize = 1 << 24
)

// parseMeta reads a meta page as bbolt lays it out, in the machine's own byte
// order; ok tells whether it is valid.
func parseMeta(page []byte) (m meta, ok bool) {
	if len(page) < metaLen {
		return meta{}, false
	}
	h := fnv.New64a()
	_, _ = h.Write(page[16:72]) // a hash never fails
	order := binary.NativeEndian
	m = meta{
		pageSize: order.Uint32(page[24:]),
		pages:    order.Uint64(page[56:]),
		txid:     order.Uint64(page[64:]),
	}
	ok = order.Uint32(page[16:]) == metaMagic && order.Uint64(page[72:]) == h.Sum64() &&
		m.pageSize >= 512 && m.pageSize <= maxPageSize
	return m, ok
}
