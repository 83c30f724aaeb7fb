package registry

import (
	"fmt"
	"slices"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// history is what some trackers ever made durable, for the oracle.
type history struct {
	nodes   []*node
	written map[Dot]Entry
	gone    map[key]Entry // the newest dropped of each register
	// orphans are the entries that the collection's argument does not reach,
	// after a disk was set back: those of which the writer no longer knows, and
	// what it writes below something that it had known and others have dropped.
	orphans  map[Dot]bool
	revived  map[Addr]bool // clients of which orphans were listed
	restored bool
}

func newHistory(count int) *history {
	h := &history{written: map[Dot]Entry{}, gone: map[key]Entry{}, orphans: map[Dot]bool{}, revived: map[Addr]bool{}}
	for i := range count {
		n := newNode(i)
		n.peers = count - 1
		n.core.peers, n.past = n.peers, h
		h.nodes = append(h.nodes, n)
	}
	return h
}

// note takes what a tracker is about to make durable.
func (h *history) note(n *node, b *batch) {
	for _, e := range b.puts {
		if _, again := h.written[e.Dot]; !again && h.restored && h.beaten(&e) {
			h.orphans[e.Dot] = true
		}
		h.written[e.Dot] = e
	}
	for _, d := range b.drops {
		e, ok := h.written[Dot{n.origins[d.ref.origin], d.ref.seq}]
		if old, dropped := h.gone[e.key()]; ok && (!dropped || e.beats(&old)) {
			h.gone[e.key()] = e
		}
	}
}

type fataler interface{ Fatalf(string, ...any) }

// claims checks what vectors claim: of every register a tracker lists nothing
// older than what its vector covers, it holds the newest of what nobody has
// dropped, and nothing that may still come will be listed wrongly. Only
// orphans are listed all the same, until their client's next renewal.
func (h *history) claims(t fataler) {
	for i, n := range h.nodes {
		for d, e := range h.written {
			if n.covers(d) {
				cur, wrong := n.listsBeaten(&e)
				switch {
				case !wrong:
					h.holds(t, i, &e)
				case h.orphans[cur.Dot]:
					h.revived[e.Addr] = true
				default:
					t.Fatalf("tracker %d covers %+v but lists %+v", i, e, cur)
				}
			} else if e.Kind == KindRow && !e.Gone && !h.restored && h.wouldList(n, &e) {
				t.Fatalf("tracker %d would list %+v, which is beaten by what it has dropped", i, e)
			}
		}
	}
}

// listsBeaten finds a listed row that e has ended or replaced.
func (n *node) listsBeaten(e *Entry) (cur Entry, wrong bool) {
	switch e.Kind {
	case KindRow:
		cur, ok := n.get(e.key())
		return cur, ok && !cur.Gone && e.beats(&cur)
	case KindFloor:
		if c := n.client(e.Addr); c != nil {
			for _, tn := range c.torrents {
				cur, _ = n.get(key{kind: KindRow, torrent: n.torrents[tn].id, addr: e.Addr})
				if !cur.Gone && cur.Stamp < e.Stamp {
					return cur, true
				}
			}
		}
	}
	return cur, false
}

// holds checks that what stands in the register of e, which the tracker's
// vector covers, is e or something newer, and on the disk. Where something newer
// was dropped, nothing need be there. What may be there all the same is an
// older gone row or floor, if no vector covered it and a backup brought it back:
// it lists nothing, and what it ends had been ended by what was dropped.
func (h *history) holds(t fataler, i int, e *Entry) {
	n := h.nodes[i]
	if n.belowFloor(e) {
		return
	}
	cur, ok := n.get(e.key())
	if !ok || cur.Gone || cur.Kind == KindFloor {
		if g, dropped := h.gone[e.key()]; dropped && !e.beats(&g) || h.floored(e) {
			return
		}
	}
	if !ok || e.beats(&cur) {
		t.Fatalf("tracker %d covers %+v but holds %+v", i, *e, cur)
	}
	ref := dotRef{n.originNum[cur.Dot.Origin], cur.Dot.Seq}
	if _, ok := n.disk.entries[ref]; !ok {
		t.Fatalf("tracker %d shows %+v, which is not on its disk", i, cur)
	}
}

// wouldList reports whether a row that the tracker does not cover would be
// listed if it came, although the tracker covered what beats it.
func (h *history) wouldList(n *node, r *Entry) bool {
	if cur, ok := n.get(r.key()); ok && !r.beats(&cur) || n.belowFloor(r) {
		return false
	}
	g, ok := h.gone[r.key()]
	f, floored := h.gone[key{kind: KindFloor, addr: r.Addr}]
	return ok && n.covers(g.Dot) && g.beats(r) || floored && n.covers(f.Dot) && r.Stamp < f.Stamp
}

// floored reports whether a floor above the row was dropped.
func (h *history) floored(e *Entry) bool {
	g, ok := h.gone[key{kind: KindFloor, addr: e.Addr}]
	return ok && e.Kind == KindRow && e.Stamp < g.Stamp
}

// beaten reports whether something newer than the row was ever written.
func (h *history) beaten(r *Entry) bool {
	for _, e := range h.written {
		if r.Kind == KindRow && (e.key() == r.key() && e.beats(r) || e.Kind == KindFloor && e.Addr == r.Addr && r.Stamp < e.Stamp) {
			return true
		}
	}
	return false
}

// orphan notes the entries that no vector covers, since their writer was set
// back behind them. Half transfers, messages under way and other backups may
// still hold them, and nobody can tell them from news.
func (h *history) orphan() {
	for d := range h.written {
		if !slices.ContainsFunc(h.nodes, func(n *node) bool { return n.covers(d) }) {
			h.orphans[d] = true
		}
	}
}

// kept reports whether some tracker still has what was known of a client, or
// something newer.
func (w *world) kept(c *core, a Addr) bool {
	keys := []key{{kind: KindHome, addr: a}, {kind: KindFloor, addr: a}}
	for i := range byte(4) {
		keys = append(keys, key{kind: KindRow, torrent: torrentfmt.ID{i}, addr: a})
	}
	for _, k := range keys {
		e, ok := c.get(k)
		if ok && !slices.ContainsFunc(w.nodes, func(n *node) bool {
			cur, ok := n.get(k)
			return n.belowFloor(&e) || ok && (cur.Dot == e.Dot || cur.beats(&e))
		}) {
			return false
		}
	}
	return true
}

// idle checks that nothing gone is left once all know of it. Only what came
// with half a transfer, and whose writer has been set back behind it, is covered
// by nobody, and stays.
func (w *world) idle() {
	for i, n := range w.nodes {
		kept := 0
		for ref, e := range n.disk.entries {
			if !e.Gone && e.Kind != KindFloor {
				continue
			}
			kept++
			if !w.restored || ref.seq <= n.have[ref.origin] {
				w.t.Fatalf("tracker %d keeps %+v", i, e)
			}
		}
		if got := len(n.disk.entries) - kept; got != n.present+n.homes()+n.names() {
			w.t.Fatalf("tracker %d stores %d entries for %d rows, %d homes, %d names", i, got, n.present, n.homes(), n.names())
		}
	}
}

func (w *world) expect(only func(*user) bool) []string {
	var out []string
	for _, u := range w.users {
		if only(u) {
			for id, whole := range u.has {
				out = append(out, fmt.Sprintf("%v %v whole=%v", id[0], u.addr[17], whole))
			}
		}
	}
	slices.Sort(out)
	return out
}

func (w *world) agree(stage string) {
	for _, n := range w.nodes[1:] {
		if a, b := w.nodes[0].listed(), n.listed(); !slices.Equal(a, b) {
			w.t.Fatalf("%s: lists differ: %q and %q", stage, a, b)
		}
		if a, b := w.nodes[0].vector(), n.vector(); !a.CoversAll(b) || !b.CoversAll(a) {
			w.t.Fatalf("%s: vectors differ: %v and %v", stage, a, b)
		}
	}
}
