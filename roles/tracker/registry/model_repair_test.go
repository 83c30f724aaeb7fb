package registry

import (
	"crypto/sha1"
	"slices"

	"pgregory.net/rapid"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// mending is a comparison of two lists on its way: the giver's summary, then
// the puller's question for the buckets that differ, then what the giver holds.
type mending struct {
	to, from *node
	summary  Summary
	ahead    bool   // one of the two had part of a round
	differ   []byte // asked for, once compared
	at       [sha1.Size]byte
	entries  []Entry // to be taken, once given
}

func (n *node) summary() Summary { return Summary{n.vector().digest(), n.buckets} }

func compare(to, from *node) *mending {
	return &mending{to: to, from: from, summary: from.summary(), ahead: from.ahead()}
}

// ahead reports whether the tracker has taken part of a round, and so may list
// what its vector does not cover yet.
func (n *node) ahead() bool {
	for i, seq := range n.stored {
		if seq > n.have[i] {
			return true
		}
	}
	return false
}

// step reports whether there is more to come.
func (m *mending) step() (more bool) {
	switch {
	case m.differ == nil:
		ours := m.to.summary()
		m.ahead = m.ahead || m.to.ahead()
		m.differ, m.at = ours.Differ(&m.summary), ours.Vector
		return len(m.differ) > 0
	case m.entries == nil:
		m.entries = m.from.held(m.differ)
		return len(m.entries) > 0
	}
	b := m.to.plan()
	b.repair(m.entries, m.at)
	m.to.commit(b)
	return false
}

func (w *world) compareAction(t *rapid.T) {
	w.t = t
	to, from := w.node("puller"), w.node("giver")
	if to == from || len(w.repairs) > 4 || w.cut[[2]*node{from, to}] {
		t.Skip()
	}
	w.repairs = append(w.repairs, compare(to, from))
}

// mendAction moves a comparison on. As long as no disk was set back, and neither
// has half a round, it must find nothing.
func (w *world) mendAction(t *rapid.T) {
	w.t = t
	if len(w.repairs) == 0 {
		t.Skip()
	}
	m := rapid.SampledFrom(w.repairs).Draw(t, "comparison")
	if !m.step() {
		w.repairs = slices.DeleteFunc(w.repairs, func(o *mending) bool { return o == m })
	} else if !w.restored && !m.ahead {
		t.Fatalf("equal vectors, but other lists: %q and %q", m.to.listed(), m.from.listed())
	}
}

// damage takes listed rows from a tracker that is in step with the others, as
// nothing should.
func (w *world) damage() {
	n := w.node("damaged")
	var rows []condemned
	for _, u := range w.users {
		for i := range byte(4) {
			e, ok := n.get(key{kind: KindRow, torrent: torrentfmt.ID{i}, addr: u.addr})
			if ok && !e.Gone && rapid.Bool().Draw(w.t, "damaged") {
				ref := dotRef{n.originNum[e.Dot.Origin], e.Dot.Seq}
				rows = append(rows, condemned{n.torrentNum[e.Torrent], n.clientNum[e.Addr], ref})
				delete(n.disk.entries, ref)
			}
		}
	}
	n.remove(rows)
}

// compareAll has all trackers that are in step compare their lists.
func (w *world) compareAll() {
	for _, to := range w.nodes {
		for _, from := range w.nodes {
			if to == from {
				continue
			}
			for m := compare(to, from); m.step(); {
			}
		}
	}
}
