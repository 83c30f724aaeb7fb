// Package picker decides which piece is asked of which peer: rarest first,
// random among equals, the last pieces from two peers at once. It is pure
// bookkeeping: no I/O, no clock, no goroutine, and no randomness but the
// source that it is given, so that a test can replay every choice.
//
// # What must be re-checked when it changes
//
// The picker answers only when it is asked. After these events the caller has
// to call [Picker.Pick] again for peers with room for a request:
//
//   - a peer joined, or announced a piece: that peer
//   - a request ended, well or badly: the peer that it was sent to
//   - a request failed or its peer left: every idle peer, the piece is free again
//   - [Picker.Endgame] turned true, as Pick took the last free piece that anyone
//     has, or its last owner left: every idle peer
//   - a piece was taken from the missing ones: [Picker.Wants] of every peer may
//     have turned false, and other peers may still be sending it (cancel them)
//
// Inside, four facts must stay in step; who changes one looks after the rest:
//
//   - availability of a piece <-> its bucket, when the piece is free
//   - missing, free, requested: a missing piece is either free or requested
//   - free and wanted of each peer, counted over the pieces that it has
//   - form of a peer (listed or inverted) <-> the sign of its share in rarity
package picker

import (
	"math"
	"math/rand/v2"

	"github.com/bits-and-blooms/bitset"
)

// Peer is the caller's handle for one peer.
type Peer uint64

const (
	// MaxPeers is how many peers can be joined at once; rarity is counted in 16
	// bits a piece. More are ignored: they have nothing to pick.
	MaxPeers = math.MaxInt16 - 1
	// maxAsked is from how many peers one piece is requested at once: two, so
	// that the end of a download waits for no single peer and wastes at most as
	// much as is in flight.
	maxAsked = 2
	// bucketLook and peerLook bound one Pick in a large torrent: so many free
	// pieces are tried in order of rarity, then the rarest is taken of so many
	// that this peer has. Up to that many pieces, about 2 GiB, rarest first is
	// exact; beyond, it is a large sample.
	bucketLook = 512
	peerLook   = 4096
)

// Picker keeps one download's pieces: which are missing, how rare they are
// among the joined peers, and who was asked for them. It is not safe for
// concurrent use: the torrent's goroutine owns it.
//
// It needs about 10 bytes a missing piece and a bit a piece for each partial
// peer, and frees all of it with the last piece.
type Picker struct {
	pieces    int
	missing   *bitset.BitSet // nil when nothing is missing
	nmissing  int
	free      *bitset.BitSet // missing and requested from nobody
	rank      *ranking       // the free pieces by rarity
	requested map[int]*request
	single    int // how many of them from one peer
	seq       uint64
	byPeer    map[Peer]*peerState
	peers     []*peerState // the same, in an order that does not vary from run to run
	inverted  int          // how many of them are in inverted form
	rng       *rand.Rand
}

// peerState is one peer. A peer with most of the pieces is kept inverted: it
// counts as having everything, and takes one off the rarity count of each piece
// that it lacks, so that a seeder joins, leaves and withdraws at no cost.
type peerState struct {
	id       Peer
	slot     int            // index in Picker.peers
	has      *bitset.BitSet // nil: everything
	inverted bool
	wanted   int // missing pieces that it has
	free     int // of these, requested from nobody
}

func (s *peerState) hasPiece(i int) bool { return s.has == nil || s.has.Test(uint(i)) }

// request is one piece that is being fetched.
type request struct {
	from [maxAsked]Peer
	n    int
	seq  uint64 // the first request's place in time
}

func (r *request) asked(peer Peer) bool {
	for _, p := range r.from[:r.n] {
		if p == peer {
			return true
		}
	}
	return false
}

// New makes the picker of a download of pieces pieces, of which have are here
// already (nil: none). have is not kept. With nothing missing it costs nothing.
func New(pieces int, have *bitset.BitSet, rng *rand.Rand) *Picker {
	p := &Picker{pieces: pieces, byPeer: map[Peer]*peerState{}, requested: map[int]*request{}, rng: rng}
	missing := bitset.New(uint(pieces))
	missing.FlipRange(0, uint(pieces))
	if have != nil {
		missing.InPlaceDifference(have)
	}
	p.nmissing = int(missing.Count())
	if p.nmissing == 0 {
		return p
	}
	p.missing, p.free = missing, missing.Clone()
	p.rank = newRanking(pieces, missing, p.nmissing, rng)
	return p
}

// Missing is how many pieces are not Done.
func (p *Picker) Missing() int { return p.nmissing }

// Wants reports whether peer has a piece that is missing here, requested or not.
func (p *Picker) Wants(peer Peer) bool {
	s := p.byPeer[peer]
	return s != nil && s.wanted > 0
}

