package registry

import (
	"slices"

	"pgregory.net/rapid"
)

// transfer is one Pull stream's round under way.
type transfer struct {
	to, from *node
	scan     *scan
	origins  []Origin
	had      Vector
	given    bool      // the scan has ended
	flight   []message // given, and not taken yet
	seen     seen      // of a full walk
}

type message struct {
	entries []Entry
	end     bool
	upto    Vector
	dropped Vector
}

// connect begins a transfer; the giver hears the puller's vector.
func connect(to, from *node) *transfer {
	had := to.vector()
	from.hear(to.self.Node(), had)
	to.hear(from.self.Node(), nil)
	from.pins++
	return &transfer{to: to, from: from, scan: from.newScan(had), origins: slices.Clone(from.origins), had: had, seen: seen{}}
}

// give moves on the giver's side.
func (x *transfer) give(t interface{ Fatal(...any) }, limit int) {
	entries, err := x.scan.step(x.from.disk, x.origins, limit)
	if err != nil {
		t.Fatal(err)
	}
	m := message{entries: entries, end: len(entries) == 0}
	if m.end {
		m.upto, m.dropped = x.scan.upto, x.scan.dropped
		x.release()
	}
	x.flight = append(x.flight, m)
}

func (x *transfer) release() {
	if !x.given {
		x.given = true
		x.from.pins--
	}
}

// take plans what the next message brings; false if it must wait.
func (x *transfer) take(b *batch) (done, ok bool, err error) {
	m := x.flight[0]
	full := x.scan.full
	if m.end && full && x.to.pins > 0 {
		return false, false, nil
	}
	x.flight = x.flight[1:]
	switch {
	case full && m.end:
		x.to.sweep()
		return true, true, b.reconcile(x.seen, Vector{}.SpansTo(m.upto), m.dropped)
	case m.end:
		return true, true, b.adopt(x.had.SpansTo(m.upto))
	case full:
		x.seen.add(m.entries)
		for _, e := range m.entries {
			b.mergeFull(e)
		}
	default:
		for _, e := range m.entries {
			b.merge(e)
		}
	}
	return false, true, nil
}

func (w *world) connect(to, from *node) *transfer {
	x := connect(to, from)
	w.transfers = append(w.transfers, x)
	return x
}

// take moves the next message in, and in the end the vector.
func (w *world) take(x *transfer) (done bool) {
	b := x.to.plan()
	done, ok, err := x.take(b)
	if err != nil {
		w.t.Fatal(err)
	}
	if ok {
		x.to.commit(b)
	}
	return done
}

func (w *world) drop(x *transfer) {
	x.release()
	w.transfers = slices.DeleteFunc(w.transfers, func(y *transfer) bool { return x == y })
}

func (w *world) connectAction(t *rapid.T) {
	w.t = t
	to, from := w.node("puller"), w.node("giver")
	if to == from || len(w.transfers) > 4 || w.cut[[2]*node{from, to}] {
		t.Skip()
	}
	w.connect(to, from)
}

func (w *world) stepAction(t *rapid.T) {
	w.t = t
	if len(w.transfers) == 0 {
		t.Skip()
	}
	x := rapid.SampledFrom(w.transfers).Draw(t, "transfer")
	give := !x.given && (len(x.flight) == 0 || rapid.Bool().Draw(t, "give"))
	if give {
		x.give(t, rapid.IntRange(1, 4).Draw(t, "limit"))
	}
	if !give || rapid.Bool().Draw(t, "take") {
		if w.take(x) {
			w.drop(x)
		}
	}
}

// runAction takes a transfer to its end.
func (w *world) runAction(t *rapid.T) {
	w.t = t
	if len(w.transfers) == 0 {
		t.Skip()
	}
	x := rapid.SampledFrom(w.transfers).Draw(t, "transfer")
	for !x.given {
		x.give(t, 4)
	}
	for len(x.flight) > 0 {
		if x.flight[0].end && x.scan.full && x.to.pins > 0 {
			return
		}
		w.take(x)
	}
	w.drop(x)
}

func (w *world) cutAction(t *rapid.T) {
	w.t = t
	if len(w.transfers) == 0 {
		t.Skip()
	}
	w.drop(rapid.SampledFrom(w.transfers).Draw(t, "transfer"))
}

// pull is a whole round, unless the puller is just being read itself.
func (w *world) pull(to, from *node) {
	x := w.connect(to, from)
	for done := false; !done; {
		x.give(w.t, 3)
		if x.flight[0].end && x.scan.full && to.pins > 0 {
			break
		}
		done = w.take(x)
	}
	w.drop(x)
}

func (w *world) syncAction(t *rapid.T) {
	w.t = t
	for _, to := range w.nodes {
		for _, from := range w.nodes {
			if to != from && !w.cut[[2]*node{from, to}] {
				w.pull(to, from)
			}
		}
	}
}
