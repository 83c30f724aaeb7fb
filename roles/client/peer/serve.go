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
	// takeTimeout bounds the sending of one step of a piece, 128 KiB at most: a
	// peer slower than 4 KiB/s would find it sooner elsewhere.
	takeTimeout = 30 * time.Second
)

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
			want := min(pass.Step(), section.Size()-at)
			n, err := c.send(st, part(section, at, want), at+want == section.Size())
			local.Served(n, c.sess.Scheme())
			if link != nil {
				link.sent.Add(n)
			}
			return n, err
		})
		if err != nil {
			var abort *transport.AbortError
			if ctx.Err() != nil || errors.As(err, &abort) {
				return err
			}
			if errors.Is(err, os.ErrDeadlineExceeded) {
				return wire.Errorf(wire.Error_ERROR_TIMEOUT, "piece %d is not taken", piece)
			}
			return wire.Errorf(wire.Error_ERROR_INTERNAL, "piece %d: %v", piece, err)
		}
		if n == 0 { // cut under the seeder: say so rather than send less
			return wire.Errorf(wire.Error_ERROR_NOT_FOUND, "piece %d: the file has become shorter", piece)
		}
		at += n
	}
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

// send sends one step of a piece, and the end of the stream behind the last:
// the fetcher need not wait for what this side's limits want.
func (c *Conn) send(st transport.Stream, step *io.SectionReader, last bool) (int64, error) {
	if err := st.SetDeadline(time.Now().Add(takeTimeout)); err != nil {
		return 0, err
	}
	n, err := st.ReadFrom(step)
	if err == nil && last && n == step.Size() {
		_ = st.CloseWrite() // fails when the fetcher, who has it all, was faster to close
	}
	return n, err
}

// part is n bytes of a section from at on, as a section of what that one reads
// from: a section of a section would not be sent by sendfile.
func part(s *io.SectionReader, at, n int64) *io.SectionReader {
	r, base, _ := s.Outer()
	return io.NewSectionReader(r, base+at, n)
}
