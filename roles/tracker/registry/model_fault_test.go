package registry

import (
	"slices"

	"pgregory.net/rapid"
)

func (w *world) crash(n *node) {
	w.transfers = slices.DeleteFunc(w.transfers, func(x *transfer) bool {
		if x.from != n && x.to != n {
			return false
		}
		x.release()
		return true
	})
	w.reports = slices.DeleteFunc(w.reports, func(h heard) bool { return h.to == n })
	w.repairs = slices.DeleteFunc(w.repairs, func(m *mending) bool { return m.to == n || m.from == n })
	n.start()
}

func (w *world) crashAction(t *rapid.T) {
	w.t = t
	w.crash(w.node("tracker"))
}

func (w *world) backupAction(t *rapid.T) {
	w.t = t
	n := w.node("tracker")
	n.backup = n.disk.clone()
}

// restoreAction puts a tracker back onto an old disk, perhaps not for the first
// time. A client of which something is now known nowhere is in doubt.
func (w *world) restoreAction(t *rapid.T) {
	w.t = t
	n := w.node("tracker")
	if n.backup == nil {
		t.Skip()
	}
	w.setBack(n, n.backup)
}

// loseAction has a tracker start on a new file, as the node that it was: its ID
// is that of its key.
func (w *world) loseAction(t *rapid.T) {
	w.t = t
	n := w.node("tracker")
	w.setBack(n, &disk{node: n.disk.node, entries: map[dotRef]Entry{}, members: map[NodeID]bool{}})
}

func (w *world) setBack(n *node, d *disk) {
	before := n.core
	w.crash(n)
	n.restore(d)
	for _, u := range w.users {
		u.sure = u.sure && w.kept(before, u.addr)
	}
}

func (w *world) clockAction(t *rapid.T) {
	w.t = t
	n := w.node("tracker")
	// Never more than a day apart: echoes from further than MaxEcho do not count.
	n.wall = noon + rapid.SampledFrom([]int64{-43_200_000, -3_600_000, 0, 1, 3_600_000, 43_200_000}).Draw(t, "jump")
}

// partitionAction cuts or mends one direction.
func (w *world) partitionAction(t *rapid.T) {
	w.t = t
	d := [2]*node{w.node("from"), w.node("to")}
	w.cut[d] = !w.cut[d]
	if !w.cut[d] {
		return
	}
	for _, x := range slices.Clone(w.transfers) {
		if x.from == d[0] && x.to == d[1] {
			w.drop(x)
		}
	}
	w.repairs = slices.DeleteFunc(w.repairs, func(m *mending) bool { return m.from == d[0] && m.to == d[1] })
}
