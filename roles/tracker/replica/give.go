package replica

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"sync"
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

	origin registry.Origin // of the puller; zero if it did not say
	node   registry.NodeID // the same
	repair chan []byte     // buckets asked for
	mu     sync.Mutex
	ends   []roundEnd // given and not acknowledged
}

// roundEnd is the vector of one that has taken a round.
type roundEnd struct {
	round  uint64
	vector registry.Vector
}

// Give answers a Pull stream, of which in has read the opening message and
// reads on with a [Patience] of [Dead], until the stream or ctx ends. It
// returns why, never nil, and leaves the stream to be closed by the caller.
func Give(ctx context.Context, st transport.Stream, reg *registry.Registry, in *wire.Reader) error {
	ctx, cancel := context.WithCancelCause(ctx)
	g := &giver{st: st, reg: reg, in: in, out: bufio.NewWriterSize(st, 64<<10), repair: make(chan []byte, 1)}
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
	switch len(first.GetOrigin()) {
	case 0: // of a version that does not say
	case registry.OriginSize:
		g.origin = registry.Origin(first.GetOrigin())
		g.node = g.origin.Node()
		defer reg.Attach(g.node, had.Clone())()
	default:
		err := bad("origin of %d bytes", len(first.GetOrigin()))
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
	err = g.rounds(ctx, g.credit(had))
	cancel(err)
	<-listening
	return context.Cause(ctx)
}

// listen reads acknowledgements, reports and heartbeats until the stream fails.
func (g *giver) listen() error {
	for {
		var p wire.Pulled
		if err := g.in.Next(&p, maxMessage); err != nil {
			return err
		}
		have, err := decodeVector(p.GetHave())
		if err != nil {
			return err
		}
		if n := len(p.GetBuckets()); n > 0 {
			if n > maxBuckets {
				return bad("%d buckets: at most %d", n, maxBuckets)
			}
			select {
			case g.repair <- p.GetBuckets():
			default: // it is at it
			}
		}
		if g.node == (registry.NodeID{}) {
			continue
		}
		g.reg.Heard(g.node)
		if len(have) > 0 {
			g.reg.Report(g.node, have)
		}
		if v := g.acknowledged(p.GetRound()); v != nil {
			g.reg.Acked(g.node, v)
		}
	}
}

// maxEnds bounds the rounds that are not acknowledged: of more, each second is
// forgotten, and what it brought counts with the next.
const maxEnds = 1024

// ended notes the vector that goes with a round, before it is given.
func (g *giver) ended(round uint64, v registry.Vector) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.ends) >= maxEnds {
		half := g.ends[:0]
		for i := 1; i < len(g.ends); i += 2 {
			half = append(half, g.ends[i])
		}
		g.ends = half
	}
	g.ends = append(g.ends, roundEnd{round, v})
}

// acknowledged is the vector of the newest round up to the given one, nil if
// that is nothing new.
func (g *giver) acknowledged(round uint64) (v registry.Vector) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.ends) > 0 && g.ends[0].round <= round {
		v, g.ends = g.ends[0].vector, g.ends[1:]
	}
	return v
}

// rounds gives what the other lacks, again whenever there is more.
func (g *giver) rounds(ctx context.Context, had registry.Vector) error {
	tick := time.NewTicker(Heartbeat)
	defer tick.Stop()
	for round, beats := uint64(1), 0; ; {
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
			msg := &wire.Given{}
			if beats++; beats%checkEvery == 0 {
				msg.Check = encodeSummary(g.reg.Summary())
			}
			if err := wire.Write(g.st, msg); err != nil {
				return err
			}
		case buckets := <-g.repair:
			if err := g.give(g.reg.Held(buckets)); err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// give sends entries that belong to no round.
func (g *giver) give(entries []registry.Entry) error {
	for part := range slices.Chunk(entries, entriesPerMessage) {
		msg := encode(part)
		msg.Repair = true
		if err := wire.Write(g.st, msg); err != nil {
			return err
		}
	}
	return nil
}

// credit counts what the puller writes itself as had: it need not come back.
func (g *giver) credit(had registry.Vector) registry.Vector {
	if g.node != (registry.NodeID{}) {
		had[g.origin] = math.MaxUint64
	}
	return had
}

// round gives everything that had does not cover and returns the vector of
// one that has taken it.
func (g *giver) round(number uint64, had registry.Vector) (registry.Vector, error) {
	scan := g.reg.Scan(had)
	defer scan.Close()
	if scan.Full() {
		had = nil
	}
	spans := had.SpansTo(scan.Vector())
	next := registry.Vector{}
	maps.Copy(next, had)
	for _, s := range spans {
		next[s.Origin] = s.To
	}
	g.credit(next)
	g.ended(number, next)
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
			if last, err = g.part(last, scan, 0, nil); err != nil {
				return nil, err
			}
		}
		last = entries
	}
	for {
		rest, err := g.part(last, scan, number, spans)
		if err != nil {
			return nil, err
		}
		if last = rest; len(last) == 0 {
			break
		}
	}
	return next, g.out.Flush()
}

// part sends one message of the first entries, as many as their hash strings
// allow, and those after it. If that is all, it ends the round.
func (g *giver) part(entries []registry.Entry, scan *registry.Scan, round uint64, spans []registry.Span) (rest []registry.Entry, err error) {
	n, hashes := 0, 0
	for n < len(entries) && hashes < hashesPerMessage {
		if entries[n].Kind == registry.KindTorrent {
			hashes += hashLength(&entries[n])
		}
		n++
	}
	msg := encode(entries[:n])
	msg.Full = scan.Full()
	if n == len(entries) && round != 0 {
		msg.Round, msg.Spans, msg.Dropped = round, encodeSpans(spans), encodeVector(scan.Dropped())
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
		if err := g.reg.Hashes(e.Torrent, hashLength(e), g.send); err != nil {
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
