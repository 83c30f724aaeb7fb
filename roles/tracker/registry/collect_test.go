package registry

import (
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
)

// configured makes trackers that expect each other.
func configured(count int) []*node { return newHistory(count).nodes }

// forgetGone has the trackers bring each other in step, tell each other so,
// and drop what they may.
func forgetGone(t *testing.T, nodes ...*node) {
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
	for range 2 {
		for _, to := range nodes {
			for _, from := range nodes {
				if to != from {
					to.hear(from.self.Node(), from.vector())
				}
			}
			to.sweep()
			to.commit(to.tidy())
		}
	}
}

func (n *node) holdsGone() bool { return n.rows != n.present || n.floors != 0 }

func TestGoneRowsAndFloorsGoOnceAllKnow(t *testing.T) {
	all := configured(3)
	a, b, c := all[0], all[1], all[2]
	echo := a.announced(one, 0)
	echo = b.removed(one, echo)
	c.do(func(b *batch) Result { return b.leave(Asker{Addr: alice}, echo) })
	forgetGone(t, a, b)
	if !a.holdsGone() {
		t.Error("dropped although the third tracker does not know")
	}
	forgetGone(t, a, b, c)
	for i, n := range all {
		if n.holdsGone() {
			t.Errorf("tracker %d keeps what is gone", i)
		}
	}
	agree(t, nil, all...)
}

func TestNothingIsDroppedBeforeTheOthersAreMet(t *testing.T) {
	a, b := configured(2)[0], newNode(1)
	echo := b.announced(one, 0) // at a tracker that a has never met
	a.removed(one, echo)
	a.sweep()
	a.commit(a.tidy())
	if !a.holdsGone() {
		t.Error("dropped")
	}
	agree(t, nil, a, b)
}

func TestForgottenTrackerIsNotWaitedFor(t *testing.T) {
	all := configured(3)
	a, b, c := all[0], all[1], all[2]
	echo := a.announced(one, 0)
	forgetGone(t, all...)
	a.removed(one, echo)
	for _, n := range []*node{a, b} {
		n.peers, n.core.peers = 1, 1
		p := n.plan()
		p.forget(c.self.Node())
		n.commit(p)
	}
	forgetGone(t, a, b)
	if a.holdsGone() || b.holdsGone() {
		t.Error("waits for one that is forgotten")
	}
	agree(t, nil, a, b, c) // it comes back all the same, and lists the row
}

func TestGoneRowDroppedBeforeAStaleTrackerReturns(t *testing.T) {
	all := configured(2)
	a, b := all[0], all[1]
	echo := a.announced(one, 0)
	b.pull(t, a, false)
	b.backup = b.disk.clone()
	a.removed(one, echo)
	forgetGone(t, a, b)
	if a.holdsGone() {
		t.Fatal("nothing was dropped")
	}
	b.restore(b.backup)
	if got := b.listed(); len(got) != 1 {
		t.Fatalf("the backup lists %q", got)
	}
	a.pull(t, b, false) // whoever is first
	agree(t, nil, a, b)
}

// Each time it writes something of its own, which the others take for news
// although it has the same number.
func TestTrackerRestoredTwiceFromOneBackup(t *testing.T) {
	all := configured(3)
	a, b, c := all[0], all[1], all[2]
	echo := a.announced(one, 0)
	forgetGone(t, all...)
	b.backup = b.disk.clone()
	a.removed(one, echo)
	forgetGone(t, all...)
	for i := range byte(2) {
		b.restore(b.backup)
		carol := Addr{17: 3 + i}
		b.do(func(p *batch) Result { return p.announce(Asker{Addr: carol}, two, true, 0, &Info{Name: "n", Size: 1}) })
		if i == 0 {
			c.pull(t, b, false)
		}
	}
	agree(t, []string{"2 3 whole=true", "2 4 whole=true"}, a, b, c)
}

