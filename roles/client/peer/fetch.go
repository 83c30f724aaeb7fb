package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

// StallTimeout is the spell in which a fetch must make progress. A stalled
// piece is noticed within twice this time: by the end of the first spell in
// which too little came.
const StallTimeout = 8 * time.Second

// minProgress is how many bytes of a piece must come in StallTimeout. Less is a
// peer that holds the piece rather than sends it.
const minProgress = 16 << 10

// Errors of Fetch that a torrent decides on.
var (
	// ErrStalled: the peer went silent, or nearly so, inside a piece.
	ErrStalled = fmt.Errorf("fewer than %d bytes in %s", minProgress, StallTimeout)
	// ErrNotHere: the peer says that it does not have the piece.
	ErrNotHere = errors.New("the peer does not have the piece")
	// ErrLength: what the peer sent as the piece is too short or too long.
	ErrLength = errors.New("a piece of the wrong length")
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
			if errors.Is(err, ErrLength) {
				err = fmt.Errorf("%w: %d bytes are missing", ErrLength, len(buf)-at-n)
			}
			return int64(n), err
		})
		at += int(n)
	}
	if err == nil {
		err = ended(st)
	}
	switch {
	case ctx.Err() != nil && err != nil:
		return ctx.Err()
	case errors.Is(err, ErrStalled):
		st.Abort(transport.Code(wire.Error_ERROR_TIMEOUT))
	case errors.Is(err, ErrLength):
		st.Abort(transport.Code(wire.Error_ERROR_BAD_PIECE))
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
			return done, ErrLength
		case !errors.Is(err, os.ErrDeadlineExceeded):
			return done, err
		case n < minProgress:
			return done, ErrStalled
		}
	}
}

// ended reads the end of the stream, which comes right behind the piece. A
// session that is lost there has still brought the piece; a peer that takes it
// back instead has had its file changed while it sent.
func ended(st transport.Stream) error {
	var more [1]byte
	n, err := st.Read(more[:])
	var abort *transport.AbortError
	switch {
	case errors.As(err, &abort) && abort.Remote:
		return err
	case n > 0:
		return fmt.Errorf("%w: bytes follow it", ErrLength)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return ErrStalled
	}
	return nil
}
