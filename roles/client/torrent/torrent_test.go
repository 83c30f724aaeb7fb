package torrent

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"
	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/storage"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 30 * time.Second

// content is a file and its torrent.
type content struct {
	data []byte
	t    *torrentfmt.Torrent
	id   torrentfmt.ID
}

func newContent(t *testing.T, size int) *content {
	t.Helper()
	data := make([]byte, size)
	src := rand.NewChaCha8([32]byte{1})
	_, _ = src.Read(data)
	path := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	tor, err := torrentfmt.Create(t.Context(), path, [2]string{"127.0.0.1:1", "127.0.0.1:2"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return &content{data: data, t: tor, id: tor.ID()}
}

// node is one side: a listener, and a torrent that runs.
type node struct {
	t     *testing.T
	self  peer.Self
	tr    transport.Transport
	addr  string
	path  string
	local peer.Local
	tor   *Torrent
	whole chan struct{}
	stop  func()
	run   context.Context

	cancelled atomic.Int64 // requests for pieces
}

func (n *node) Local(torrentfmt.ID) (peer.Local, bool) { return n.local, n.local != nil }

// newNode makes a side that has the given pieces.
func newNode(t *testing.T, tr transport.Transport, id byte, c *content, pieces ...int) *node {
	t.Helper()
	return newNodeOver(t, tr, id, c, func(f File) File { return f }, nil, pieces...)
}

// newNodeOver is newNode with something over its file, that may begin paused.
func newNodeOver(t *testing.T, tr transport.Transport, id byte, c *content, over func(File) File, short error, pieces ...int) *node {
	t.Helper()
	n := &node{t: t, tr: tr, whole: make(chan struct{}), path: filepath.Join(t.TempDir(), "file")}
	n.self.ID[0] = id
	f, adopted, err := storage.Create(t.Context(), c.t, n.path, nil)
	if err != nil || adopted {
		t.Fatalf("create: %v, adopted %t", err, adopted)
	}
	for _, i := range pieces {
		if err := f.WritePiece(i, piece(c, i)); err != nil {
			t.Fatal(err)
		}
	}
	n.tor = New(Options{
		Torrent: c.t, File: over(f), Short: short, Buffers: storage.NewBuffers(8 * torrentfmt.PieceSize),
		Whole:   func() { close(n.whole) },
		Stopped: func() {},
		Lonely:  func() {},
		Observe: Observer{Ended: func(result string) {
			if result == "cancelled" {
				n.cancelled.Add(1)
			}
		}},
		Log: slog.New(slog.DiscardHandler),
	})
	n.local = n.tor
	n.listen()
	done := make(chan struct{})
	go func() { defer close(done); n.tor.Run(n.run) }()
	t.Cleanup(func() {
		n.stop()
		<-done
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// listen accepts sessions until stop.
func (n *node) listen() {
	l, err := n.tr.Listen(n.t.Context(), "127.0.0.1:0")
	if err != nil {
		n.t.Fatal(err)
	}
	n.addr = l.Addr().String()
	n.self.Addr = netip.MustParseAddrPort(n.addr)
	n.run, n.stop = context.WithCancel(context.Background())
	accepting := make(chan struct{})
	go func() {
		defer close(accepting)
		for {
			sess, err := l.Accept(n.run)
			if err != nil {
				return
			}
			n.keep(func() (*peer.Conn, error) { return peer.Accept(n.run, sess, n.self, n) })
		}
	}()
	n.t.Cleanup(func() { n.stop(); _ = l.Close(); <-accepting })
}

func (n *node) keep(greet func() (*peer.Conn, error)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		if c, err := greet(); err == nil {
			c.Run(n.run)
		}
	}()
	n.t.Cleanup(func() { n.stop(); <-done })
}

// join dials other and opens a link for the torrent.
func (n *node) join(other *node, id torrentfmt.ID) *peer.Conn {
	n.t.Helper()
	sess, err := n.tr.Dial(n.t.Context(), other.addr)
	if err != nil {
		n.t.Fatal(err)
	}
	c, err := peer.Dial(n.t.Context(), sess, n.self, n)
	if err != nil {
		n.t.Fatal(err)
	}
	n.keep(func() (*peer.Conn, error) { return c, nil })
	if err := c.Join(id, n.local); err != nil {
		n.t.Fatal(err)
	}
	return c
}

func (n *node) awaitWhole(c *content) {
	n.t.Helper()
	select {
	case <-n.whole:
	case <-time.After(patience):
		n.t.Fatalf("not whole after %s: %+v", patience, n.tor.Status())
	}
	got, err := os.ReadFile(n.path)
	if err != nil {
		n.t.Fatal(err)
	}
	if !bytes.Equal(got, c.data) {
		n.t.Error("the file differs from the original")
	}
}

func piece(c *content, i int) []byte {
	from := i * torrentfmt.PieceSize
	return c.data[from : from+c.t.PieceLen(i)]
}

func all(c *content) []int {
	var list []int
	for i := range c.t.NumPieces() {
		list = append(list, i)
	}
	return list
}

// liar says that it has everything and sends zeros.
type liar struct {
	pieces int
	zeros  *os.File
	asked  chan int
}

func newLiar(t *testing.T, pieces int) *liar {
	f, err := os.Create(filepath.Join(t.TempDir(), "zeros"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	if err := f.Truncate(torrentfmt.PieceSize); err != nil {
		t.Fatal(err)
	}
	return &liar{pieces: pieces, zeros: f, asked: make(chan int, 100)}
}

func (x *liar) Join(*peer.Link, *bitset.BitSet) (*bitset.BitSet, error) { return x.Snapshot(), nil }
func (x *liar) Gained(*peer.Link, []uint32)                             {}
func (x *liar) Lost(*peer.Link, []uint32)                               {}
func (x *liar) Gone(*peer.Link)                                         {}
func (x *liar) Pieces() int                                             { return x.pieces }
func (x *liar) Claim(*peer.Link, int, bool) bool                        { return true }
func (x *liar) Unsent(*peer.Link, int)                                  {}
func (x *liar) Served(int64, string)                                    {}
func (x *liar) Serving(func()) (func(), bool)                           { return func() {}, true }
func (x *liar) Uploads() []*pace.Gate                                   { return nil }
func (x *liar) Snapshot() *bitset.BitSet {
	return bitset.New(uint(x.pieces)).FlipRange(0, uint(x.pieces))
}
func (x *liar) Section(i int) (*io.SectionReader, error) {
	x.asked <- i
	return io.NewSectionReader(x.zeros, 0, torrentfmt.PieceSize), nil
}

func TestADownloadFromOneSeederIsWholeAndIdentical(t *testing.T) {
	c, tr := newContent(t, 9*torrentfmt.PieceSize+17), transporttest.Memory()
	seeder := newNode(t, tr, 1, c, all(c)...)
	getter := newNode(t, tr, 2, c)
	getter.join(seeder, c.id)
	getter.awaitWhole(c)
	if st := getter.tor.Status(); !st.Whole || st.Done != c.t.Size || st.Sources["memory "+seeder.addr] != 10 {
		t.Errorf("status %+v", st)
	}
}

func TestPiecesComeFromAllWhoHaveThem(t *testing.T) {
	c, tr := newContent(t, 10*torrentfmt.PieceSize), transporttest.Memory()
	odd := newNode(t, tr, 1, c, 1, 3, 5, 7, 9)
	even := newNode(t, tr, 2, c, 0, 2, 4, 6, 8)
	getter := newNode(t, tr, 3, c)
	getter.join(odd, c.id)
	getter.join(even, c.id)
	getter.awaitWhole(c)
	// Each also fetches what it lacks from the getter, so that one piece or
	// the other may come back from it before the getter has counted it.
	st := getter.tor.Status()
	o, e := st.Sources["memory "+odd.addr], st.Sources["memory "+even.addr]
	if o == 0 || e == 0 || o+e != 10 {
		t.Errorf("sources %v, want 10 pieces from both", st.Sources)
	}
}

func TestTwoHalvesMakeEachOtherWhole(t *testing.T) {
	c, tr := newContent(t, 10*torrentfmt.PieceSize), transporttest.Memory()
	a := newNode(t, tr, 1, c, 0, 1, 2, 3, 4)
	b := newNode(t, tr, 2, c, 5, 6, 7, 8, 9)
	a.join(b, c.id)
	a.awaitWhole(c)
	b.awaitWhole(c)
}

func TestPiecesGainedLaterArePassedOn(t *testing.T) {
	c, tr := newContent(t, 10*torrentfmt.PieceSize), transporttest.Memory()
	seeder := newNode(t, tr, 1, c, all(c)...)
	middle := newNode(t, tr, 2, c)
	last := newNode(t, tr, 3, c)
	last.join(middle, c.id) // which has nothing so far
	middle.join(seeder, c.id)
	last.awaitWhole(c)
}

func TestALiarIsBannedAndTheFileIsStillRight(t *testing.T) {
	c, tr := newContent(t, 8*torrentfmt.PieceSize), transporttest.Memory()
	bad := newLiar(t, c.t.NumPieces())
	crook := &node{t: t, tr: tr, local: bad}
	crook.self.ID[0] = 9
	crook.listen()
	getter := newNode(t, tr, 2, c)
	getter.join(crook, c.id)
	select {
	case <-bad.asked:
	case <-time.After(patience):
		t.Fatal("the liar was never asked")
	}
	seeder := newNode(t, tr, 1, c, all(c)...)
	getter.join(seeder, c.id)
	getter.awaitWhole(c)
	if st := getter.tor.Status(); len(st.Sources) != 1 || st.Sources["memory "+seeder.addr] != 8 {
		t.Errorf("sources %v, want all from the honest one", st.Sources)
	}
}

func TestABannedPeerIsNotAskedAgainWhenItComesBack(t *testing.T) {
	c, tr := newContent(t, 8*torrentfmt.PieceSize), transporttest.Memory()
	bad := newLiar(t, c.t.NumPieces())
	crook := &node{t: t, tr: tr, local: bad}
	crook.self.ID[0] = 9
	crook.listen()
	getter := newNode(t, tr, 2, c)
	conn := getter.join(crook, c.id)
	awaitNoLink(t, conn) // banned
	// What it was asked for before may still be on its way to it: it comes back at
	// another place.
	later := newLiar(t, c.t.NumPieces())
	back := &node{t: t, tr: tr, local: later}
	back.self.ID = crook.self.ID
	back.listen()
	awaitNoLink(t, getter.join(back, c.id))
	if n := len(later.asked); n != 0 {
		t.Errorf("asked %d times after the ban", n)
	}
}

func awaitNoLink(t *testing.T, conn *peer.Conn) {
	t.Helper()
	deadline := time.After(patience)
	for len(conn.Torrents()) > 0 {
		select {
		case <-deadline:
			t.Fatal("the link stays")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestWhatAVanishedPeerOwedComesFromAnother(t *testing.T) {
	c, tr := newContent(t, 8*torrentfmt.PieceSize), transporttest.Memory()
	held := mute{newLiar(t, c.t.NumPieces()), make(chan struct{})}
	silent := &node{t: t, tr: tr, local: held}
	silent.self.ID[0] = 9
	silent.listen()
	getter := newNode(t, tr, 2, c)
	conn := getter.join(silent, c.id)
	t.Cleanup(func() { close(held.release) })
	select {
	case <-held.asked:
	case <-time.After(patience):
		t.Fatal("the silent peer was never asked")
	}
	seeder := newNode(t, tr, 1, c, all(c)...)
	getter.join(seeder, c.id)
	conn.Close(wire.Error_ERROR_GOING_AWAY)
	getter.awaitWhole(c)
}

// mute takes requests for pieces and does not answer until it is released.
type mute struct {
	*liar
	release chan struct{}
}

func (m mute) Section(i int) (*io.SectionReader, error) {
	m.asked <- i
	<-m.release
	return nil, io.ErrNoProgress
}

func TestAnEmptyFileIsWholeAtOnce(t *testing.T) {
	c := newContent(t, 0)
	newNode(t, transporttest.Memory(), 1, c).awaitWhole(c)
}

func TestASeederStaysLinkedOnlyToThoseWhoWantPieces(t *testing.T) {
	c, tr := newContent(t, 3*torrentfmt.PieceSize), transporttest.Memory()
	seeder := newNode(t, tr, 1, c, all(c)...)
	getter := newNode(t, tr, 2, c)
	conn := getter.join(seeder, c.id)
	getter.awaitWhole(c)
	awaitNoLink(t, conn)
}

func TestAPeerThatStallsAgainRestsLonger(t *testing.T) {
	now := time.Now()
	src := &source{}
	src.stalled(now)
	src.stalled(now) // another piece of the same stall
	if rest := src.restTill.Sub(now); rest != stalledRest || src.stalls != 1 {
		t.Errorf("rests %s after %d stalls, want %s after one", rest, src.stalls, stalledRest)
	}
	for range 20 {
		now = src.restTill
		src.stalled(now)
	}
	if rest := src.restTill.Sub(now); rest != maxRest {
		t.Errorf("rests %s in the end, want %s", rest, maxRest)
	}
}