// A row is on its way to a third tracker while the gone row that removed it
// comes from another, and is dropped, before it arrives.
func TestRowBehindADroppedGoneRowStaysAway(t *testing.T) {
	all := configured(3)
	a, b, c := all[0], all[1], all[2]
	echo := a.announced(one, 0)
	old := connect(c, a)
	old.give(t, 10) // the row is on its way
	b.removed(one, echo)
	forgetGone(t, a, b, c)
	// The open scan keeps a from dropping, but not the others.
	if b.holdsGone() || c.holdsGone() {
		t.Fatal("nothing was dropped")
	}
	for len(old.flight) > 0 {
		p := c.plan()
		if _, _, err := old.take(p); err != nil {
			t.Fatal(err)
		}
		c.commit(p)
	}
	old.release()
	agree(t, nil, all...)
}

func TestLoserUnsweptAtRestartKeepsItsWinner(t *testing.T) {
	all := configured(2)
	a, b := all[0], all[1]
	echo := a.announced(one, 0)
	a.removed(one, echo)
	b.pull(t, a, false)
	a.pull(t, b, false)
	a.hear(b.self.Node(), b.vector())
	a.commit(a.tidy()) // without a sweep before
	a.start()
	if got := a.listed(); len(got) != 0 {
		t.Fatalf("after the restart: %q", got)
	}
	a.hear(b.self.Node(), b.vector())
	a.sweep()
	a.commit(a.tidy())
	a.start()
	if got := a.listed(); len(got) != 0 || a.holdsGone() {
		t.Errorf("listed %q, gone rows kept: %v", got, a.holdsGone())
	}
}

func TestReportFromAnOlderDiskTakesBackTheOneBefore(t *testing.T) {
	all := configured(2)
	a, b := all[0], all[1]
	echo := a.announced(one, 0)
	b.pull(t, a, false)
	before := b.vector()
	a.removed(one, echo)
	b.pull(t, a, false)
	a.hear(b.self.Node(), b.vector())
	a.hear(b.self.Node(), before)
	a.sweep()
	a.commit(a.tidy())
	if !a.holdsGone() {
		t.Error("dropped although the other no longer knows")
	}
}

// Half a transfer brought a floor whose writer was then set back behind it, so
// no vector covers it. It is superseded, and what superseded it is dropped by
// all; then a backup brings it back. It is news to everybody, and older than
// what they have dropped: it must be no more than a floor too many.
func TestFloorThatNoVectorCoversComesBackAndEndsNothing(t *testing.T) {
	all := configured(2)
	a, b := all[0], all[1]
	empty := b.disk.clone()
	echo := b.announced(one, 0)
	echo = b.do(func(p *batch) Result { return p.leave(Asker{Addr: alice}, echo) }).Stamp
	old := b.clients[0].floor.stamp
	a.pull(t, b, true)
	a.backup = a.disk.clone()
	b.restore(empty)
	echo = a.announced(two, echo)
	echo = a.do(func(p *batch) Result { return p.leave(Asker{Addr: alice}, echo) }).Stamp
	newer := a.clients[0].floor.stamp
	forgetGone(t, a, b)
	if a.holdsGone() || b.holdsGone() {
		t.Fatal("the newer floor was not dropped")
	}
	a.restore(a.backup)
	agree(t, nil, a, b)
	for i, n := range all {
		if f := n.client(alice).floor; f == nil || f.stamp != old || old >= newer {
			t.Fatalf("tracker %d has the floor %+v, want the one at %d, below %d", i, f, old, newer)
		}
	}
	a.announced(one, echo)
	agree(t, []string{"1 1 whole=false"}, a, b)
}

