package registry

import (
	"crypto/sha1"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/torrentfmt"
)

var (
	mallory = Asker{Addr: alice, Node: NodeID{66}}
	nobody  = Asker{Addr: alice}
	owner   = Asker{Addr: alice, Node: NodeID{1}}
)

func (n *node) announcedBy(by Asker, id torrentfmt.ID, echo Stamp) Result {
	return n.do(func(b *batch) Result { return b.announce(by, id, true, echo, &Info{Name: "n", Size: 1}) })
}

// attempts are all requests that change something.
func attempts(by Asker) map[string]func(*batch) Result {
	_, digest := (&user{has: map[torrentfmt.ID]bool{one: true}}).digest()
	return map[string]func(*batch) Result{
		"announce what is listed": func(b *batch) Result { return b.announce(by, one, true, maxStamp, nil) },
		"make it partial":         func(b *batch) Result { return b.announce(by, one, false, 0, nil) },
		"announce something else": func(b *batch) Result { return b.announce(by, two, true, 0, &Info{Name: "n"}) },
		"remove":                  func(b *batch) Result { return b.remove(by, one, 0) },
		"remove what it is not":   func(b *batch) Result { return b.remove(by, two, 0) },
		"leave":                   func(b *batch) Result { return b.leave(by, 0) },
		"renew":                   func(b *batch) Result { return b.renew(by, 1, digest, 0) },
		"renew something else":    func(b *batch) Result { return b.renew(by, 0, [sha1.Size]byte{}, 0) },
	}
}

// refuses proves that a tracker lets nobody but owner at alice's rows.
func refuses(t *testing.T, name string, n *node) {
	t.Helper()
	for _, by := range []Asker{nobody, mallory} {
		for what, f := range attempts(by) {
			b := n.plan()
			if res := f(b); res != (Result{Outcome: Owned}) || !b.empty() || len(b.given)+len(b.seen) > 0 {
				t.Errorf("%s: node %v may %s: %+v, %d entries", name, by.Node[0], what, res, len(b.puts))
			}
		}
	}
}

func TestRowsThatAKeyAnnouncedAreChangedByItAlone(t *testing.T) {
	a, b := newNode(0), newNode(1)
	if res := a.announcedBy(owner, one, 0); res.Outcome != Done {
		t.Fatalf("announced: %+v", res)
	}
	refuses(t, "where it was announced", a)
	b.pull(t, a, false)
	refuses(t, "where it was replicated to", b)
	a.start()
	b.start()
	refuses(t, "where it was announced, restarted", a)
	refuses(t, "where it was replicated to, restarted", b)

	// The owner goes to the other tracker, which dies, and comes back.
	echo := b.announcedBy(owner, one, 0).Stamp
	a.pull(t, b, false)
	refuses(t, "its former home", a)
	if res := a.announcedBy(owner, two, echo); res.Outcome != Done {
		t.Errorf("the owner may not announce where it was before: %+v", res)
	}
	if res := a.do(func(b *batch) Result { return b.remove(owner, two, 0) }); res.Outcome != Done || res.Rows != 1 {
		t.Errorf("the owner may not remove: %+v", res)
	}
	agree(t, []string{"1 1 whole=true"}, a, b)
}

func TestAddressOfAKeyIsFreeOnceNothingOfItIsListed(t *testing.T) {
	end := map[string]func(*node){
		"left":    func(n *node) { n.do(func(b *batch) Result { return b.leave(owner, 0) }) },
		"removed": func(n *node) { n.do(func(b *batch) Result { return b.remove(owner, one, 0) }) },
		"expired": func(n *node) { n.expired() },
	}
	for name, f := range end {
		a, b := newNode(0), newNode(1)
		a.announcedBy(owner, one, 0)
		f(a)
		b.pull(t, a, false)
		for _, n := range []*node{a, b} {
			if res := n.announcedBy(mallory, one, 0); res.Outcome != Done {
				t.Errorf("%s: another is still refused: %+v", name, res)
			}
		}
		for what, f := range attempts(owner) {
			if res := f(a.plan()); res.Outcome != Owned {
				t.Errorf("%s: the address is another's now, and its former owner may %s: %+v", name, what, res)
			}
		}
	}
}

