// Package torrent owns one torrent's life at this client: it gets the missing
// pieces from the peers that have them and serves those it has. One goroutine
// (Run) owns the state and takes events in; fetching, hashing and writing a
// piece happen in a goroutine of that piece.
package torrent

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/client/picker"
)

// partingTime is how long the end of a torrent waits for what is being sent. A
// peer that takes nothing loses its session instead.
const partingTime = 2 * time.Second

// maxSources bounds the peers that one torrent keeps links with.
const maxSources = 200

// maxBanned bounds the memory of peers that have sent a bad piece.
const maxBanned = 10_000

var errEnded = errors.New("the torrent is no longer here")

// Content is what the torrent says of its pieces: a [*torrentfmt.Torrent].
type Content interface {
	NumPieces() int
	// PieceLen is a piece's length in bytes: the same for all but the last.
	PieceLen(piece int) int
	// PieceOK reports whether data is that piece.
	PieceOK(piece int, data []byte) bool
}

// File keeps the pieces: a [*storage.File], which says what each method owes.
type File interface {
	Have() *bitset.BitSet
	Whole() bool
	WritePiece(piece int, data []byte) error
	Section(piece int) (*io.SectionReader, error)
	Reserve(ctx context.Context) error
	Finish() error
}

// Buffers bounds the pieces in flight of all torrents that share it: a
// [*storage.Buffers].
type Buffers interface {
	// TryGet is a buffer that holds any piece, or false when all are in use.
	TryGet() ([]byte, bool)
	Put(buf []byte)
}

// Options of a Torrent.
type Options struct {
	Torrent Content
	File    File
	Buffers Buffers
	// Uploads are the gates that its pieces are sent through, in order.
	Uploads []*pace.Gate
	// Downloads are those that they are fetched through.
	Downloads []*pace.Gate
	// Whole is called once, when every piece is verified, durable and under
	// its final name. It is not called for a torrent that begins whole.
	Whole func()
	// Spoiled is called when pieces of a whole file turn out to be lost; none
	// means that none is left.
	Spoiled func(none bool)
	// Short is why the download begins paused, if it does: the disk has no room.
	Short error
	// Stopped is called when an error stops the download, or pauses it; Status
	// tells it.
	Stopped func()
	// Lonely is called when a download has lost a peer.
	Lonely  func()
	Observe Observer
	Log     *slog.Logger
}

// Torrent implements peer.Local. Its methods may be called from several
// goroutines while Run runs.
type Torrent struct {
	o      Options
	began  *bitset.BitSet // the pieces at New: what is lost from then on is told of
	events chan event
	ended  chan struct{} // closed when Run no longer takes events
	sent   atomic.Int64  // bytes of pieces served
	wg     sync.WaitGroup
	serves *servings

	mu     sync.Mutex
	status Status
}

// Status is a torrent's state for people.
type Status struct {
	Whole    bool
	Err      error // why the download has stopped
	Paused   error // why it waits: the disk has no room
	Done     int64 // bytes verified
	DownRate float64
	UpRate   float64
	Peers    int
	// Sources counts the pieces that came from each peer in this run, by
	// peer.Conn.Source.
	Sources map[string]int
}

// New makes a torrent over an open file.
func New(o Options) *Torrent {
	t := &Torrent{o: o, began: o.File.Have(), events: make(chan event, 64), ended: make(chan struct{}), serves: newServings()}
	t.status = Status{Whole: o.File.Whole(), Sources: map[string]int{}, Done: t.verified(), Paused: o.Short}
	return t
}

func (t *Torrent) verified() int64 {
	have, n := t.o.File.Have(), t.Pieces()
	if n == 0 {
		return 0
	}
	size := t.o.Torrent.PieceLen(0)
	done := int64(have.Count()) * int64(size)
	if have.Test(uint(n - 1)) {
		done -= int64(size - t.o.Torrent.PieceLen(n-1))
	}
	return done
}

