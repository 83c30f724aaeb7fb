// Package replica carries entries from one tracker's registry to another's
// over a Pull stream: [Pull] on the side that opened it, [Give] on the other.
// The messages are those of roles/wire/replication.proto.
package replica

import (
	"bytes"
	"fmt"

	"google.golang.org/protobuf/proto"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
)

func bad(format string, args ...any) error {
	return wire.Errorf(wire.Error_ERROR_BAD_REQUEST, format, args...)
}

// encode makes a message of entries.
func encode(entries []registry.Entry) *wire.Given {
	g := &wire.Given{Entries: make([]*wire.Entry, len(entries))}
	numbers := map[registry.Origin]uint32{}
	made := make([]wire.Entry, len(entries))
	for i := range entries {
		e, w := &entries[i], &made[i]
		g.Entries[i] = w
		keepExtra(w, e)
		n, ok := numbers[e.Dot.Origin]
		if !ok {
			n = uint32(len(numbers))
			numbers[e.Dot.Origin] = n
			g.Origins = append(g.Origins, e.Dot.Origin[:])
		}
		w.Origin, w.Seq, w.Stamp = n, e.Dot.Seq, uint64(e.Stamp)
		w.Kind = wire.EntryKind(e.Kind)
		switch e.Kind {
		case registry.KindRow:
			w.TorrentId, w.Addr, w.Whole, w.Gone = e.Torrent[:], e.Addr[:], e.Whole, e.Gone
		case registry.KindHome:
			w.Addr, w.NodeId = e.Addr[:], e.Node[:]
			if e.Owner != (registry.NodeID{}) {
				w.Owner = e.Owner[:]
			}
		case registry.KindFloor:
			w.Addr = e.Addr[:]
		case registry.KindTorrent:
			w.TorrentId, w.Filename, w.Filesize = e.Torrent[:], e.Name, uint64(e.Size)
			w.HashLength = uint64(hashLength(e))
		}
	}
	return g
}

// hashLength is how many bytes follow the message for a torrent: its hash
// string and, for a folder, the list of its files.
func hashLength(e *registry.Entry) int {
	return torrentfmt.NumPieces(e.Size)*torrentfmt.HashSize + e.List
}

// decode is encode's inverse. What it returns has been checked.
func decode(g *wire.Given) ([]registry.Entry, error) {
	origins := make([]registry.Origin, len(g.GetOrigins()))
	for i, b := range g.GetOrigins() {
		if len(b) != registry.OriginSize {
			return nil, bad("origin of %d bytes", len(b))
		}
		origins[i] = registry.Origin(b)
	}
	out := make([]registry.Entry, len(g.GetEntries()))
	for i, w := range g.GetEntries() {
		e := &out[i]
		if int(w.GetOrigin()) >= len(origins) {
			return nil, bad("entry of origin %d of %d", w.GetOrigin(), len(origins))
		}
		e.Dot = registry.Dot{Origin: origins[w.GetOrigin()], Seq: w.GetSeq()}
		e.Stamp = registry.Stamp(w.GetStamp())
		if w.GetKind() < 0 || w.GetKind() > 255 {
			return nil, bad("entry of kind %d", w.GetKind())
		}
		e.Kind = registry.Kind(w.GetKind())
		if err := decodeBody(e, w); err != nil {
			return nil, err
		}
		if err := takeExtra(e, w); err != nil {
			return nil, err
		}
		if err := e.Check(); err != nil {
			return nil, bad("%v", err)
		}
		if e.Kind == registry.KindTorrent {
			if err := torrentfmt.CheckName(e.Name); err != nil {
				return nil, bad("%v", err)
			}
			list := int64(w.GetHashLength()) - int64(hashLength(e))
			if list < 0 || list > torrentfmt.MaxListLen {
				return nil, bad("hash string of %d bytes for a file of %d", w.GetHashLength(), e.Size)
			}
			e.List = int(list)
		}
	}
	return out, nil
}

func known(k registry.Kind) bool {
	switch k {
	case registry.KindRow, registry.KindHome, registry.KindFloor, registry.KindTorrent:
		return true
	}
	return false
}

