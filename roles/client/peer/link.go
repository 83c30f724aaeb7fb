package peer

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/bits-and-blooms/bitset"
	"golang.org/x/time/rate"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

// Errors of Local.Join that the peer is told.
var (
	ErrBanned = errors.New("it has sent a bad piece of this torrent")
	ErrFull   = errors.New("enough peers for this torrent")
)

// Link is what two peers say about one torrent, for as long as both care.
type Link struct {
	conn  *Conn
	id    torrentfmt.ID
	local Local
	st    transport.Stream
	mine  bool // opened by this side
	sent  atomic.Int64
	heard *rate.Limiter

	mu    sync.Mutex
	haves []uint32      // to be told; bounded by the number of pieces, each is gained once
	lost  []uint32      // to be withdrawn
	bye   bool          // to be said, then the link ends
	news  chan struct{} // something of the above changed
}

// Conn is the session that carries the link.
func (l *Link) Conn() *Conn { return l.conn }

// Sent is how many bytes of pieces went to the peer while there was this link.
func (l *Link) Sent() int64 { return l.sent.Load() }

// Have tells the peer of pieces that this side has gained.
func (l *Link) Have(pieces ...uint32) {
	l.mu.Lock()
	l.haves = append(l.haves, pieces...)
	l.mu.Unlock()
	l.poke()
}

// Withdraw tells the peer of pieces that can no longer be had here.
func (l *Link) Withdraw(pieces ...uint32) {
	l.mu.Lock()
	l.lost = append(l.lost, pieces...)
	l.mu.Unlock()
	l.poke()
}

// Bye tells the peer that nothing more of this torrent comes from here, and
// ends the link.
func (l *Link) Bye() {
	l.mu.Lock()
	l.bye = true
	l.mu.Unlock()
	l.poke()
}

// BadPiece ends the link with the word that a piece from there was bad.
func (l *Link) BadPiece() { l.st.Abort(transport.Code(wire.Error_ERROR_BAD_PIECE)) }

func (l *Link) poke() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// Join opens a link for a torrent, unless there is one. The link's life goes on
// in goroutines that Conn.Run waits for; local hears of it by Join and Gone.
func (c *Conn) Join(id torrentfmt.ID, local Local) error {
	l := c.newLink(id, local, true)
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.wanted) < maxLinks || c.wanted[id] {
		c.wanted[id] = true
	}
	switch {
	case c.ended:
		return c.sess.Err()
	case c.links[id] != nil:
		return nil
	case len(c.links) >= maxLinks:
		return fmt.Errorf("%d torrents with %s already", maxLinks, c.Source())
	}
	c.links[id] = l
	c.wg.Go(func() {
		defer c.drop(l)
		l.open()
	})
	return nil
}

func (c *Conn) newLink(id torrentfmt.ID, local Local, mine bool) *Link {
	return &Link{
		conn: c, id: id, local: local, mine: mine,
		heard: newsBudget(local.Pieces()), news: make(chan struct{}, 1),
	}
}

func (c *Conn) drop(l *Link) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.links[l.id] == l {
		delete(c.links, l.id)
	}
	c.used = time.Now()
}

// open is the life of a link that this side opens.
func (l *Link) open() {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	st, err := l.conn.sess.Open(ctx)
	if err != nil {
		return
	}
	l.conn.open.Add(1)
	defer l.conn.open.Add(-1)
	defer st.Close()
	l.conn.mu.Lock()
	replaced := l.conn.links[l.id] != l
	l.st = st
	l.conn.mu.Unlock()
	if replaced {
		return
	}
	if err := l.speak(); err != nil {
		l.conn.refuse(st, err)
	}
}

// speak offers the torrent over a link that this side has opened, and stays
// for what follows.
func (l *Link) speak() error {
	st := l.st
	// The snapshot goes out before the link is joined. Pieces gained between
	// the two are told once it is.
	said := l.local.Snapshot()
	pieces := l.local.Pieces()
	out, _ := wire.Append(nil, &wire.Open{Kind: &wire.Open_Torrent{Torrent: &wire.Torrent{TorrentId: l.id[:]}}})
	out, _ = wire.Append(out, wire.PackBitfield(said, pieces))
	if err := st.SetDeadline(time.Now().Add(openTimeout)); err != nil {
		return err
	}
	if _, err := st.Write(out); err != nil {
		return err
	}
	in := wire.NewReader(st)
	ours, err := l.join(in)
	if err != nil {
		return err
	}
	defer l.local.Gone(l)
	for i, ok := ours.NextSet(0); ok; i, ok = ours.NextSet(i + 1) {
		if !said.Test(i) {
			l.Have(uint32(i))
		}
	}
	l.converse(in)
	return nil
}

// join takes the peer's bitfield in.
func (l *Link) join(in *wire.Reader) (ours *bitset.BitSet, err error) {
	said, pieces := new(wire.Bitfield), l.local.Pieces()
	if err := in.Next(said, wire.BitfieldLimit(pieces)); err != nil {
		return nil, err
	}
	theirs, err := said.Unpack(pieces)
	if err != nil {
		return nil, wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "%v", err)
	}
	ours, err = l.local.Join(l, theirs)
	switch {
	case errors.Is(err, ErrBanned):
		return nil, wire.Errorf(wire.Error_ERROR_BAD_PIECE, "%v", err)
	case errors.Is(err, ErrFull):
		return nil, wire.Errorf(wire.Error_ERROR_TOO_MANY, "%v", err)
	case err != nil:
		return nil, wire.Errorf(wire.Error_ERROR_NOT_FOUND, "%v", err)
	}
	return ours, nil
}

// accept is the life of a link that the peer opened. entered is called when it
// counts as a link.
func (c *Conn) accept(st transport.Stream, in *wire.Reader, msg *wire.Torrent, entered func()) error {
	local, err := c.local(msg.GetTorrentId())
	if err != nil {
		return err
	}
	l := c.newLink(torrentfmt.ID(msg.GetTorrentId()), local, false)
	l.st = st
	if err := c.enter(l); err != nil {
		return err
	}
	defer c.drop(l)
	entered()
	ours, err := l.join(in)
	if err != nil {
		return err
	}
	defer local.Gone(l)
	if err := wire.Write(st, wire.PackBitfield(ours, local.Pieces())); err != nil {
		return err
	}
	l.converse(in)
	return nil
}

// enter makes l the session's link for its torrent. Of two, that of the
// session's dialler stays.
func (c *Conn) enter(l *Link) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.links[l.id]; old != nil {
		if old.mine && c.dialed || !old.mine {
			return wire.Errorf(wire.Error_ERROR_DUPLICATE, "a stream for this torrent is open")
		}
		if old.st != nil {
			old.st.Abort(transport.Code(wire.Error_ERROR_DUPLICATE))
		}
	}
	if len(c.links) >= maxLinks {
		return wire.Errorf(wire.Error_ERROR_TOO_MANY, "%d torrents are open", maxLinks)
	}
	c.links[l.id] = l
	return nil
}
