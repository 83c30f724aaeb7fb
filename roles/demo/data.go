package demo

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// generatedSize is how much data is made when the user names no file, in
// bytes: 512 pieces, a second or two of transfer.
const generatedSize = 256 << 20

// chunk is how much is generated or compared at a time, in bytes.
const chunk = 1 << 20

// generate writes size bytes that are the same at every run and repeat
// nowhere, so that a piece in the wrong place shows.
func generate(ctx context.Context, path string, size int64) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	source := rand.NewChaCha8([32]byte([]byte("mtor demo: the same at every run")))
	_, err = io.Copy(f, &contextReader{ctx, io.LimitReader(source, size)})
	return errors.Join(err, f.Close())
}

// regularSize is the size of the file at path, which must be a regular one.
func regularSize(path string) (int64, error) {
	f, err := torrentfmt.OpenRegular(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// sameBytes returns nil when both files hold the same bytes.
func sameBytes(ctx context.Context, original, other string) error {
	a, err := os.Open(original)
	if err != nil {
		return err
	}
	defer a.Close()
	b, err := os.Open(other)
	if err != nil {
		return err
	}
	defer b.Close()
	ra, rb := bufio.NewReaderSize(&contextReader{ctx, a}, chunk), bufio.NewReaderSize(b, chunk)
	for at := int64(0); ; {
		x, errA := ra.Peek(chunk)
		y, errB := rb.Peek(chunk)
		if !bytes.Equal(x, y) {
			return fmt.Errorf("%s differs from %s after byte %d", other, original, at)
		}
		if err := errors.Join(notEOF(errA), notEOF(errB)); err != nil {
			return err
		}
		if errA != nil { // both end here
			return nil
		}
		at += chunk
		_, _ = ra.Discard(chunk) // peeked at above: it is there
		_, _ = rb.Discard(chunk)
	}
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

// contextReader ends a long read when its context does.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c *contextReader) Read(p []byte) (int, error) {
	if c.ctx.Err() != nil {
		return 0, context.Cause(c.ctx)
	}
	return c.r.Read(p)
}