// takeExtra keeps the fields that a newer tracker sent: those unknown, or of an
// unknown kind all but its dot, stamp and kind.
func takeExtra(e *registry.Entry, w *wire.Entry) error {
	if known(e.Kind) {
		if u := w.ProtoReflect().GetUnknown(); len(u) > 0 {
			e.Extra = bytes.Clone(u)
		}
		return nil
	}
	if w == nil {
		return bad("an entry that is nothing")
	}
	rest := proto.Clone(w).(*wire.Entry)
	rest.Origin, rest.Seq, rest.Stamp, rest.Kind = 0, 0, 0, 0
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(rest)
	if err != nil {
		return bad("%v", err)
	}
	if len(b) > 0 {
		e.Extra = b
	}
	return nil
}

// keepExtra is takeExtra's inverse. What does not decode was not taken by it.
func keepExtra(w *wire.Entry, e *registry.Entry) {
	if known(e.Kind) {
		if len(e.Extra) > 0 {
			w.ProtoReflect().SetUnknown(e.Extra)
		}
		return
	}
	if proto.Unmarshal(e.Extra, w) != nil {
		proto.Reset(w)
	}
}

func decodeBody(e *registry.Entry, w *wire.Entry) error {
	if !known(e.Kind) {
		return nil
	}
	if e.Kind == registry.KindRow || e.Kind == registry.KindTorrent {
		id, err := torrentfmt.IDFromBytes(w.GetTorrentId())
		if err != nil {
			return bad("%v", err)
		}
		e.Torrent = id
	}
	if e.Kind != registry.KindTorrent {
		if len(w.GetAddr()) != len(e.Addr) {
			return bad("address of %d bytes", len(w.GetAddr()))
		}
		e.Addr = registry.Addr(w.GetAddr())
	}
	switch e.Kind {
	case registry.KindRow:
		e.Whole, e.Gone = w.GetWhole(), w.GetGone()
	case registry.KindHome:
		if len(w.GetNodeId()) != len(e.Node) {
			return bad("node ID of %d bytes", len(w.GetNodeId()))
		}
		e.Node = registry.NodeID(w.GetNodeId())
		switch len(w.GetOwner()) {
		case 0:
		case len(e.Owner):
			e.Owner = registry.NodeID(w.GetOwner())
		default:
			return bad("owner of %d bytes", len(w.GetOwner()))
		}
	case registry.KindTorrent:
		e.Name, e.Size = w.GetFilename(), int64(w.GetFilesize())
	}
	return nil
}

func encodeVector(v registry.Vector) []*wire.VectorEntry {
	out := make([]*wire.VectorEntry, 0, len(v))
	for o, n := range v {
		out = append(out, &wire.VectorEntry{Origin: o[:], Seq: n})
	}
	return out
}

func decodeVector(list []*wire.VectorEntry) (registry.Vector, error) {
	v := make(registry.Vector, len(list))
	for _, w := range list {
		if len(w.GetOrigin()) != registry.OriginSize {
			return nil, bad("origin of %d bytes", len(w.GetOrigin()))
		}
		v[registry.Origin(w.GetOrigin())] = w.GetSeq()
	}
	return v, nil
}

func encodeSpans(spans []registry.Span) []*wire.Span {
	out := make([]*wire.Span, len(spans))
	for i := range spans {
		s := &spans[i]
		out[i] = &wire.Span{Origin: s.Origin[:], From: s.From, To: s.To}
	}
	return out
}

func decodeSpans(list []*wire.Span) ([]registry.Span, error) {
	out := make([]registry.Span, len(list))
	for i, w := range list {
		if len(w.GetOrigin()) != registry.OriginSize {
			return nil, bad("origin of %d bytes", len(w.GetOrigin()))
		}
		if w.GetFrom() >= w.GetTo() {
			return nil, fmt.Errorf("%w", bad("span from %d to %d", w.GetFrom(), w.GetTo()))
		}
		out[i] = registry.Span{Origin: registry.Origin(w.GetOrigin()), From: w.GetFrom(), To: w.GetTo()}
	}
	return out, nil
}

func encodeSummary(s registry.Summary) *wire.Check {
	return &wire.Check{Vector: s.Vector[:], Buckets: s.Buckets[:]}
}

func decodeSummary(c *wire.Check) (s registry.Summary, err error) {
	if len(c.GetVector()) != len(s.Vector) || len(c.GetBuckets()) != len(s.Buckets) {
		return s, bad("check of %d buckets, digest of %d bytes", len(c.GetBuckets()), len(c.GetVector()))
	}
	copy(s.Vector[:], c.GetVector())
	copy(s.Buckets[:], c.GetBuckets())
	return s, nil
}
