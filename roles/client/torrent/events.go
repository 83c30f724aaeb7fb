package torrent

import (
	"log/slog"
	"time"

	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/roles/client/peer"
)

// event is something that happened; apply changes the state.
type event interface{ apply(s *swarm) }

type joined struct {
	link   *peer.Link
	theirs *bitset.BitSet
	answer chan error
}

type gained struct {
	link   *peer.Link
	pieces []uint32
}

type withdrawn struct {
	link   *peer.Link
	pieces []uint32
}

type gone struct{ link *peer.Link }

// arrived ends a fetch: the piece is verified and written, or err says why not.
type arrived struct {
	link  *peer.Link
	piece int
	err   error
}

// finished ends the making durable of a whole file.
type finished struct{ err error }

// spoiled asks for a look at what a whole file still has.
type spoiled struct{ err error }

func (e joined) apply(s *swarm) {
	switch {
	case s.banned[e.link.Conn().ID]:
		e.answer <- peer.ErrBanned
		return
	case len(s.sources) >= maxSources:
		e.answer <- peer.ErrFull
		return
	}
	s.handles++
	src := &source{
		link: e.link, handle: s.handles, asked: make(map[int]*request),
		has: e.theirs, lacks: s.Pieces() - int(e.theirs.Count()), window: firstWindow,
	}
	s.sources[e.link] = src
	s.respreadAll()
	s.picker.Join(src.handle, e.theirs)
	e.answer <- nil
	s.update(func(st *Status) { st.Peers = len(s.sources) })
	if !s.part(src) {
		s.askOf(src)
	}
}

func (e gained) apply(s *swarm) {
	src := s.sources[e.link]
	if src == nil {
		return
	}
	for _, p := range e.pieces {
		s.gain(src, int(p))
	}
	if !s.part(src) {
		s.askOf(src)
	}
}

func (e withdrawn) apply(s *swarm) {
	if src := s.sources[e.link]; src != nil {
		for _, p := range e.pieces {
			s.withdraw(src, int(p))
		}
	}
}

func (e spoiled) apply(s *swarm) {
	now := s.o.File.Have()
	lost := s.have.Difference(now)
	if !s.whole || lost.None() {
		return
	}
	s.have = now
	s.respreadAll()
	level := slog.LevelError
	if s.Progress().Err != nil {
		level = slog.LevelDebug // once is enough: the others are found one by one
	}
	facts := []any{"pieces", lost.Count(), "left", now.Count(), "error", e.err, "mend", "put the right file there and resume the torrent, or remove it"}
	if now.None() {
		s.o.Log.Log(s.fetching, level, "seeded file is gone or changed: its torrent is no longer offered", facts...)
	} else {
		s.o.Log.Log(s.fetching, level, "seeded file changed: what it has no longer is withdrawn", facts...)
	}
	pieces := make([]uint32, 0, lost.Count())
	for i := range lost.EachSet() {
		pieces = append(pieces, uint32(i))
	}
	for link := range s.sources {
		link.Withdraw(pieces...)
	}
	s.update(func(st *Status) { st.Err, st.Done = e.err, s.verified() })
	s.o.Spoiled(now.None())
}

func (e gone) apply(s *swarm) {
	src := s.sources[e.link]
	if src == nil {
		return
	}
	delete(s.sources, e.link)
	s.picker.Leave(src.handle)
	src.cancelAll()
	s.respreadAll()
	s.update(func(st *Status) { st.Peers = len(s.sources) })
	if !s.whole && !s.ending && !s.failed {
		s.o.Lonely()
		s.ask()
	}
}

func (e arrived) apply(s *swarm) {
	s.inflight--
	src := s.sources[e.link]
	var r request
	if src != nil {
		if asked := src.asked[e.piece]; asked != nil {
			r = *asked
			if e.err == nil {
				s.timed(time.Since(r.since))
			}
		}
		delete(src.asked, e.piece)
	}
	switch {
	case e.err == nil:
		s.gotPiece(e, src)
	case src != nil:
		s.missedPiece(e, src, r)
	}
	s.complete()
	switch {
	case s.picker.Endgame(), s.limited():
		s.ask() // peers that were not asked may give this, or double what is on its way
	case src != nil:
		s.askOf(src)
	}
}

func (e finished) apply(s *swarm) {
	s.ending = false
	if e.err != nil {
		s.fail(e.err)
		return
	}
	s.whole = true
	s.room.none = false // another piece of the same moment may not have been written
	s.update(func(st *Status) { st.Whole, st.Paused = true, nil })
	s.o.Log.Info("download complete",
		slog.Int64("bytes", s.fetched),
		slog.Float64("seconds", time.Since(s.began).Seconds()),
		slog.String("from", s.from()))
	s.o.Whole()
	for _, src := range s.sources {
		src.tellLater()
		s.part(src)
	}
}
