package registry

import (
	"cmp"
	"slices"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// Standing is how a torrent stands: who is listed for it.
type Standing struct {
	ID     torrentfmt.ID
	Info   Info
	Listed int
	Whole  int // of those
}

// Busiest lists up to n torrents whose name is known, those for which most are
// listed first. It looks at all of them, some thousand under one lock.
func (r *Registry) Busiest(n int) []Standing {
	type candidate struct {
		at     int // in core.torrents, which only grows
		listed int32
	}
	var top []candidate
	for at, more := 0, n > 0; more; at += silentStep {
		r.mu.RLock()
		end := min(at+silentStep, len(r.core.torrents))
		for i := at; i < end; i++ {
			t := &r.core.torrents[i]
			if t.info == nil || len(top) == n && t.present <= top[n-1].listed {
				continue
			}
			where, _ := slices.BinarySearchFunc(top, t.present, func(c candidate, listed int32) int {
				if c.listed >= listed { // of equals the first stays first
					return -1
				}
				return 1
			})
			top = slices.Insert(top, where, candidate{i, t.present})
			top = top[:min(len(top), n)]
		}
		more = end < len(r.core.torrents)
		r.mu.RUnlock()
	}
	out := make([]Standing, 0, len(top))
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, c := range top {
		if c.at >= len(r.core.torrents) || r.core.torrents[c.at].info == nil {
			continue
		}
		t := &r.core.torrents[c.at]
		s := Standing{ID: t.id, Info: t.info.told(), Listed: int(t.present)}
		for _, row := range t.rows[:t.present] {
			if row.whole() {
				s.Whole++
			}
		}
		out = append(out, s)
	}
	slices.SortStableFunc(out, func(a, b Standing) int { return cmp.Compare(b.Listed, a.Listed) })
	return out
}
