package registry

import (
	"crypto/sha1"
	"fmt"
	"maps"
	"slices"

	"pgregory.net/rapid"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// user is a simulated client: it talks to one tracker at a time, echoes the
// newest stamp it was given, and knows what it shares.
type user struct {
	addr Addr
	node NodeID // zero: it proves nothing
	at   *node
	echo Stamp
	has  map[torrentfmt.ID]bool // to whether whole
	// strayed is set from when it turned to another tracker without a
	// renewal until the next: its rows may be expired by where it was before.
	strayed bool
	sure    bool // every request since the last settling was answered, and it was not expired
}

func (u *user) asker() Asker { return Asker{Addr: u.addr, Node: u.node} }

func (u *user) digest() (int, [sha1.Size]byte) {
	var sum [sha1.Size]byte
	for id, whole := range u.has {
		d := rowDigest(id, whole)
		for i := range sum {
			sum[i] ^= d[i]
		}
	}
	return len(u.has), sum
}

func (w *world) torrent() torrentfmt.ID {
	return torrentfmt.ID{byte(rapid.IntRange(1, 3).Draw(w.t, "torrent"))}
}

// request runs one request at n. Either it is answered, or n dies on it:
// before its commit or after.
func (w *world) request(u *user, n *node, f func(*batch) Result) (Result, bool) {
	b := n.plan()
	res := f(b)
	switch rapid.IntRange(0, 59).Draw(w.t, "fate") {
	case 0:
		u.sure = false
		w.crash(n)
		return res, false
	case 1:
		u.sure = false
		n.commit(b)
		w.crash(n)
		return res, false
	}
	n.commit(b)
	u.echo = max(u.echo, res.Stamp)
	return res, true
}

// visit makes n the tracker that u talks to. A client that fails over renews
// first; one that does not must hold out until its next renewal.
func (w *world) visit(u *user, n *node) bool {
	if u.at == n && u.sure {
		return true
	}
	u.at = n
	if rapid.IntRange(0, 3).Draw(w.t, "strays") == 0 {
		u.strayed = true
		return true
	}
	return w.renew(u)
}

func (w *world) renew(u *user) bool {
	count, digest := u.digest()
	for range 3 {
		res, ok := w.request(u, u.at, func(b *batch) Result { return b.renew(u.asker(), count, digest, u.echo) })
		if !ok {
			return false
		}
		if res.Outcome == Done {
			u.strayed = false
			return true
		}
		for id, whole := range u.has {
			if _, ok := w.announce(u, u.at, id, whole); !ok {
				return false
			}
		}
	}
	w.t.Fatalf("client %v renews for ever", u.addr)
	return false
}

func (w *world) announce(u *user, n *node, id torrentfmt.ID, whole bool) (Result, bool) {
	return w.request(u, n, func(b *batch) Result {
		return b.announce(u.asker(), id, whole, u.echo, &Info{Name: fmt.Sprint("name", id[0]), Size: 1})
	})
}

func (w *world) announceAction(t *rapid.T) {
	w.t = t
	u, n, id := w.user(), w.node("tracker"), w.torrent()
	whole := rapid.Bool().Draw(t, "whole")
	if !w.visit(u, n) {
		return
	}
	u.has[id] = whole // what the client wants, answered or not
	w.announce(u, n, id, whole)
}

func (w *world) removeAction(t *rapid.T) {
	w.t = t
	u, n, id := w.user(), w.node("tracker"), w.torrent()
	if !w.visit(u, n) {
		return
	}
	delete(u.has, id)
	w.request(u, n, func(b *batch) Result { return b.remove(u.asker(), id, u.echo) })
}

func (w *world) leaveAction(t *rapid.T) {
	w.t = t
	u, n := w.user(), w.node("tracker")
	clear(u.has)
	u.at = n
	w.request(u, n, func(b *batch) Result { return b.leave(u.asker(), u.echo) })
}

func (w *world) renewAction(t *rapid.T) {
	w.t = t
	u := w.user()
	u.at = w.node("tracker")
	w.renew(u)
}

// expireAction lets a tracker find a client silent. That is its right only at
// the client's own tracker; a former home must do no harm.
func (w *world) expireAction(t *rapid.T) {
	w.t = t
	u, n := w.user(), w.node("tracker")
	b := n.plan()
	if res := b.expire(u.addr, 0); res.Rows > 0 && (n == u.at || u.strayed) {
		u.sure = false
	}
	n.commit(b)
}

// intrudeAction has another try to change what a tracker lists of a client that
// has proven its key.
func (w *world) intrudeAction(t *rapid.T) {
	u, n := w.user(), w.node("tracker")
	c := n.client(u.addr)
	if c == nil || c.present == 0 || c.owner == (NodeID{}) {
		t.Skip("nothing that is held by a key")
	}
	by := Asker{Addr: u.addr, Node: rapid.SampledFrom([]NodeID{{}, {66}}).Draw(t, "intruder")}
	tries := attempts(by)
	names := slices.Sorted(maps.Keys(tries))
	what := rapid.SampledFrom(names).Draw(t, "attempt")
	b := n.plan()
	if res := tries[what](b); res.Outcome != Owned || !b.empty() {
		t.Fatalf("node %v may %s: %+v", by.Node[0], what, res)
	}
}
