package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

// StallTimeout is the spell in which a fetch must make progress. A stalled
// piece is noticed within twice this time: by the end of the first spell in
// which too little came.
const StallTimeout = 8 * time.Second

const (
	// newsTimeout is how long a peer may leave this side's news unread once
	// they fill the stream's credit.
	newsTimeout = 30 * time.Second
	// minProgress is how many bytes of a piece must come in StallTimeout. Less
	// is a peer that holds the piece rather than sends it.
	minProgress = 16 << 10
)

// Link is what two peers say about one torrent, for as long as both care.
type Link struct {
	conn  *Conn
	id    torrentfmt.ID
	local Local
	st    transport.Stream
	mine  bool // opened by this side
	sent  atomic.Int64

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
	return &Link{conn: c, id: id, local: local, mine: mine, news: make(chan struct{}, 1)}
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
	// The snapshot goes out before the link is joined. Pieces gained between
	// the two are told once it is.
	said := l.local.Snapshot()
	pieces := l.local.Pieces()
	out, _ := wire.Append(nil, &wire.Open{Kind: &wire.Open_Torrent{Torrent: &wire.Torrent{TorrentId: l.id[:]}}})
	out, _ = wire.Append(out, wire.PackBitfield(said, pieces))
	if st.SetDeadline(time.Now().Add(openTimeout)) != nil {
		return
	}
	if _, err := st.Write(out); err != nil {
		return
	}
	in := wire.NewReader(st)
	reply := new(wire.Bitfield)
	if err := in.Next(reply, wire.BitfieldLimit(pieces)); err != nil {
		return
	}
	theirs, err := reply.Unpack(pieces)
	if err != nil {
		st.Abort(transport.Code(wire.Error_ERROR_BAD_REQUEST))
		return
	}
	ours, err := l.local.Join(l, theirs)
	if err != nil {
		return
	}
	defer l.local.Gone(l)
	for i, ok := ours.NextSet(0); ok; i, ok = ours.NextSet(i + 1) {
		if !said.Test(i) {
			l.Have(uint32(i))
		}
	}
	l.converse(in)
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
	said := new(wire.Bitfield)
	if err := in.Next(said, wire.BitfieldLimit(local.Pieces())); err != nil {
		return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "%v", err)
	}
	theirs, err := said.Unpack(local.Pieces())
	if err != nil {
		return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "%v", err)
	}
	ours, err := local.Join(l, theirs)
	if err != nil {
		return wire.Errorf(wire.Error_ERROR_NOT_FOUND, "%v", err)
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

// converse tells and hears of pieces until either side ends the link.
func (l *Link) converse(in *wire.Reader) {
	if l.st.SetDeadline(time.Time{}) != nil {
		return
	}
	heard := make(chan struct{})
	l.conn.wg.Go(func() {
		defer close(heard)
		if err := l.hear(in); err != nil {
			var coded *wire.CodeError
			if errors.As(err, &coded) {
				l.st.Abort(transport.Code(coded.Code))
			}
		}
	})
	l.tell(heard)
	_ = l.st.Close()
	<-heard
}

// tell sends what Have, Withdraw and Bye have left, many in one message, and
// gives the link up when the peer takes none for newsTimeout.
func (l *Link) tell(heard <-chan struct{}) {
	// The stream's own deadline would end the hearing as well.
	patience := time.AfterFunc(newsTimeout, func() { l.st.Abort(transport.Code(wire.Error_ERROR_TIMEOUT)) })
	patience.Stop()
	defer patience.Stop()
	for {
		select {
		case <-l.news:
		case <-heard:
			return
		}
		l.mu.Lock()
		haves, lost, bye := l.haves, l.lost, l.bye
		l.haves, l.lost = nil, nil
		l.mu.Unlock()
		var out []byte
		for _, part := range chunks(haves) {
			out, _ = wire.Append(out, &wire.PeerEvent{Kind: &wire.PeerEvent_Have{Have: &wire.Have{Pieces: part}}})
		}
		for _, part := range chunks(lost) {
			out, _ = wire.Append(out, &wire.PeerEvent{Kind: &wire.PeerEvent_Withdraw{Withdraw: &wire.Withdraw{Pieces: part}}})
		}
		if bye {
			out, _ = wire.Append(out, &wire.PeerEvent{Kind: &wire.PeerEvent_Bye{Bye: &wire.Bye{}}})
		}
		patience.Reset(newsTimeout)
		_, err := l.st.Write(out)
		patience.Stop()
		if err != nil || bye {
			return
		}
	}
}

// maxEventPieces is how many pieces one event names, so that it stays far
// below wire.MaxMessage.
const maxEventPieces = 8192

func chunks(pieces []uint32) [][]uint32 {
	var parts [][]uint32
	for len(pieces) > 0 {
		n := min(len(pieces), maxEventPieces)
		parts = append(parts, pieces[:n])
		pieces = pieces[n:]
	}
	return parts
}

// hear takes the peer's events in until the stream ends.
func (l *Link) hear(in *wire.Reader) error {
	for {
		ev := new(wire.PeerEvent)
		if err := in.Next(ev, wire.MaxMessage); err != nil {
			return err
		}
		switch kind := ev.GetKind().(type) {
		case *wire.PeerEvent_Have:
			if err := l.inRange(kind.Have.GetPieces()); err != nil {
				return err
			}
			l.local.Gained(l, kind.Have.GetPieces())
		case *wire.PeerEvent_Withdraw:
			if err := l.inRange(kind.Withdraw.GetPieces()); err != nil {
				return err
			}
			l.local.Lost(l, kind.Withdraw.GetPieces())
		case *wire.PeerEvent_Bye:
			return nil
		}
	}
}

func (l *Link) inRange(pieces []uint32) error {
	for _, p := range pieces {
		if p >= uint32(l.local.Pieces()) {
			return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "piece %d of %d", p, l.local.Pieces())
		}
	}
	return nil
}

