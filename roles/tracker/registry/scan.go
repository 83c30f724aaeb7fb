package registry

import "fmt"

// source is where stored entries are read from in order.
type source interface {
	// after visits the entries of one origin with from < seq <= upto, in
	// order, until visit returns false. It may end early after some bounded
	// number of entries; then more is true and next the place to go on from.
	after(origin uint32, from, upto uint64, visit func(Entry) bool) (next uint64, more bool, err error)
}

// scan walks, in bounded steps, all stored entries that a vector does not
// cover. Between the steps others may write: while a scan is open nothing is
// swept, so each entry that was needed when it began is still there.
//
// Entries above this tracker's own vector are walked, too. They came with a
// transfer that was not finished, and one of them may be why an entry that the
// vector covers is no longer stored.
type scan struct {
	from, upper []uint64 // by origin number
	upto        Vector   // this tracker's vector when the scan began
	at          uint32   // the origin being walked
	full        bool     // everything is walked
	dropped     Vector   // of a full walk: what was dropped before it
}

// newScan begins a walk for one with vector from. If that one may hold what was
// beaten by something that is dropped here, it gets everything, so that it can
// tell what is not there.
func (c *core) newScan(from Vector) *scan {
	full := c.lacksDropped(from)
	if full {
		from = nil
	}
	s := &scan{full: full, upto: c.vector(), from: make([]uint64, len(c.origins)), upper: make([]uint64, len(c.origins))}
	for n, o := range c.origins {
		s.from[n] = from[o]
		s.upper[n] = max(c.have[n], c.stored[n])
	}
	if full {
		s.dropped = c.droppedVector()
	}
	return s
}

// step reads the next at most limit entries; at the end there are none.
func (s *scan) step(src source, origins []Origin, limit int) ([]Entry, error) {
	var out []Entry
	for int(s.at) < len(s.from) && len(out) < limit {
		n := s.at
		if s.from[n] >= s.upper[n] {
			s.at++
			continue
		}
		next, more, err := src.after(n, s.from[n], s.upper[n], func(e Entry) bool {
			e.Dot.Origin = origins[n]
			out = append(out, e)
			return len(out) < limit
		})
		if err != nil {
			return nil, fmt.Errorf("read the entries of %v: %w", origins[n], err)
		}
		s.from[n] = next
		if !more {
			s.at++
		}
	}
	return out, nil
}
