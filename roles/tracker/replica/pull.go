package replica

import (
	"context"
	"crypto/sha1"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

// ahead is how many messages may be decoded before the first is durable, so
// that reading and writing overlap: two commits full.
const ahead = 64

// Puller pulls into one registry.
type Puller struct {
	Registry *registry.Registry
	// Budget bounds the bytes of hash strings that are held in memory until
	// they are durable. It admits at least MaxHashes at once.
	Budget *semaphore.Weighted
	// CaughtUp, if set, hears how many entries the first round brought, and
	// how long it took.
	CaughtUp func(entries int, d time.Duration)
	// Repaired, if set, hears how many entries were taken although both
	// trackers accounted for the same: that is not expected.
	Repaired func(entries int)
}

// MaxHashes is what one message may carry in hash strings, in bytes.
const MaxHashes = hashesPerMessage + torrentfmt.MaxPieces*torrentfmt.HashSize + torrentfmt.MaxListLen

// pull is one stream.
type pull struct {
	*Puller
	ctx     context.Context
	cancel  context.CancelCauseFunc
	st      transport.Stream
	in      *wire.Reader
	start   time.Time
	entries int // of the first round
	later   bool
	full    *registry.Reconcile // while a walk of everything goes on
	differ  chan []byte         // buckets to ask for
	at      [sha1.Size]byte     // the vector's digest when they differed

	waiting chan struct{}  // one for each message that is not durable yet
	merging sync.WaitGroup // the same
	durable atomic.Uint64  // the last durable round
	acks    chan struct{}  // durable has grown
}

// Run pulls over st, after its opening message, until the stream or ctx ends.
// It returns why, never nil, and leaves the stream to be closed by the caller.
func (p *Puller) Run(ctx context.Context, st transport.Stream) error {
	ctx, cancel := context.WithCancelCause(ctx)
	x := &pull{
		Puller:  p,
		ctx:     ctx,
		cancel:  cancel,
		st:      st,
		in:      wire.NewReader(&Patience{Stream: st, Wait: Dead}),
		start:   time.Now(),
		waiting: make(chan struct{}, ahead),
		acks:    make(chan struct{}, 1),
		differ:  make(chan []byte, 1),
	}
	told := p.Registry.Vector()
	self := p.Registry.Origin()
	if err := wire.Write(st, &wire.Pulled{Have: encodeVector(told), Origin: self[:]}); err != nil {
		cancel(err)
		return err
	}
	answering := make(chan struct{})
	go func() {
		defer close(answering)
		cancel(x.answer(told))
	}()
	stop := context.AfterFunc(ctx, func() { st.Abort(transport.Code(wire.Error_ERROR_CANCELLED)) })
	defer stop()
	cancel(x.read())
	<-answering
	x.merging.Wait()
	return context.Cause(ctx)
}

// answer sends acknowledgements and heartbeats, with the vector when it has
// grown beyond what was told.
func (x *pull) answer(told registry.Vector) error {
	tick := time.NewTicker(Heartbeat)
	defer tick.Stop()
	for {
		var p wire.Pulled
		select {
		case <-x.acks:
		case p.Buckets = <-x.differ:
		case <-tick.C:
			if have := x.Registry.Vector(); !told.CoversAll(have) {
				told, p.Have = have, encodeVector(have)
			}
		case <-x.ctx.Done():
			return context.Cause(x.ctx)
		}
		p.Round = x.durable.Load()
		if err := wire.Write(x.st, &p); err != nil {
			return err
		}
	}
}

// read takes messages and their hash strings and passes them to the registry.
func (x *pull) read() error {
	for {
		g := new(wire.Given)
		if err := x.in.Next(g, maxMessage); err != nil {
			return err
		}
		entries, err := decode(g)
		if err != nil {
			return err
		}
		spans, err := decodeSpans(g.GetSpans())
		if err != nil {
			return err
		}
		if g.GetRound() == 0 && len(spans) > 0 {
			return bad("spans before the end of a round")
		}
		if g.GetCheck() != nil {
			if err := x.check(g.GetCheck()); err != nil {
				return err
			}
		}
		if g.GetRound() == 0 && len(entries) == 0 {
			continue // a heartbeat
		}
		held, err := x.hashes(entries)
		if err != nil {
			return err
		}
		dropped, err := decodeVector(g.GetDropped())
		if err != nil {
			return err
		}
		if err := x.merge(message{g, entries, spans, dropped}, held); err != nil {
			return err
		}
	}
}

// message is a decoded Given.
type message struct {
	*wire.Given
	entries []registry.Entry
	spans   []registry.Span
	dropped registry.Vector
}

// check compares lists, if both sides account for the same.
func (x *pull) check(c *wire.Check) error {
	theirs, err := decodeSummary(c)
	if err != nil {
		return err
	}
	ours := x.Registry.Summary()
	differ := ours.Differ(&theirs)
	if len(differ) == 0 {
		return nil
	}
	x.at = ours.Vector
	select {
	case x.differ <- differ[:min(len(differ), maxBuckets)]:
	default:
	}
	return nil
}

// merge hands over one message; held bytes are freed once it is durable.
func (x *pull) merge(m message, held int64) error {
	select {
	case x.waiting <- struct{}{}:
	case <-x.ctx.Done():
		x.Budget.Release(held)
		return context.Cause(x.ctx)
	}
	round := m.GetRound()
	if !x.later {
		x.entries += len(m.entries)
		x.later = round != 0
	}
	total := x.entries
	x.merging.Add(1)
	done := func(err error) {
		defer x.merging.Done()
		<-x.waiting
		x.Budget.Release(held)
		if err != nil {
			x.cancel(err)
			return
		}
		if round == 0 {
			return
		}
		x.durable.Store(round)
		select {
		case x.acks <- struct{}{}:
		default:
		}
		if round == 1 && x.CaughtUp != nil {
			x.CaughtUp(total, time.Since(x.start))
		}
	}
	switch {
	case m.GetRepair():
		x.Registry.Repair(m.entries, x.at, func(n int, err error) {
			if n > 0 && x.Repaired != nil {
				x.Repaired(n)
			}
			done(err)
		})
	case !m.GetFull():
		x.full = nil
		x.Registry.Merge(m.entries, m.spans, done)
	default:
		x.mergeFull(m, done)
	}
	return nil
}

// mergeFull hands over a message of a walk of everything.
func (x *pull) mergeFull(m message, done func(error)) {
	if x.full == nil {
		x.full = x.Registry.Reconcile()
	}
	if m.GetRound() == 0 {
		x.full.Merge(m.entries, done)
		return
	}
	var merged error
	x.full.Merge(m.entries, func(err error) { merged = err })
	finished := make(chan struct{})
	x.full.Finish(m.spans, m.dropped, func(err error) {
		done(errors.Join(merged, err))
		close(finished)
	})
	x.full = nil
	// The next round builds on this one, which may have to wait.
	select {
	case <-finished:
	case <-x.ctx.Done():
	}
}

// hashes reads the hash strings that follow a message and stores those that
// are new. It returns the bytes taken from the budget.
func (x *pull) hashes(entries []registry.Entry) (held int64, err error) {
	for i := range entries {
		if entries[i].Kind == registry.KindTorrent {
			held += int64(hashLength(&entries[i]))
		}
	}
	if held == 0 {
		return 0, nil
	}
	if held > MaxHashes {
		return 0, bad("hash strings of %d bytes with one message: at most %d", held, MaxHashes)
	}
	if err := x.Budget.Acquire(x.ctx, held); err != nil {
		return 0, context.Cause(x.ctx)
	}
	defer func() {
		if err != nil {
			x.Budget.Release(held)
			held = 0
		}
	}()
	for i := range entries {
		if e := &entries[i]; e.Kind == registry.KindTorrent {
			if err := x.hash(e.Torrent, hashLength(e)); err != nil {
				return held, err
			}
		}
	}
	return held, nil
}

func (x *pull) hash(id torrentfmt.ID, length int) error {
	if _, known := x.Registry.Known(id); known {
		_, err := x.in.Discard(length)
		return err
	}
	b := make([]byte, length)
	if _, err := io.ReadFull(x.in, b); err != nil {
		return err
	}
	if torrentfmt.HashID(b) != id {
		return bad("the hash string of torrent %v is another's", id)
	}
	x.Registry.PutHashes(id, b)
	return nil
}
