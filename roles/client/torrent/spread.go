package torrent

import (
	"github.com/bits-and-blooms/bitset"

	"github.com/mtor-dev/mtor/roles/client/peer"
)

// spread is what a seeder knows of where its pieces have got to among its
// peers. While there are pieces that it has given to nobody, it keeps the others
// back from whom they are asked of twice: so its line carries each piece about
// once, and the peers pass the pieces on. A piece that was kept back may be had
// again when nothing else is left to give, or when those who had it have gone:
// whoever it was kept back from is told then, so that nobody need ask again.
type spread struct {
	held *bitset.BitSet // pieces that a peer has or is being sent, or that are lost here
	new  int            // how many are not
}

func newSpread(pieces int) *spread {
	return &spread{held: bitset.New(uint(pieces)), new: pieces}
}

// add reports whether that was the last piece that nobody had.
func (sp *spread) add(piece int) bool {
	if sp.held.Test(uint(piece)) {
		return false
	}
	sp.held.Set(uint(piece))
	sp.new--
	return sp.new == 0
}

// claimed asks for leave to send a piece, and with take takes it.
type claimed struct {
	link   *peer.Link
	piece  int
	take   bool
	answer chan bool
}

// unsent ends a claim whose piece was not sent whole.
type unsent struct {
	link  *peer.Link
	piece int
}

func (e claimed) apply(s *swarm) {
	src := s.sources[e.link]
	if src == nil || !s.whole {
		e.answer <- true
		return
	}
	sp := s.spreading()
	if sp.new > 0 && sp.held.Test(uint(e.piece)) && !src.sending.Test(uint(e.piece)) {
		src.kept.Set(uint(e.piece))
		e.answer <- false
		return
	}
	if e.take {
		src.sending.Set(uint(e.piece))
		if sp.add(e.piece) {
			s.offerAll()
		}
	}
	e.answer <- true
}

func (e unsent) apply(s *swarm) {
	src := s.sources[e.link]
	if src == nil || s.spread == nil {
		return
	}
	src.sending.Clear(uint(e.piece))
	s.respread(e.piece)
}

// spreading is the seeder's view, made when it is first asked for a piece.
func (s *swarm) spreading() *spread {
	if s.spread == nil {
		s.spread = newSpread(s.Pieces())
		s.respreadAll()
	}
	return s.spread
}

// heard notes that a peer has a piece.
func (s *swarm) heard(src *source, piece int) {
	src.sending.Clear(uint(piece))
	if s.spread != nil && s.spread.add(piece) {
		s.offerAll()
	}
}

// respread finds out whether a piece that a peer has lost is still to be had
// from another.
func (s *swarm) respread(piece int) {
	if s.spread == nil || !s.spread.held.Test(uint(piece)) || !s.have.Test(uint(piece)) {
		return
	}
	for _, src := range s.sources {
		if src.has.Test(uint(piece)) || src.sending.Test(uint(piece)) {
			return
		}
	}
	s.spread.held.Clear(uint(piece))
	s.spread.new++
	for _, src := range s.sources {
		if src.kept.Test(uint(piece)) {
			src.kept.Clear(uint(piece))
			src.link.Have(uint32(piece))
		}
	}
}

// respreadAll does so for all pieces.
func (s *swarm) respreadAll() {
	if s.spread == nil {
		return
	}
	held := s.spread.held.ClearAll()
	held.InPlaceUnion(s.have.Complement()) // what is lost here is nothing left to give
	for _, src := range s.sources {
		held.InPlaceUnion(src.has)
		held.InPlaceUnion(&src.sending)
	}
	s.spread.new = s.Pieces() - int(held.Count())
	s.offerAll()
}

// offerAll tells peers of what was kept back from them and may be had now: all
// of it once every piece has got to somebody.
func (s *swarm) offerAll() {
	for _, src := range s.sources {
		var now []uint32
		for piece := range src.kept.EachSet() {
			if s.spread.new == 0 || !s.spread.held.Test(piece) {
				src.kept.Clear(piece)
				if s.have.Test(piece) && !src.has.Test(piece) {
					now = append(now, uint32(piece))
				}
			}
		}
		if len(now) > 0 {
			src.link.Have(now...)
		}
	}
}

// Claim reports whether a piece may be sent to a peer now; with take it is
// about to be, and Unsent tells when it has not.
func (t *Torrent) Claim(l *peer.Link, piece int, take bool) bool {
	answer := make(chan bool, 1)
	if t.post(claimed{l, piece, take, answer}) != nil {
		return false
	}
	select {
	case ok := <-answer:
		return ok
	case <-t.ended:
		return false
	}
}

// Unsent ends a claim of Claim's whose piece did not go out whole.
func (t *Torrent) Unsent(l *peer.Link, piece int) { _ = t.post(unsent{l, piece}) }
