package replica

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

// giver is one Pull stream at the side that gives.
type giver struct {
	st  transport.Stream
	reg *registry.Registry
	in  *wire.Reader
	out *bufio.Writer
	buf []byte
}

// Give answers a Pull stream, of which in has read the opening message and
// reads on with a [Patience] of [Dead], until the stream or ctx ends. It
// returns why, never nil, and leaves the stream to be closed by the caller.
func Give(ctx context.Context, st transport.Stream, reg *registry.Registry, in *wire.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	g := &giver{st: st, reg: reg, in: in, out: bufio.NewWriterSize(st, 64<<10)}
	var first wire.Pulled
	if err := g.in.Next(&first, maxMessage); err != nil {
		cancel(err)
		return err
	}
	had, err := decodeVector(first.GetHave())
	if err != nil {
		cancel(err)
		return err
	}
	listening := make(chan struct{})
	go func() {
		defer close(listening)
		cancel(g.listen())
	}()
	stop := context.AfterFunc(ctx, func() { st.Abort(transport.Code(wire.Error_ERROR_CANCELLED)) })
	defer stop()
	err = g.rounds(ctx, had)
	cancel(err)
	<-listening
	return context.Cause(ctx)
}

// listen reads acknowledgements and heartbeats until the stream fails.
func (g *giver) listen() error {
	for {
		var p wire.Pulled
		if err := g.in.Next(&p, maxMessage); err != nil {
			return err
		}
	}
}

// rounds gives what the other lacks, again whenever there is more.
func (g *giver) rounds(ctx context.Context, had registry.Vector) error {
	tick := time.NewTicker(Heartbeat)
	defer tick.Stop()
	for round := uint64(1); ; {
		changed := g.reg.Changed()
		if round == 1 || !had.CoversAll(g.reg.Vector()) {
			next, err := g.round(round, had)
			if err != nil {
				return err
			}
			had = next
			round++
		}
		select {
		case <-changed:
		case <-tick.C:
			if err := wire.Write(g.st, &wire.Given{}); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// round gives everything that had does not cover and returns the vector of
// one that has taken it.
func (g *giver) round(number uint64, had registry.Vector) (registry.Vector, error) {
	scan := g.reg.Scan(had)
	defer scan.Close()
	var last []registry.Entry
	for {
		entries, err := scan.Next(entriesPerMessage)
		if err != nil {
			return nil, err
		}
		if len(entries) == 0 {
			break
		}
		for len(last) > 0 {
			if last, err = g.part(last, 0, nil); err != nil {
				return nil, err
			}
		}
		last = entries
	}
	spans := had.SpansTo(scan.Vector())
	for {
		rest, err := g.part(last, number, spans)
		if err != nil {
			return nil, err
		}
		if last = rest; len(last) == 0 {
			break
		}
	}
	next := had.Clone()
	for _, s := range spans {
		next[s.Origin] = s.To
	}
	return next, g.out.Flush()
}

// part sends one message of the first entries, as many as their hash strings
// allow, and those after it. If that is all, it ends the round.
func (g *giver) part(entries []registry.Entry, round uint64, spans []registry.Span) (rest []registry.Entry, err error) {
	n, hashes := 0, 0
	for n < len(entries) && hashes < hashesPerMessage {
		if entries[n].Kind == registry.KindTorrent {
			hashes += hashLength(entries[n].Size)
		}
		n++
	}
	msg := encode(entries[:n])
	if n == len(entries) && round != 0 {
		msg.Round, msg.Spans = round, encodeSpans(spans)
	}
	if g.buf, err = wire.Append(g.buf[:0], msg); err != nil {
		return nil, err
	}
	if _, err := g.out.Write(g.buf); err != nil {
		return nil, err
	}
	for i := range entries[:n] {
		e := &entries[i]
		if e.Kind != registry.KindTorrent {
			continue
		}
		if err := g.reg.Hashes(e.Torrent, e.Size, g.send); err != nil {
			return nil, fmt.Errorf("give torrent %v: %w", e.Torrent, err)
		}
	}
	return entries[n:], nil
}

func (g *giver) send(b []byte) error {
	n, err := g.out.Write(b)
	if err == nil && n < len(b) {
		err = io.ErrShortWrite
	}
	return err
}