// Pick chooses a piece to request from peer and marks it requested. First come
// the pieces that nobody was asked for, the rarest of those that peer has, at
// random among equals. Once no joined peer has such a piece any more, endgame:
// the piece that was requested longest ago, from exactly one other peer. A piece
// is never requested from more than two peers at once, nor twice from one.
//
// Endgame waits for the free pieces of all peers, not only of this one: a peer
// that has few pieces yet would otherwise be asked for what is on its way.
func (p *Picker) Pick(peer Peer) (piece int, ok bool) {
	s := p.byPeer[peer]
	if s == nil || s.wanted == 0 {
		return 0, false
	}
	if s.free > 0 {
		piece = p.rarest(s)
		p.take(piece)
		p.seq++
		p.requested[piece] = &request{from: [maxAsked]Peer{peer}, n: 1, seq: p.seq}
		p.single++
		return piece, true
	}
	if p.freeSomewhere() {
		return 0, false
	}
	return p.endgame(s)
}

// Endgame reports whether pieces are missing and none that a joined peer has is
// free: when it turns true, idle peers have something to pick again.
func (p *Picker) Endgame() bool { return p.nmissing > 0 && !p.freeSomewhere() }

// freeSomewhere reports whether a joined peer has a free piece.
func (p *Picker) freeSomewhere() bool {
	return p.rank.len() > p.rank.countAt(-p.inverted)
}

func (p *Picker) endgame(s *peerState) (int, bool) {
	if p.single == 0 {
		return 0, false // the usual answer: it must cost nothing
	}
	var oldest *request
	piece := 0
	for i, r := range p.requested {
		if r.n == 1 && (oldest == nil || r.seq < oldest.seq) && !r.asked(s.id) && s.hasPiece(i) {
			oldest, piece = r, i
		}
	}
	if oldest == nil {
		return 0, false
	}
	oldest.from[oldest.n] = s.id
	oldest.n++
	p.single--
	return piece, true
}

// rarest finds a free piece that s has; there is one.
func (p *Picker) rarest(s *peerState) int {
	if s.has == nil {
		return p.rank.first(p.rng)
	}
	// Trying pieces in order of rarity finds one of this peer's after about
	// len/free tries; when that is long, walking the peer's own is shorter.
	if p.rank.len()/s.free < bucketLook {
		if piece, ok := p.rank.find(p.rng, bucketLook, s.hasPiece); ok {
			return piece
		}
	}
	return p.rarestOf(s)
}

// rarestOf takes the rarest of the free pieces of s, looking at no more than
// peerLook of them from a random place on.
func (p *Picker) rarestOf(s *peerState) int {
	has, free := s.has.Words(), p.free.Words()
	words := min(len(has), len(free))
	best, bestRank, ties, looked := -1, 0, 0, 0
	start := p.rng.IntN(words)
	for k := 0; k < words && looked < peerLook; k++ {
		w := start + k
		if w >= words {
			w -= words
		}
		for both := has[w] & free[w]; both != 0; both &= both - 1 {
			piece := w*64 + trailingZeros(both)
			looked++
			switch r := p.rank.of(piece); {
			case best < 0 || r < bestRank:
				best, bestRank, ties = piece, r, 1
			case r == bestRank:
				ties++
				if p.rng.IntN(ties) == 0 {
					best = piece
				}
			}
		}
	}
	return best
}

// Failed ends a request without a good piece: the piece may be picked again,
// by the same peer too. It does nothing when the piece was not requested from
// peer, or is Done.
func (p *Picker) Failed(peer Peer, piece int) {
	r := p.requested[piece]
	if r == nil || !r.asked(peer) {
		return
	}
	if r.from[0] == peer {
		r.from[0] = r.from[1]
	}
	r.n--
	if r.n > 0 {
		p.single++
		return
	}
	p.single--
	delete(p.requested, piece)
	p.release(piece)
}

// Done takes a piece from the missing ones: verified and stored. It returns
// everyone from whom the piece is still requested, so that the caller can
// cancel; the peer that delivered is among them unless Failed ended its
// request. For a piece that is not missing it does nothing.
func (p *Picker) Done(piece int) (others []Peer) {
	if piece < 0 || piece >= p.pieces || p.missing == nil || !p.missing.Test(uint(piece)) {
		return nil
	}
	if r := p.requested[piece]; r != nil {
		others = append(others, r.from[:r.n]...)
		if r.n == 1 {
			p.single--
		}
		delete(p.requested, piece)
	} else {
		p.take(piece)
	}
	p.missing.Clear(uint(piece))
	p.nmissing--
	for _, s := range p.peers {
		if s.hasPiece(piece) {
			s.wanted--
		}
	}
	if p.nmissing == 0 {
		p.missing, p.free, p.rank = nil, nil, nil
		for _, s := range p.peers {
			s.has = nil
		}
	}
	return others
}

// take makes a free piece not free.
func (p *Picker) take(piece int) {
	p.rank.remove(piece)
	p.free.Clear(uint(piece))
	for _, s := range p.peers {
		if s.hasPiece(piece) {
			s.free--
		}
	}
}

// release makes a missing piece free.
func (p *Picker) release(piece int) {
	p.rank.insert(piece)
	p.free.Set(uint(piece))
	for _, s := range p.peers {
		if s.hasPiece(piece) {
			s.free++
		}
	}
}
