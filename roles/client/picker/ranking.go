package picker

import (
	"math/rand/v2"

	"github.com/bits-and-blooms/bitset"
)

// ranking keeps the free pieces sorted by rarity in one array that is cut into
// buckets, one per count. A piece whose count changes by one is swapped with
// the piece at its bucket's edge, and the edge moves over it: constant time, no
// allocation. Taking a piece out or in moves one piece per non-empty bucket
// above it, and there are at most as many buckets as peers.
type ranking struct {
	count []int16  // by piece: peers that have it, less inverted peers that lack it
	at    []uint32 // by piece: index in order, while it is free
	order []uint32 // the free pieces, lowest count first
	end   []int    // by bucket: where it ends in order
	bias  int      // bucket = count + bias: counts may be negative
}

// newRanking ranks the missing pieces, all at count zero, shuffled: from any
// place in a bucket on, the pieces come in random order.
func newRanking(pieces int, missing *bitset.BitSet, n int, rng *rand.Rand) *ranking {
	r := &ranking{
		count: make([]int16, pieces),
		at:    make([]uint32, pieces),
		order: make([]uint32, 0, n),
		end:   []int{n},
	}
	for i := range missing.EachSet() {
		r.order = append(r.order, uint32(i))
	}
	rng.Shuffle(n, func(i, j int) { r.order[i], r.order[j] = r.order[j], r.order[i] })
	for i, piece := range r.order {
		r.at[piece] = uint32(i)
	}
	return r
}

func (r *ranking) len() int { return len(r.order) }

// of is a piece's count; lower is rarer.
func (r *ranking) of(piece int) int { return int(r.count[piece]) }

func (r *ranking) start(bucket int) int {
	if bucket == 0 {
		return 0
	}
	return r.end[bucket-1]
}

// countAt is how many free pieces have this count.
func (r *ranking) countAt(count int) int {
	b := count + r.bias
	if b < 0 || b >= len(r.end) {
		return 0
	}
	return r.end[b] - r.start(b)
}

// bucket is a count's bucket, made when it is new.
func (r *ranking) bucket(count int) int {
	for count+r.bias < 0 {
		grow := max(8, r.bias)
		r.end = append(make([]int, grow, grow+len(r.end)+1), r.end...)
		r.bias += grow
	}
	b := count + r.bias
	for b >= len(r.end) {
		r.end = append(r.end, len(r.order))
	}
	return b
}

func (r *ranking) put(index int, piece uint32) {
	r.order[index] = piece
	r.at[piece] = uint32(index)
}

// adjust changes a piece's count by +1 or -1.
func (r *ranking) adjust(piece, by int, free bool) {
	from := int(r.count[piece])
	r.count[piece] = int16(from + by)
	if !free {
		return
	}
	r.bucket(from + by) // may shift the buckets: before from's is looked up
	b := r.bucket(from)
	edge := r.start(b)
	if by > 0 {
		edge = r.end[b] - 1
		r.end[b]--
	} else {
		r.end[b-1]++
	}
	i, other := int(r.at[piece]), r.order[edge]
	r.put(i, other)
	r.put(edge, uint32(piece))
}

// remove takes a piece out: the hole wanders up through the buckets.
func (r *ranking) remove(piece int) {
	hole := int(r.at[piece])
	for b := r.bucket(int(r.count[piece])); b < len(r.end); b++ {
		r.end[b]--
		if last := r.end[b]; last != hole {
			r.put(hole, r.order[last])
			hole = last
		}
	}
	r.order = r.order[:len(r.order)-1]
}

// insert puts a piece in: a hole wanders down from the end to its bucket.
func (r *ranking) insert(piece int) {
	to := r.bucket(int(r.count[piece]))
	hole := len(r.order)
	r.order = append(r.order, uint32(piece))
	for b := len(r.end) - 1; b > to; b-- {
		if first := r.start(b); first != hole {
			r.put(hole, r.order[first])
			hole = first
		}
		r.end[b]++
	}
	r.end[to]++
	r.put(hole, uint32(piece))
}

// first is a random one of the rarest pieces; there is at least one piece.
func (r *ranking) first(rng *rand.Rand) int {
	for b, start := 0, 0; ; b++ {
		if n := r.end[b] - start; n > 0 {
			return int(r.order[start+rng.IntN(n)])
		}
	}
}

// find looks for a piece that ok accepts, rarest first, from a random place in
// each bucket on, and gives up after limit pieces.
func (r *ranking) find(rng *rand.Rand, limit int, ok func(int) bool) (int, bool) {
	start := 0
	for _, end := range r.end {
		n := end - start
		if n > 0 {
			k := rng.IntN(n)
			for range n {
				if limit--; limit < 0 {
					return 0, false
				}
				if piece := int(r.order[start+k]); ok(piece) {
					return piece, true
				}
				if k++; k == n {
					k = 0
				}
			}
		}
		start = end
	}
	return 0, false
}
