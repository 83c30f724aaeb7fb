package peer

import (
	"context"
	"errors"
	"io"
	"os"
	"time"

	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

const (
	// turnTimeout is how long a request waits for its turn. It is then refused
	// with the word to come back, before the fetcher takes the silence for a
	// stall (StallTimeout).
	turnTimeout = 5 * time.Second
	// takeTimeout bounds the sending of each minStride of a piece: a peer slower
	// than 4 KiB/s would find it sooner elsewhere.
	takeTimeout = 30 * time.Second

	// A peer is sent a piece in strides, multiples of minStride, that take it
	// strideTime or so: whatever else it is to hear, and that it no longer wants
	// the piece, waits for no longer. A whole piece at once saves a tenth of the
	// CPU time.
	minStride  = 128 << 10
	strideTime = 100 * time.Millisecond
)

// nextStride is the stride to take when n bytes, more than none, have left in
// the time that they took.
func nextStride(n int64, took time.Duration) int64 {
	n = int64(float64(n) * strideTime.Seconds() / max(took, time.Microsecond).Seconds())
	return max(min(n, torrentfmt.PieceSize)/minStride, 1) * minStride
}

// serve sends one piece when its turn has come.
func (c *Conn) serve(ctx context.Context, st transport.Stream, p *wire.Piece) error {
	c.touch()
	local, err := c.local(p.GetTorrentId())
	if err != nil {
		return err
	}
	if p.GetIndex() >= uint32(local.Pieces()) {
		return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, "piece %d of %d", p.GetIndex(), local.Pieces())
	}
	kept := wire.Errorf(wire.Error_ERROR_NOT_FOUND, "piece %d is kept back", p.GetIndex())
	link, piece := c.link(p.GetTorrentId()), int(p.GetIndex())
	if !local.Claim(link, piece, false) {
		return kept
	}
	pass, err := c.turn(ctx, local)
	if err != nil {
		return err
	}
	defer pass.Leave()
	if !local.Claim(link, piece, true) {
		return kept
	}
	if err := c.sendPiece(ctx, st, local, link, pass, piece); err != nil {
		local.Unsent(link, piece)
		return err
	}
	c.touch()
	return nil
}

// sendPiece sends a piece, in steps.
func (c *Conn) sendPiece(ctx context.Context, st transport.Stream, local Local, link *Link, pass *pace.Pass, piece int) error {
	done, ok := local.Serving(func() { st.Abort(transport.Code(wire.Error_ERROR_NOT_FOUND)) })
	if !ok {
		return wire.Errorf(wire.Error_ERROR_NOT_FOUND, "the torrent is no longer here")
	}
	defer done()
	section, err := local.Section(piece)
	if err != nil {
		return wire.Errorf(wire.Error_ERROR_NOT_FOUND, "piece %d: %v", piece, err)
	}
	for at := int64(0); at < section.Size(); {
		n, err := pass.Move(ctx, func() (int64, error) {
			want := min(pass.Step(), max(c.stride.Load(), minStride), section.Size()-at)
			n, err := c.send(st, part(section, at, want))
			local.Served(n, c.sess.Scheme())
			if link != nil {
				link.sent.Add(n)
			}
			if err == nil && (n == 0 || at+n == section.Size()) {
				err = finish(st, local, piece, n > 0)
			}
			return n, err
		})
		if err != nil {
			var abort *transport.AbortError
			var refusal *wire.CodeError
			if ctx.Err() != nil || errors.As(err, &abort) || errors.As(err, &refusal) {
				return err
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return wire.Errorf(wire.Error_ERROR_TIMEOUT, "piece %d is not taken", piece)
			}
			return wire.Errorf(wire.Error_ERROR_INTERNAL, "piece %d: %v", piece, err)
		}
		at += n
	}
	return nil
}

// finish says that a piece is sent, if it is still the one that is here: a limit
// makes its way long enough for the file to be changed or cut meanwhile. The end
// of the stream is not kept back for what this side's limits want: the fetcher
// need not wait for that.
func finish(st transport.Stream, local Local, piece int, whole bool) error {
	if _, err := local.Section(piece); err != nil {
		return wire.Errorf(wire.Error_ERROR_NOT_FOUND, "piece %d: %v", piece, err)
	}
	if !whole {
		return wire.Errorf(wire.Error_ERROR_NOT_FOUND, "piece %d: the file has become shorter", piece)
	}
	_ = st.CloseWrite() // fails when the fetcher, who has it all, was faster to close
	return nil
}

// link is the link for a torrent; nil if there is none.
func (c *Conn) link(rawID []byte) *Link {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.links[torrentfmt.ID(rawID)]
}

// turn waits until a piece of a torrent may be sent to this peer.
func (c *Conn) turn(ctx context.Context, local Local) (*pace.Pass, error) {
	patient, cancel := context.WithTimeout(ctx, turnTimeout)
	defer cancel()
	pass, err := pace.Enter(patient, c.ID, local.Uploads()...)
	if err != nil {
		return nil, wire.Errorf(wire.Error_ERROR_TOO_MANY, "no turn within %s", turnTimeout)
	}
	return pass, nil
}

// send sends one step of a piece.
func (c *Conn) send(st transport.Stream, step *io.SectionReader) (int64, error) {
	begun := time.Now()
	strides := (step.Size() + minStride - 1) / minStride
	if err := st.SetDeadline(begun.Add(time.Duration(strides) * takeTimeout)); err != nil {
		return 0, err
	}
	n, err := st.ReadFrom(step)
	if n > 0 {
		c.stride.Store(nextStride(n, time.Since(begun)))
	}
	return n, err
}

// part is n bytes of a section from at on, as a section of what that one reads
// from: a section of a section would not be sent by sendfile.
func part(s *io.SectionReader, at, n int64) *io.SectionReader {
	r, base, _ := s.Outer()
	return io.NewSectionReader(r, base+at, n)
}
