package torrentfmt

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// ErrNotRegular is the cause when a path leads to a folder, a FIFO, a socket or
// a device, which hold no bytes that could be cut into pieces.
var ErrNotRegular = errors.New("only a regular file will do")

// OpenRegular opens the regular file at path for reading, through symbolic
// links. Anything else is refused with ErrNotRegular, and without waiting for
// the other end of a FIFO.
func OpenRegular(path string) (*os.File, error) {
	// Looking first keeps devices closed: opening some of them does something.
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if err := checkRegular(path, info.Mode()); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDONLY|openNonblock, 0)
	if err != nil {
		return nil, err
	}
	// The path may lead elsewhere by now.
	if info, err = f.Stat(); err == nil {
		err = checkRegular(path, info.Mode())
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

func checkRegular(path string, mode fs.FileMode) error {
	kind := irregular(mode)
	switch {
	case kind == "":
		return nil
	case mode.IsDir():
		kind = "a folder"
	}
	return fmt.Errorf("%s is %s: %w", path, kind, ErrNotRegular)
}

// Open reads the .mtorrent at path. Its length is held against MaxFileLen
// before a byte is read. A refused content is a *FieldError.
func Open(path string) (*Torrent, error) {
	f, err := OpenRegular(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // only read from: nothing can be lost
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if info.Size() > MaxFileLen {
		return nil, fmt.Errorf("%s: %w", path, tooLong(info.Size()))
	}
	var buf bytes.Buffer
	buf.Grow(int(info.Size()) + bytes.MinRead) // room to meet the end without growing
	// The file may grow meanwhile: one byte over the limit is enough for Parse
	// to refuse it.
	if _, err := buf.ReadFrom(io.LimitReader(f, MaxFileLen+1)); err != nil {
		return nil, err
	}
	t, err := Parse(buf.Bytes())
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}
