package torrent

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

// scripted is a peer of which the test says what it has, and whose answers it
// writes.
type scripted struct {
	c    *content
	has  *bitset.BitSet
	send func(l *peer.Link, piece int) bool // may block; nil sends everything

	mu    sync.Mutex
	link  *peer.Link
	told  map[int]int // how often it was told of each piece
	asked map[int]int // how often it was asked for each piece
}

func newScripted(c *content, pieces ...int) *scripted {
	x := &scripted{c: c, has: bitset.New(uint(c.t.NumPieces())), told: map[int]int{}, asked: map[int]int{}}
	for _, p := range pieces {
		x.has.Set(uint(p))
	}
	return x
}

func (x *scripted) Join(l *peer.Link, _ *bitset.BitSet) (*bitset.BitSet, error) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.link = l
	return x.has.Clone(), nil
}

func (x *scripted) Gained(_ *peer.Link, pieces []uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, p := range pieces {
		x.told[int(p)]++
	}
}

func (x *scripted) Claim(l *peer.Link, piece int, take bool) bool {
	x.mu.Lock()
	if !take {
		x.asked[piece]++
	}
	x.mu.Unlock()
	return take || x.send == nil || x.send(l, piece)
}

func (x *scripted) Section(i int) (*io.SectionReader, error) {
	return io.NewSectionReader(bytes.NewReader(x.c.data), int64(i)*torrentfmt.PieceSize, int64(x.c.t.PieceLen(i))), nil
}

func (x *scripted) Lost(*peer.Link, []uint32)     {}
func (x *scripted) Gone(*peer.Link)               {}
func (x *scripted) Snapshot() *bitset.BitSet      { return x.has.Clone() }
func (x *scripted) Pieces() int                   { return x.c.t.NumPieces() }
func (x *scripted) Serving(func()) (func(), bool) { return func() {}, true }
func (x *scripted) Unsent(*peer.Link, int)        {}
func (x *scripted) Served(int64, string)          {}
func (x *scripted) Uploads() []*pace.Gate         { return nil }

// counts is how often it was told of a piece and asked for it.
func (x *scripted) counts(piece int) (told, asked int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	return x.told[piece], x.asked[piece]
}

// say has it tell its peer of pieces.
func (x *scripted) say(pieces ...uint32) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.link.Have(pieces...)
}

// inVirtualTime runs a test whose nodes talk over the in-memory transport, so
// that its clock moves on when all of them wait.
func inVirtualTime(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

// pass lets virtual time go by.
func pass(d time.Duration) {
	time.Sleep(d) //nolint:forbidigo // virtual time
	synctest.Wait()
}

// node makes it reachable.
func (x *scripted) node(t *testing.T, tr transport.Transport, id byte) *node {
	t.Helper()
	n := &node{t: t, tr: tr, local: x}
	n.self.ID[0] = id
	n.listen()
	return n
}

// fetch asks its peer for a piece.
func (x *scripted) fetch(t *testing.T, piece int) error {
	t.Helper()
	x.mu.Lock()
	l := x.link
	x.mu.Unlock()
	return l.Fetch(t.Context(), piece, make([]byte, x.c.t.PieceLen(piece)))
}

func (x *scripted) mustFetch(t *testing.T, piece int) {
	t.Helper()
	if err := x.fetch(t, piece); err != nil {
		t.Fatalf("piece %d: %v", piece, err)
	}
}

func (x *scripted) mustBeRefused(t *testing.T, piece int) {
	t.Helper()
	if err := x.fetch(t, piece); !errors.Is(err, peer.ErrNotHere) {
		t.Fatalf("piece %d: %v, want it kept back", piece, err)
	}
}
