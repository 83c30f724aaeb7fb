package registry

import (
	"slices"
	"testing"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// The schedules that broke earlier rules, or nearly, one test each.

var (
	one   = torrentfmt.ID{1}
	two   = torrentfmt.ID{2}
	alice = Addr{17: 1}
)

func (n *node) do(f func(*batch) Result) Result {
	b := n.plan()
	res := f(b)
	n.commit(b)
	return res
}

func (n *node) announced(id torrentfmt.ID, echo Stamp) Stamp {
	return n.do(func(b *batch) Result {
		return b.announce(Asker{Addr: alice}, id, false, echo, &Info{Name: "n", Size: 1})
	}).Stamp
}

func (n *node) removed(id torrentfmt.ID, echo Stamp) Stamp {
	return n.do(func(b *batch) Result { return b.remove(Asker{Addr: alice}, id, echo) }).Stamp
}

func (n *node) renewed(echo Stamp, ids ...torrentfmt.ID) Result {
	u := user{addr: alice, has: map[torrentfmt.ID]bool{}}
	for _, id := range ids {
		u.has[id] = false
	}
	count, digest := u.digest()
	return n.do(func(b *batch) Result { return b.renew(Asker{Addr: alice}, count, digest, echo) })
}

func (n *node) expired() int {
	return n.do(func(b *batch) Result { return b.expire(alice, 0) }).Rows
}

// pull moves everything from one tracker to another; if cut, all but the
// vector.
func (n *node) pull(t *testing.T, from *node, cut bool) {
	t.Helper()
	x := connect(n, from)
	for done := false; !done; {
		x.give(t, 2)
		if cut && x.flight[0].end {
			x.release()
			return
		}
		b := n.plan()
		var err error
		if done, _, err = x.take(b); err != nil {
			t.Fatal(err)
		}
		n.commit(b)
	}
}

func agree(t *testing.T, want []string, nodes ...*node) {
	t.Helper()
	for range 2 {
		for _, to := range nodes {
			for _, from := range nodes {
				if to != from {
					to.pull(t, from, false)
				}
			}
		}
	}
	if h := nodes[0].past; h != nil {
		h.claims(t)
	}
	for i, n := range nodes {
		if got := n.listed(); !slices.Equal(got, want) {
			t.Errorf("tracker %d lists %q, want %q", i, got, want)
		}
	}
}

// A removal of something else had told the second tracker of the client, which
// then took the leave for one of a client that had nothing.
func TestLeaveElsewhereEndsRowsThatAreNotThereYet(t *testing.T) {
	a, b := newNode(0), newNode(1)
	echo := a.announced(one, 0)
	echo = b.removed(two, echo)
	b.do(func(b *batch) Result { return b.leave(Asker{Addr: alice}, echo) })
	agree(t, nil, a, b)
}

func TestRemovalElsewhereEndsARowThatIsNotThereYet(t *testing.T) {
	a, b := newNode(0), newNode(1)
	echo := a.announced(one, 0)
	echo = b.announced(two, echo)
	b.removed(one, echo)
	agree(t, []string{"2 1 whole=false"}, a, b)
}

// The renewal matched, although one of its rows was from an earlier stay, and
// the tracker where the client had been meanwhile expired that row.
func TestRenewalConfirmsRowsOfAnEarlierStay(t *testing.T) {
	a, b := newNode(0), newNode(1)
	echo := a.announced(one, 0)
	echo = b.announced(one, echo)
	echo = a.announced(two, echo)
	if res := a.renewed(echo, one, two); res.Outcome != Done || res.Rows != 1 {
		t.Fatalf("%+v", res)
	}
	if n := b.expired(); n != 1 {
		t.Fatalf("expired %d rows", n)
	}
	agree(t, []string{"1 1 whole=false", "2 1 whole=false"}, a, b)
}

func TestClientThatMovedDuringACutStaysListed(t *testing.T) {
	a, b := newNode(0), newNode(1)
	b.wall -= 3_600_000 // the survivor's clock is an hour behind
	echo := a.announced(one, 0)
	b.pull(t, a, false)
	if res := b.renewed(echo, one); res.Outcome != Done {
		t.Fatalf("%+v", res)
	}
	if n := a.expired(); n != 1 {
		t.Fatalf("expired %d rows", n)
	}
	agree(t, []string{"1 1 whole=false"}, a, b)
}

func TestRemovalAtATrackerWithASlowClockWins(t *testing.T) {
	a, b := newNode(0), newNode(1)
	b.wall -= 3_600_000
	b.removed(one, a.announced(one, 0))
	agree(t, nil, a, b)
}

// The removal is still on its way when the client shares again: the row that
// is there must not be taken for the new one.
func TestSharingAgainIsNotUndoneByTheRemovalBefore(t *testing.T) {
	a, b := newNode(0), newNode(1)
	echo := a.announced(one, 0)
	b.pull(t, a, false)
	echo = b.removed(one, echo)
	a.announced(one, echo)
	agree(t, []string{"1 1 whole=false"}, a, b)
}

// A tracker swept an entry that its vector covers because of one that its
// vector does not: a third must get that one, too.
func TestWhatHalfATransferSupersededIsPassedOn(t *testing.T) {
	a, b, c := newNode(0), newNode(1), newNode(2)
	echo := a.announced(one, 0)
	b.pull(t, a, false)
	a.removed(one, echo)
	b.pull(t, a, true)
	b.sweep()
	c.pull(t, b, false)
	if got := c.listed(); len(got) != 0 {
		t.Errorf("listed %q", got)
	}
	_, held := c.get(key{kind: KindRow, torrent: one, addr: alice})
	if d := (Dot{a.self, 3}); c.covers(d) && !held {
		t.Errorf("covers the row at %v and holds neither it nor its successor", d)
	}
}

// After a mismatch the client announces what it has; what it does not have
// goes, without a moment in which the rest is not listed.
func TestRowsThatTheClientDoesNotHaveGoAfterItsList(t *testing.T) {
	a := newNode(0)
	a.announced(one, 0)
	echo := a.announced(two, 0)
	res := a.renewed(echo, two)
	if res.Outcome != NeedList {
		t.Fatalf("%+v", res)
	}
	if got := a.listed(); len(got) != 2 {
		t.Fatalf("listed %q", got)
	}
	echo = a.announced(two, res.Stamp)
	if res := a.renewed(echo, two); res.Outcome != Done {
		t.Fatalf("%+v", res)
	}
	agree(t, []string{"2 1 whole=false"}, a)
}

func TestClientCannotFillTheTracker(t *testing.T) {
	a := newNode(0)
	a.announced(one, 0)
	_, c := a.clientOf(alice)
	c.torrents = slices.Repeat(c.torrents, MaxTorrents)
	for _, f := range []func(*batch) Result{
		func(b *batch) Result { return b.announce(Asker{Addr: alice}, two, true, 0, &Info{}) },
		func(b *batch) Result { return b.remove(Asker{Addr: alice}, two, 0) },
	} {
		if res := a.do(f); res.Outcome != TooMany {
			t.Errorf("%+v", res)
		}
	}
	if res := a.do(func(b *batch) Result { return b.announce(Asker{Addr: alice}, one, true, 0, nil) }); res.Outcome != Done {
		t.Errorf("a known row: %+v", res)
	}
}

// A host may take a new address for each torrent.
func TestHostWithManyPortsCannotFillTheTracker(t *testing.T) {
	announce := func(n *node, a Addr, id torrentfmt.ID) Outcome {
		return n.do(func(b *batch) Result { return b.announce(Asker{Addr: a}, id, true, 0, &Info{}) }).Outcome
	}
	remove := func(n *node, a Addr, id torrentfmt.ID) Outcome {
		return n.do(func(b *batch) Result { return b.remove(Asker{Addr: a}, id, 0) }).Outcome
	}
	v4 := func(host, port byte) Addr { return Addr{10: 0xff, 11: 0xff, 12: 10, 15: host, 17: port} }
	v6 := func(host, port byte) Addr { return Addr{0: 0x20, 7: 1, 15: host, 17: port} }
	for name, c := range map[string]struct{ first, second, elsewhere Addr }{
		"IPv4": {v4(1, 1), v4(1, 2), v4(2, 1)},
		"IPv6": {v6(1, 1), v6(2, 2), Addr{0: 0x20, 7: 2, 17: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			a, other := newNode(0), newNode(1)
			announce(a, c.first, one)
			announce(a, c.second, one)
			held := &a.hostRows[a.client(c.first).host]
			if *held != 2 {
				t.Fatalf("%d rows of the host, want 2", *held)
			}
			*held += MaxHostRows - 2
			if got := announce(a, c.second, two); got != TooMany {
				t.Errorf("one row more: outcome %d", got)
			}
			if got := remove(a, c.second, two); got != TooMany {
				t.Errorf("one gone row more: outcome %d", got)
			}
			if got := announce(a, c.first, one); got != Done {
				t.Errorf("a known row: outcome %d", got)
			}
			if got := announce(a, c.elsewhere, two); got != Done {
				t.Errorf("another host: outcome %d", got)
			}
			announce(other, c.second, two)
			a.pull(t, other, false)
			if _, ok := a.get(key{kind: KindRow, torrent: two, addr: c.second}); !ok || *held != MaxHostRows+1 {
				t.Errorf("what another tracker took is refused, %d rows", *held)
			}
			a.do(func(b *batch) Result { return b.leave(Asker{Addr: c.first}, 0) })
			a.do(func(b *batch) Result { return b.leave(Asker{Addr: c.second}, 0) })
			if *held != MaxHostRows-2 {
				t.Errorf("%d rows after all left, want %d", *held, MaxHostRows-2)
			}
		})
	}
}
