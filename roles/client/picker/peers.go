package picker

import (
	"math/bits"
	"slices"

	"github.com/bits-and-blooms/bitset"
)

func trailingZeros(w uint64) int { return bits.TrailingZeros64(w) }

// Join adds a peer that has the pieces in has (nil: none); has is not kept. A
// peer that is joined already leaves first: its requests are forgotten. The
// cost follows the number of missing pieces that peer has, or lacks, whichever
// is less: a seeder's Join touches no piece.
func (p *Picker) Join(peer Peer, has *bitset.BitSet) {
	p.Leave(peer)
	if len(p.peers) >= MaxPeers {
		return
	}
	s := &peerState{id: peer, slot: len(p.peers)}
	p.byPeer[peer] = s
	p.peers = append(p.peers, s)
	if p.missing == nil {
		return
	}
	if has == nil {
		has = &bitset.BitSet{}
	}
	s.wanted = int(p.missing.IntersectionCardinality(has))
	s.free = int(p.free.IntersectionCardinality(has))
	if s.inverted = s.wanted > p.nmissing/2; s.inverted {
		p.inverted++
	}
	if s.wanted < p.nmissing {
		s.has = bitset.New(uint(p.pieces))
		has.Copy(s.has)
		p.share(s, +1)
	}
}

// Leave removes a peer and forgets its requests: their pieces are free again
// unless another peer was asked too. An unknown peer is ignored.
func (p *Picker) Leave(peer Peer) {
	s := p.byPeer[peer]
	if s == nil {
		return
	}
	var asked []int
	for piece, r := range p.requested {
		if r.asked(peer) {
			asked = append(asked, piece)
		}
	}
	slices.Sort(asked) // a map's order would make two runs differ
	for _, piece := range asked {
		p.Failed(peer, piece)
	}
	last := p.peers[len(p.peers)-1]
	p.peers[s.slot], last.slot = last, s.slot
	p.peers[len(p.peers)-1] = nil
	p.peers = p.peers[:len(p.peers)-1]
	delete(p.byPeer, peer)
	if p.missing == nil {
		return
	}
	p.share(s, -1)
	if s.inverted {
		p.inverted--
	}
}

// share adds a peer's part to the rarity of every missing piece (sign +1), or
// takes it back (-1).
func (p *Picker) share(s *peerState, sign int) {
	if s.has == nil {
		return
	}
	has, missing := s.has.Words(), p.missing.Words()
	flip := uint64(0)
	if s.inverted {
		flip, sign = ^uint64(0), -sign
	}
	for w := range missing {
		for m := missing[w] & (has[w] ^ flip); m != 0; m &= m - 1 {
			p.adjust(w*64+trailingZeros(m), sign)
		}
	}
}

// adjust changes the rarity count of a missing piece by one.
func (p *Picker) adjust(piece, by int) {
	p.rank.adjust(piece, by, p.free.Test(uint(piece)))
}

// Have records that peer has one piece more. Unknown peers, pieces out of range
// and repetitions are ignored.
func (p *Picker) Have(peer Peer, piece int) { p.set(peer, piece, true) }

// Withdraw records that peer no longer has a piece. A request for it stands
// until Failed ends it.
func (p *Picker) Withdraw(peer Peer, piece int) { p.set(peer, piece, false) }

func (p *Picker) set(peer Peer, piece int, has bool) {
	s := p.byPeer[peer]
	if s == nil || p.missing == nil || piece < 0 || piece >= p.pieces || s.hasPiece(piece) == has {
		return
	}
	if s.has == nil {
		s.has = bitset.New(uint(p.pieces))
		s.has.FlipRange(0, uint(p.pieces))
	}
	s.has.SetTo(uint(piece), has)
	if !p.missing.Test(uint(piece)) {
		return
	}
	by := -1
	if has {
		by = +1
	}
	s.wanted += by
	if p.free.Test(uint(piece)) {
		s.free += by
	}
	p.adjust(piece, by)
}