// With a row in the floor's place the list is wrong, but the same everywhere,
// until the client renews, or its home finds it silent.
func TestRowThatNoVectorCoversComesBackUntilItsClientRenews(t *testing.T) {
	all := configured(2)
	a, b := all[0], all[1]
	empty := b.disk.clone()
	echo := b.announced(one, 0)
	a.pull(t, b, true)
	a.backup = a.disk.clone()
	b.restore(empty)
	echo = a.removed(one, echo)
	forgetGone(t, a, b)
	if a.holdsGone() || b.holdsGone() {
		t.Fatal("the gone row was not dropped")
	}
	a.restore(a.backup)
	agree(t, []string{"1 1 whole=false"}, a, b)
	if res := a.renewed(echo); res.Outcome != NeedList {
		t.Fatalf("%+v", res)
	}
	if res := a.renewed(echo); res.Outcome != Done {
		t.Fatalf("%+v", res)
	}
	agree(t, nil, a, b)
}

// A tracker that was set back writes a row below a gone row that it had known.
// Where that is dropped the row is listed, where it is not the row loses.
func TestTrackersThatDropAtOtherTimesAgreeByComparing(t *testing.T) {
	all := configured(3)
	a, b, c := all[0], all[1], all[2]
	echo := b.announced(one, 0)
	forgetGone(t, all...)
	b.backup = b.disk.clone()
	c.wall += 3_600_000
	c.removed(two, echo) // and the answer is lost
	for range 2 {
		a.pull(t, c, false)
		b.pull(t, c, false)
		c.pull(t, a, false)
		a.hear(b.self.Node(), b.vector())
		a.hear(c.self.Node(), c.vector())
	}
	a.sweep()
	a.commit(a.tidy())
	if a.holdsGone() || !c.holdsGone() {
		t.Fatal("one should have dropped the gone row, the other not")
	}
	b.restore(b.backup)
	b.announced(two, echo)
	a.pull(t, b, false)
	agree(t, []string{"1 1 whole=false", "2 1 whole=false"}, a, b)
	for range 2 {
		c.pull(t, a, false)
		a.pull(t, c, false)
		b.pull(t, c, false)
	}
	if len(c.listed()) != 1 {
		t.Fatalf("the gone row lost: %q", c.listed())
	}
	for _, to := range all {
		for _, from := range all {
			for m := compare(to, from); m.step(); {
			}
		}
	}
	agree(t, []string{"1 1 whole=false"}, all...)
}

// What was found while a scan was open is no longer safe when it ends, and is
// again once the member has caught up, by when nothing new was written.
func TestGoneRowIsFoundAgainAfterAnOlderReport(t *testing.T) {
	all := configured(2)
	a, b := all[0], all[1]
	echo := a.announced(one, 0)
	b.pull(t, a, false)
	before := b.vector()
	a.removed(one, echo)
	b.pull(t, a, false)
	a.hear(b.self.Node(), b.vector())
	a.sweep()
	a.gather()
	if len(a.gc.found) != 1 {
		t.Fatalf("found %+v", a.gc.found)
	}
	a.hear(b.self.Node(), before)
	a.commit(a.tidy())
	if !a.holdsGone() {
		t.Fatal("dropped although the other no longer knows")
	}
	a.hear(b.self.Node(), b.vector())
	for range 2 {
		a.commit(a.tidy())
	}
	if a.holdsGone() {
		t.Error("kept for good")
	}
}

