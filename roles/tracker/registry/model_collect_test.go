package registry

import (
	"slices"

	"pgregory.net/rapid"
)

// heard is a report on its way.
type heard struct {
	to   *node
	from NodeID
	have Vector
}

// reportAction sends a vector; hearAction lets some report, old or new,
// arrive, perhaps not for the last time.
func (w *world) reportAction(t *rapid.T) {
	w.t = t
	from, to := w.node("from"), w.node("to")
	if from == to || w.cut[[2]*node{from, to}] {
		t.Skip()
	}
	w.reports = append(w.reports, heard{to, from.self.Node(), from.vector()})
}

func (w *world) hearAction(t *rapid.T) {
	w.t = t
	if len(w.reports) == 0 {
		t.Skip()
	}
	i := rapid.IntRange(0, len(w.reports)-1).Draw(t, "report")
	h := w.reports[i]
	h.to.hear(h.from, h.have)
	if rapid.Bool().Draw(t, "once") {
		w.reports = slices.Delete(w.reports, i, i+1)
	}
}

// exchangeAction is what happens when all is well: two trackers in step tell
// each other so.
func (w *world) exchangeAction(t *rapid.T) {
	w.t = t
	w.exchange()
}

func (w *world) exchange() {
	for _, from := range w.nodes {
		for _, to := range w.nodes {
			if from != to && !w.cut[[2]*node{from, to}] {
				to.hear(from.self.Node(), from.vector())
			}
		}
	}
}

func (w *world) sweepAction(t *rapid.T) {
	w.t = t
	w.node("tracker").sweep()
}

func (w *world) tidyAction(t *rapid.T) {
	w.t = t
	n := w.node("tracker")
	n.commit(n.tidy())
}

// quietAction is a quiet while: everybody who can be reached is in step, and
// what may be dropped goes.
func (w *world) quietAction(t *rapid.T) {
	w.t = t
	w.syncAction(t)
	w.settle()
}

// settle lets everything that may be dropped go.
func (w *world) settle() {
	for range 3 {
		w.exchange()
		for _, n := range w.nodes {
			for range 2 {
				n.sweep()
				n.commit(n.tidy())
			}
		}
	}
}
