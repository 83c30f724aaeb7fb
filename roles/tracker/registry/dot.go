package registry

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"maps"
)

const (
	nodeIDSize      = 20
	incarnationSize = 8
	// OriginSize is the length of an [Origin] in bytes.
	OriginSize = nodeIDSize + incarnationSize
)

// NodeID names a tracker; it is random and kept in the seederlist file.
type NodeID [nodeIDSize]byte

// String is the ID in lower-case hex.
func (n NodeID) String() string { return hex.EncodeToString(n[:]) }

// Origin names one run of one tracker: its node ID, then a random incarnation
// that is new at every start. A tracker that lost its newest entries, or runs
// on a restored backup, therefore never uses a dot twice.
type Origin [OriginSize]byte

// Node is the tracker that the origin is a run of.
func (o Origin) Node() NodeID { return NodeID(o[:nodeIDSize]) }

// String is the start of the node ID and of the incarnation, for logs.
func (o Origin) String() string {
	return fmt.Sprintf("%x-%x", o[:4], o[nodeIDSize:nodeIDSize+4])
}

func (o Origin) compare(p Origin) int { return bytes.Compare(o[:], p[:]) }

// Dot names one entry: the Seq-th that Origin wrote, from 1.
type Dot struct {
	Origin Origin
	Seq    uint64
}

// Vector says, for each origin, up to which sequence number every entry is
// accounted for: held, or superseded by one that is held.
type Vector map[Origin]uint64

// Covers reports whether the entry at d is accounted for.
func (v Vector) Covers(d Dot) bool { return d.Seq <= v[d.Origin] }

// CoversAll reports whether v accounts for all that w does.
func (v Vector) CoversAll(w Vector) bool {
	for o, n := range w {
		if v[o] < n {
			return false
		}
	}
	return true
}

// Clone is a copy that shares nothing with v.
func (v Vector) Clone() Vector { return maps.Clone(v) }

// Span claims the entries of an origin with From < Seq <= To. It extends a
// vector that covers From.
type Span struct {
	Origin   Origin
	From, To uint64
}

// SpansTo lists what takes a tracker from vector v to vector w, where w is
// ahead.
func (v Vector) SpansTo(w Vector) []Span {
	var out []Span
	for o, n := range w {
		if v[o] < n {
			out = append(out, Span{Origin: o, From: v[o], To: n})
		}
	}
	return out
}
