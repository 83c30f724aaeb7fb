package wire

import (
	"fmt"
	"math/bits"

	"github.com/bits-and-blooms/bitset"
)

// BitfieldLimit bounds the Bitfield message of a torrent of n pieces, in bytes.
func BitfieldLimit(n int) int64 { return int64(n)/8 + 32 }

// PackBitfield encodes which of n pieces are had. A full set is sent as
// "whole", which costs two bytes whatever n.
func PackBitfield(have *bitset.BitSet, n int) *Bitfield {
	if have.Count() == uint(n) {
		return &Bitfield{Whole: true}
	}
	b := make([]byte, (n+7)/8)
	for i, ok := have.NextSet(0); ok && i < uint(n); i, ok = have.NextSet(i + 1) {
		b[i/8] |= 0x80 >> (i % 8)
	}
	return &Bitfield{Bits: b}
}

// Unpack decodes a bitfield of n pieces. It fails when the length is not that
// of n pieces, when a spare bit is set (BEP 3 asks to drop such a peer), or
// when a whole peer sends bits as well.
func (x *Bitfield) Unpack(n int) (*bitset.BitSet, error) {
	raw := x.GetBits()
	set := bitset.New(uint(n))
	if x.GetWhole() {
		if len(raw) != 0 {
			return nil, fmt.Errorf("bitfield: whole, and %d bytes of bits", len(raw))
		}
		return set.FlipRange(0, uint(n)), nil
	}
	if want := (n + 7) / 8; len(raw) != want {
		return nil, fmt.Errorf("bitfield of %d bytes: want %d for %d pieces", len(raw), want, n)
	}
	if n%8 != 0 && raw[len(raw)-1]<<(n%8) != 0 {
		return nil, fmt.Errorf("bitfield with spare bits set after piece %d", n-1)
	}
	words := set.Words()
	for i, b := range raw {
		words[i/8] |= uint64(bits.Reverse8(b)) << (i % 8 * 8)
	}
	return set, nil
}
