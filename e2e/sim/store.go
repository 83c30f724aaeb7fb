package sim

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// content is the file that a swarm moves, in stand-in pieces.
type content struct {
	id    torrentfmt.ID
	piece int // bytes
	data  []byte
}

func newContent(pieces, piece int) *content {
	c := &content{piece: piece, data: make([]byte, pieces*piece)}
	_, _ = rand.NewChaCha8([32]byte{}).Read(c.data) // never fails
	c.id = torrentfmt.HashID(c.data)
	return c
}

func (c *content) NumPieces() int      { return len(c.data) / c.piece }
func (c *content) PieceLen(int) int    { return c.piece }
func (c *content) at(i int) []byte     { return c.data[i*c.piece : (i+1)*c.piece] }
func (c *content) reader() io.ReaderAt { return bytes.NewReader(c.data) }

func (c *content) PieceOK(i int, data []byte) bool { return bytes.Equal(data, c.at(i)) }

// file is one node's copy. All copies are of the same bytes, which PieceOK has
// compared, so only which pieces are there is kept.
type file struct {
	c *content

	mu    sync.Mutex
	have  *bitset.BitSet
	whole bool
}

func newFile(c *content, have *bitset.BitSet) *file {
	return &file{c: c, have: have, whole: have.Count() == uint(c.NumPieces())}
}

func (f *file) Have() *bitset.BitSet {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have.Clone()
}

func (f *file) Whole() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.whole
}

func (f *file) WritePiece(i int, _ []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.have.Set(uint(i))
	return nil
}

func (f *file) Section(i int) (*io.SectionReader, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if !f.have.Test(uint(i)) {
		return nil, fmt.Errorf("piece %d is not here", i)
	}
	return io.NewSectionReader(f.c.reader(), int64(i*f.c.piece), int64(f.c.piece)), nil
}

func (f *file) Reserve(context.Context) error { return nil }

func (f *file) Finish() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.whole = true
	return nil
}

// buffers is a node's budget of piece buffers, made when they are first used.
type buffers struct {
	size int

	mu   sync.Mutex
	left int // may still be made
	free [][]byte
}

func newBuffers(n, size int) *buffers { return &buffers{size: size, left: n} }

func (b *buffers) TryGet() ([]byte, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch n := len(b.free); {
	case n > 0:
		buf := b.free[n-1]
		b.free = b.free[:n-1]
		return buf, true
	case b.left > 0:
		b.left--
		return make([]byte, b.size), true
	}
	return nil, false
}

func (b *buffers) Put(buf []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free = append(b.free, buf)
}
