package storage

import (
	"context"
	"os"
	"sync"
	"unsafe"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// Buffers is a bounded supply of piece buffers, shared by all downloads and
// peers of a client. Each is torrentfmt.PieceSize bytes and starts on a page
// boundary, into which the kernel copies fastest. A buffer is allocated when it
// is first needed and then kept; the one returned last, still in the processor's
// cache, is handed out first.
type Buffers struct {
	tokens chan struct{} // one per buffer that may be handed out

	mu   sync.Mutex
	idle [][]byte // a stack
}

// NewBuffers makes a supply of at most budget bytes, and at least one buffer.
func NewBuffers(budget int64) *Buffers {
	n := max(1, budget/torrentfmt.PieceSize)
	b := &Buffers{tokens: make(chan struct{}, n)}
	for range n {
		b.tokens <- struct{}{}
	}
	return b
}

// Cap is how many buffers there are at most.
func (b *Buffers) Cap() int { return cap(b.tokens) }

// Free is how many buffers could be had at this moment.
func (b *Buffers) Free() int { return len(b.tokens) }

// Get waits for a buffer, in the order of asking; ctx ends the wait with its
// error. The content is whatever was there.
func (b *Buffers) Get(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	select {
	case <-b.tokens:
		return b.pop(), nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// TryGet is Get without waiting.
func (b *Buffers) TryGet() ([]byte, bool) {
	select {
	case <-b.tokens:
		return b.pop(), true
	default:
		return nil, false
	}
}

func (b *Buffers) pop() []byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	if n := len(b.idle); n > 0 {
		buf := b.idle[n-1]
		b.idle = b.idle[:n-1]
		return buf
	}
	return pageAligned(torrentfmt.PieceSize)
}

// Put returns a buffer, which may have been cut shorter at its end. A buffer
// that came from elsewhere, or one too many, is a mistake of the caller and
// panics: the budget would be wrong from then on.
func (b *Buffers) Put(buf []byte) {
	if cap(buf) != torrentfmt.PieceSize {
		panic("storage: Put of a buffer that Get did not return")
	}
	b.mu.Lock()
	b.idle = append(b.idle, buf[:torrentfmt.PieceSize])
	b.mu.Unlock()
	select {
	case b.tokens <- struct{}{}:
	default:
		panic("storage: Put of more buffers than Get returned")
	}
}

// pageAligned allocates n bytes that start on a page boundary. Go's allocator
// gives objects of this size whole pages, but does not promise it.
func pageAligned(n int) []byte {
	page := os.Getpagesize()
	buf := make([]byte, n)
	if pageOffset(buf, page) == 0 {
		return buf
	}
	buf = make([]byte, n+page)
	skip := (page - pageOffset(buf, page)) % page
	return buf[skip : skip+n : skip+n]
}

func pageOffset(buf []byte, page int) int {
	return int(uintptr(unsafe.Pointer(unsafe.SliceData(buf))) % uintptr(page))
}