// Status is a copy of the present state.
func (t *Torrent) Status() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.status
	s.Sources = make(map[string]int, len(t.status.Sources))
	for name, n := range t.status.Sources {
		s.Sources[name] = n
	}
	return s
}

// Progress is the part of Status that costs nothing to copy: without Sources.
func (t *Torrent) Progress() Status {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := t.status
	s.Sources = nil
	return s
}

// Pieces is how many the torrent has.
func (t *Torrent) Pieces() int { return t.o.Torrent.NumPieces() }

// Snapshot is the pieces at this side.
func (t *Torrent) Snapshot() *bitset.BitSet { return t.o.File.Have() }

// Section reads one piece that is here. One that turns out not to be is
// withdrawn from all peers.
func (t *Torrent) Section(piece int) (*io.SectionReader, error) {
	section, err := t.o.File.Section(piece)
	if err != nil {
		_ = t.post(spoiled{err})
	}
	return section, err
}

// Serving enters a piece that is being sent; it is false once nothing more is.
// stop is called when the torrent ends.
func (t *Torrent) Serving(stop func()) (done func(), ok bool) { return t.serves.begin(stop) }

// Served counts an upload.
func (t *Torrent) Served(n int64, scheme string) {
	t.sent.Add(n)
	if f := t.o.Observe.Sent; f != nil {
		f(scheme, n)
	}
}

// Sent is how many bytes of pieces were served in this run.
func (t *Torrent) Sent() int64 { return t.sent.Load() }

// Uploads are the gates that pieces are sent through.
func (t *Torrent) Uploads() []*pace.Gate { return t.o.Uploads }

// Join adds a peer.
func (t *Torrent) Join(l *peer.Link, theirs *bitset.BitSet) (*bitset.BitSet, error) {
	answer := make(chan error, 1)
	if err := t.post(joined{l, theirs, answer}); err != nil {
		return nil, err
	}
	select {
	case err := <-answer:
		if err != nil {
			return nil, err
		}
		// Taken after the state has begun to tell the peer of new pieces, so
		// that none falls between.
		return t.Snapshot(), nil
	case <-t.ended:
		return nil, errEnded
	}
}

// Gained tells of pieces that a peer has got.
func (t *Torrent) Gained(l *peer.Link, pieces []uint32) { _ = t.post(gained{l, pieces}) }

// Lost tells of pieces that a peer has no longer.
func (t *Torrent) Lost(l *peer.Link, pieces []uint32) { _ = t.post(withdrawn{l, pieces}) }

// Gone tells that a peer's link has ended.
func (t *Torrent) Gone(l *peer.Link) { _ = t.post(gone{l}) }

func (t *Torrent) post(e event) error {
	select {
	case t.events <- e:
		return nil
	case <-t.ended:
		return errEnded
	}
}

// Run gets and serves until ctx ends. Then it says bye to the peers, gives up
// what is being fetched and sent, and waits for it. The file stays open.
func (t *Torrent) Run(ctx context.Context) {
	fetching, cancel := context.WithCancel(context.Background())
	have := t.began
	s := &swarm{
		Torrent:  t,
		fetching: fetching,
		have:     have,
		whole:    t.o.File.Whole(),
		picker:   picker.New(t.Pieces(), have, rand.New(rand.NewPCG(rand.Uint64(), rand.Uint64()))),
		sources:  make(map[*peer.Link]*source),
		banned:   make(map[peer.ID]bool),
		began:    time.Now(),
	}
	if t.o.Short != nil {
		s.pause(t.o.Short)
	}
	s.complete()
	tick := time.NewTicker(tickEvery)
	for ctx.Err() == nil {
		select {
		case e := <-t.events:
			e.apply(s)
		case <-s.starved:
			s.starved = nil
			s.ask()
		case now := <-tick.C:
			s.tick(now)
		case <-ctx.Done():
		}
	}
	tick.Stop()
	close(t.ended)
	cancel()
	for link := range s.sources {
		link.Bye()
	}
	t.serves.end(partingTime)
	t.wg.Wait()
}
