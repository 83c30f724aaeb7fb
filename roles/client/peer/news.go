package peer

import (
	"io"
	"time"

	"golang.org/x/time/rate"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

const (
	// newsTimeout is how long a peer may leave this side's news unread once
	// they fill the stream's credit.
	newsTimeout = 30 * time.Second
	// newsPerSecond is how many pieces a peer's news may name for long: more
	// than any line brings.
	newsPerSecond = 4096
	// newsTimes is how many times over it may name all pieces at once. One that
	// was there before and gets the rest, then loses and regains its file, comes
	// near it.
	newsTimes = 4
)

// newsBudget bounds what a peer may say of the pieces of a torrent: each of
// them costs the torrent's loop a little work, which others wait for.
func newsBudget(pieces int) *rate.Limiter {
	return rate.NewLimiter(newsPerSecond, newsTimes*pieces+2*newsPerSecond)
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
			l.conn.refuse(l.st, err)
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

// maxEventPieces is how many pieces one event names at most, so that it stays
// far below wire.MaxMessage, and what waits for a torrent's loop is small.
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
			if err == io.EOF { // between messages
				return nil
			}
			return err
		}
		switch kind := ev.GetKind().(type) {
		case *wire.PeerEvent_Have:
			if err := l.check(kind.Have.GetPieces()); err != nil {
				return err
			}
			l.local.Gained(l, kind.Have.GetPieces())
		case *wire.PeerEvent_Withdraw:
			if err := l.check(kind.Withdraw.GetPieces()); err != nil {
				return err
			}
			l.local.Lost(l, kind.Withdraw.GetPieces())
		case *wire.PeerEvent_Bye:
			return nil
		default: // of a later version
			if err := l.check(nil); err != nil {
				return err
			}
		}
	}
}

// check refuses news of pieces that do not exist. A flood of news ends the
// session: a new link would begin with a full budget.
func (l *Link) check(pieces []uint32) error {
	if len(pieces) > maxEventPieces {
		return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "%d pieces in one event", len(pieces))
	}
	if !l.heard.AllowN(time.Now(), max(1, len(pieces))) {
		l.conn.Close(wire.Error_ERROR_TOO_MANY)
		return wire.Errorf(wire.Error_ERROR_TOO_MANY, "news of the same pieces again and again")
	}
	for _, p := range pieces {
		if p >= uint32(l.local.Pieces()) {
			return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "piece %d of %d", p, l.local.Pieces())
		}
	}
	return nil
}