// Both come before the first is durable.
func TestTwoKeysAtOnceAreNotBothServed(t *testing.T) {
	a := newNode(0)
	for name, before := range map[string]func(*batch){
		"a new client":              func(*batch) {},
		"one that had removed all":  func(b *batch) { b.remove(owner, one, 0) },
		"one whose row is replaced": func(b *batch) { b.announce(owner, one, false, 0, nil) },
	} {
		b := a.plan()
		b.announce(owner, one, true, 0, &Info{Name: "n", Size: 1})
		before(b)
		b.announce(owner, one, true, 0, nil)
		if res := b.announce(mallory, one, true, 0, nil); res.Outcome != Owned {
			t.Errorf("%s: %+v", name, res)
		}
		a.commit(b)
	}
}

// What anybody could have announced anybody may take over, from that address,
// and keep.
func TestKeyTakesOverWhatNobodyHasProven(t *testing.T) {
	a, b := newNode(0), newNode(1)
	a.announcedBy(nobody, one, 0)
	if res := a.announcedBy(owner, one, 0); res.Outcome != Done || res.Rows != 1 {
		t.Errorf("the key may not: %+v", res)
	}
	refuses(t, "here", a)
	b.pull(t, a, false)
	refuses(t, "there", b)
}

// Nobody can say when the lease of a client has ended whose home is silent.
func TestHiddenClientsAddressIsFree(t *testing.T) {
	a, b := newNode(0), newNode(1)
	a.announcedBy(owner, one, 0)
	b.pull(t, a, false)
	p := b.plan()
	p.hidden = map[NodeID]bool{a.self.Node(): true}
	if res := p.announce(mallory, one, true, 0, nil); res.Outcome != Done {
		t.Errorf("it is still held: %+v", res)
	}
	p = b.plan()
	p.hidden = map[NodeID]bool{{99}: true}
	if res := p.announce(mallory, one, true, 0, nil); res.Outcome != Owned {
		t.Errorf("another home is hidden: %+v", res)
	}
}

func TestOwnerSurvivesReopeningAndIsToldOfInLists(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	r := open(t, path)
	by := func(node NodeID) Announcement {
		a := announcement(1, 1)
		a.Node = node
		return a
	}
	call(t, func(done func(Result, error)) { r.Announce(by(NodeID{7}), done) })
	announce(t, r, 1, 2)
	for range 2 {
		list, _ := r.Seeders(nil, torrentfmt.HashID(hashesOf(1)), Addr{}, 10)
		slices.SortFunc(list, func(a, b Seeder) int { return a.Addr.Compare(b.Addr) })
		if len(list) != 2 || list[0].Node != (NodeID{7}) || list[1].Node != (NodeID{}) {
			t.Fatalf("listed: %v", list)
		}
		for _, node := range []NodeID{{}, {8}} {
			a := by(node)
			a.Info, a.Hashes = nil, nil
			if res, ok := r.Refresh(&a); ok {
				t.Errorf("node %v is told that it is listed: %+v", node[0], res)
			}
			for name, f := range map[string]func(func(Result, error)){
				"announce": func(done func(Result, error)) { r.Announce(a, done) },
				"remove":   func(done func(Result, error)) { r.Remove(a.Asker, a.Torrent, 0, done) },
				"leave":    func(done func(Result, error)) { r.Leave(a.Asker, 0, done) },
				"renew":    func(done func(Result, error)) { r.Renew(a.Asker, 0, [sha1.Size]byte{}, 0, done) },
			} {
				if res := call(t, f); res.Outcome != Owned {
					t.Errorf("node %v may %s: %+v", node[0], name, res)
				}
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		var told []ListedSeeder
		if _, err := Dump(path, func(l Listing) error { told = append(told, l.Seeders...); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(told) != 2 || told[0].Node != (NodeID{7}) {
			t.Errorf("the file says %v", told)
		}
		r = open(t, path)
	}
	// Its lease does end, whoever else asked meanwhile.
	if n := call(t, func(done func(Result, error)) { r.Expire(addr(1), -time.Second, done) }).Rows; n != 1 {
		t.Errorf("%d rows expired, want 1", n)
	}
	a := by(NodeID{8})
	if res := call(t, func(done func(Result, error)) { r.Announce(a, done) }); res.Outcome != Done {
		t.Errorf("after the lease: %+v", res)
	}
}

func TestNewFileIsItsKeysAndAnOldOneKeepsItsID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	for _, node := range []NodeID{{5}, {6}} {
		r, err := OpenAs(path, node)
		if err != nil {
			t.Fatal(err)
		}
		if r.NodeID() != (NodeID{5}) {
			t.Errorf("opened as %v it is %v", node, r.NodeID())
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