func TestClockDoesNotFallBehindWhatWasDropped(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	synctest.Test(t, func(t *testing.T) {
		r := open(t, path)
		r.Collect(0) // alone
		announce(t, r, 1, 1)
		res := announce(t, r, 2, 1)
		far := res.Stamp + stampAt(time.Hour.Milliseconds())
		last := call(t, func(done func(Result, error)) { r.Leave(Asker{Addr: addr(1)}, far, done) }).Stamp
		if last <= far {
			t.Fatal("the echo did not count")
		}
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time, of quiet
		if got := r.store.entries(t); got != 3 {
			t.Errorf("%d entries are left, want 2 names and a home", got)
		}
		_ = r.Close()
		if r.core.floors != 0 || r.core.rows != 0 {
			t.Fatalf("kept %+v", r.core.stats())
		}
		// Whatever else is stored, too.
		db, err := bolt.Open(path, 0o600, nil)
		if err != nil {
			t.Fatal(err)
		}
		err = db.Update(func(tx *bolt.Tx) error {
			if err := tx.DeleteBucket(bucketEntries); err != nil {
				return err
			}
			_, err := tx.CreateBucket(bucketEntries)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		_ = db.Close()
		r = open(t, path)
		if got := announce(t, r, 1, 2).Stamp; got <= last {
			t.Errorf("stamp %d after %d was given and dropped", got, last)
		}
		_ = r.Close()
		if len(r.core.droppedVector()) == 0 {
			t.Error("it does not remember having dropped anything")
		}
	})
}

func TestClientsOfAnUnreachableHomeAreHiddenAndComeBack(t *testing.T) {
	r := open(t, filepath.Join(t.TempDir(), "list"))
	other := newNode(7)
	for c := range 30 {
		announce(t, r, 1, c)
	}
	p := other.plan()
	id := announcement(1, 0).Torrent
	for c := 100; c < 140; c++ {
		p.announce(Asker{Addr: addr(c)}, id, true, 0, &Info{Name: "torrent 1", Size: 1})
	}
	merged := make(chan error, 1)
	r.Merge(p.puts, nil, func(err error) { merged <- err })
	if err := <-merged; err != nil {
		t.Fatal(err)
	}
	if got := len(seeders(r, 1)); got != 70 {
		t.Fatalf("%d are listed", got)
	}
	r.Hide([]NodeID{other.self.Node(), r.NodeID()}) // never its own
	seen := map[string]bool{}
	for range 300 {
		list, total := r.Seeders(nil, id, addr(3), 10)
		if len(list) != 10 || total != 29 {
			t.Fatalf("%d of %d", len(list), total)
		}
		for _, s := range list {
			seen[s.Addr.String()] = true
		}
	}
	if len(seen) != 29 {
		t.Errorf("300 samples showed %d of 29", len(seen))
	}
	if list, total := r.Seeders(nil, id, addr(3), 0); len(list) != 0 || total != 29 {
		t.Errorf("asked for none: %d of %d", len(list), total)
	}
	if n := r.Whole(id, addr(3)); n != 29 {
		t.Errorf("%d whole of 29", n)
	}
	r.Hide(nil)
	if n := r.Whole(id, Addr{}); n != 70 {
		t.Errorf("%d whole of 70", n)
	}
	if got := len(seeders(r, 1)); got != 70 {
		t.Errorf("%d are listed again", got)
	}
}

func TestRepairTakesTheNewerAndWhatIsMissing(t *testing.T) {
	a, b := newNode(0), newNode(1)
	echo := a.announced(one, 0)
	a.announced(two, echo)
	b.pull(t, a, false)
	p := a.plan()
	tn, cn := a.torrentNum[two], a.clientNum[alice]
	p.drops = append(p.drops, condemned{tn, cn, a.torrents[tn].rows[0].ref()})
	a.commit(p) // damage
	if len(a.listed()) != 1 {
		t.Fatal("no damage done")
	}
	at := a.vector().digest()
	if at != b.vector().digest() || a.buckets == b.buckets {
		t.Fatal("it cannot be seen")
	}
	p = a.plan()
	if n := p.repair(b.held([]byte{one[0]}), at); n != 0 {
		t.Errorf("%d entries of a bucket that is right", n)
	}
	if n := p.repair(b.held([]byte{two[0]}), b.core.vector().digest()); n != 1 {
		t.Errorf("%d entries were taken", n)
	}
	a.commit(p)
	if !slices.Equal(a.listed(), b.listed()) || a.buckets != b.buckets {
		t.Errorf("%q and %q", a.listed(), b.listed())
	}
	a.removed(one, 0)
	if n := a.plan().repair(b.held([]byte{one[0]}), at); n != 0 {
		t.Errorf("%d entries by a vector that has changed", n)
	}
}
