package picker

import (
	"fmt"
	"testing"

	"github.com/bits-and-blooms/bitset"
)

// benchPicker joins peers of which every fifth is a seeder and the others have
// a random tenth to nine tenths of the pieces.
func benchPicker(pieces, peers int) *Picker {
	rng := newRand()
	p := New(pieces, nil, rng)
	for peer := range peers {
		if peer%5 == 0 {
			p.Join(Peer(peer), full(pieces))
			continue
		}
		has, share := bitset.New(uint(pieces)), 1+rng.IntN(9)
		for i := range pieces {
			if rng.IntN(10) < share {
				has.Set(uint(i))
			}
		}
		p.Join(Peer(peer), has)
	}
	return p
}

// BenchmarkPickDone measures one piece's way through a whole download, in turn
// from each of 50 peers.
func BenchmarkPickDone(b *testing.B) {
	for _, pieces := range []int{100_000, 4_194_304} {
		b.Run(fmt.Sprintf("pieces=%d/peers=50", pieces), func(b *testing.B) {
			p, peer := benchPicker(pieces, 50), 0
			for b.Loop() {
				piece, ok := p.Pick(Peer(peer % 50))
				if ok {
					p.Done(piece)
				}
				if peer++; p.Missing() == 0 {
					b.StopTimer()
					p = benchPicker(pieces, 50)
					b.StartTimer()
				}
			}
		})
	}
}

// BenchmarkPickUnhelpful is the dear case: a peer that has none of the rarest
// pieces, so that rarity alone finds nothing of its own.
func BenchmarkPickUnhelpful(b *testing.B) {
	const pieces = 4_194_304
	p := New(pieces, nil, newRand())
	p.Join(1, bitset.New(pieces).FlipRange(0, pieces*3/4))
	p.Join(2, bitset.New(pieces).FlipRange(pieces/2, pieces))
	p.Join(3, bitset.New(pieces).FlipRange(pieces/2, pieces*3/4))
	for b.Loop() {
		piece, ok := p.Pick(3)
		if !ok {
			b.Fatal("nothing to pick")
		}
		p.Failed(3, piece)
	}
}

// BenchmarkJoinLeave compares a seeder, who touches no piece, with a peer that
// has half of them.
func BenchmarkJoinLeave(b *testing.B) {
	const pieces = 4_194_304
	half := bitset.New(pieces)
	for i := uint(0); i < pieces; i += 2 {
		half.Set(i)
	}
	for name, has := range map[string]*bitset.BitSet{"seeder": full(pieces), "half": half} {
		b.Run(name, func(b *testing.B) {
			p := benchPicker(pieces, 3)
			for b.Loop() {
				p.Join(100, has)
				p.Leave(100)
			}
		})
	}
}