// Errors of Fetch that a torrent decides on.
var (
	// ErrStalled: the peer went silent, or nearly so, inside a piece.
	ErrStalled = fmt.Errorf("fewer than %d bytes in %s", minProgress, StallTimeout)
	// ErrNotHere: the peer says that it does not have the piece.
	ErrNotHere = errors.New("the peer does not have the piece")
	// ErrCut: what the peer sent as the piece is too short.
	ErrCut = errors.New("the piece is cut short")
)

// Fetch asks the peer for a piece when its turn has come at gates, and fills buf
// with it as fast as they let it; buf is exactly the piece's length. The bytes
// are not verified. When ctx ends, the peer is told that the piece is no longer
// wanted. Any other refusal is a [*wire.CodeError].
func (l *Link) Fetch(ctx context.Context, piece int, buf []byte, gates ...*pace.Gate) error {
	pass, err := pace.Enter(ctx, l.conn.ID, gates...)
	if err != nil {
		return err
	}
	defer pass.Leave()
	st, err := l.openStream(ctx)
	if err != nil {
		return err
	}
	l.conn.open.Add(1)
	defer l.conn.open.Add(-1)
	defer st.Close()
	defer context.AfterFunc(ctx, func() { st.Abort(transport.Code(wire.Error_ERROR_CANCELLED)) })()
	if err := st.SetDeadline(time.Now().Add(StallTimeout)); err != nil {
		return err
	}
	err = say(st, &wire.Open{Kind: &wire.Open_Piece{Piece: &wire.Piece{
		TorrentId: l.id[:], Index: uint32(piece),
	}}})
	for at := 0; err == nil && at < len(buf); {
		var n int64
		n, err = pass.Move(ctx, func() (int64, error) {
			next := buf[at:]
			next = next[:min(int64(len(next)), pass.Step())]
			n, err := fill(st, next)
			if errors.Is(err, ErrCut) {
				err = fmt.Errorf("%w: %d bytes are missing", ErrCut, len(buf)-at-n)
			}
			return int64(n), err
		})
		at += int(n)
	}
	if ctx.Err() != nil && err != nil {
		return ctx.Err()
	}
	var abort *transport.AbortError
	if errors.As(err, &abort) && abort.Remote {
		if wire.Error(abort.Code) == wire.Error_ERROR_NOT_FOUND {
			return ErrNotHere
		}
		return &wire.CodeError{Code: wire.Error(abort.Code)}
	}
	l.conn.touch()
	return err
}

// openStream opens a stream, unless the peer grants none for StallTimeout.
func (l *Link) openStream(ctx context.Context) (transport.Stream, error) {
	patient, cancel := context.WithTimeout(ctx, StallTimeout)
	defer cancel()
	st, err := l.conn.sess.Open(patient)
	if err != nil && patient.Err() != nil && ctx.Err() == nil {
		return nil, ErrStalled
	}
	return st, err
}

// fill reads buf whole, giving up when too little comes for StallTimeout.
func fill(st transport.Stream, buf []byte) (int, error) {
	for done := 0; ; {
		if err := st.SetDeadline(time.Now().Add(StallTimeout)); err != nil {
			return done, err
		}
		n, err := st.ReadFull(buf[done:])
		done += n
		var ended *transport.SessionError
		switch {
		case err == nil:
			return done, nil
		case errors.As(err, &ended):
			return done, err // it may wrap an unexpected end, which is the connection's
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return done, ErrCut
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return done, err
		case n < minProgress:
			return done, ErrStalled
		}
	}
}
