package registry

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	bolt "go.etcd.io/bbolt"
)

func TestUnusableFileIsSetAsideUnderANameThatSaysWhy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	for range 2 { // the second within the same second
		if err := os.WriteFile(path, []byte(strings.Repeat("no seederlist\n", 1000)), 0o600); err != nil {
			t.Fatal(err)
		}
		_, why := Open(path)
		name, err := SetAside(path, why)
		if err != nil || !strings.HasPrefix(name, path+".foreign-") {
			t.Fatalf("%q (%v)", name, err)
		}
	}
	all, _ := filepath.Glob(path + "*")
	if len(all) != 2 {
		t.Errorf("left: %q", all)
	}
	open(t, path)
	_, why := Open(path)
	if name, err := SetAside(path, why); !errors.Is(err, ErrInUse) {
		t.Errorf("a file in use became %q (%v)", name, err)
	}
}

func TestStoppedTrackersFileIsRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	none := func(Listing) error { return nil }
	if _, err := Dump(path, none); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	r := open(t, path)
	for c := range 20 {
		announce(t, r, c%3, c)
	}
	call(t, func(done func(Result, error)) { r.Leave(Asker{Addr: addr(4)}, 0, done) })
	if _, err := Dump(path, none); !errors.Is(err, ErrInUse) {
		t.Errorf("running: %v", err)
	}
	want := map[string][]string{}
	for i := range 3 {
		want["torrent "+string(rune('0'+i))] = seeders(r, i)
	}
	node, vector := r.NodeID(), r.Vector()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(path)
	sum, err := Dump(path, func(l Listing) error {
		var got []string
		for _, s := range l.Seeders {
			got = append(got, s.Addr.String())
			if s.Home != node || time.Since(s.Since) > time.Hour {
				t.Errorf("%+v", s)
			}
		}
		slices.Sort(got)
		if !slices.Equal(got, want[l.Info.Name]) {
			t.Errorf("%q: %q, want %q", l.Info.Name, got, want[l.Info.Name])
		}
		delete(want, l.Info.Name)
		return nil
	})
	if err != nil || len(want) > 0 || sum.Node != node || sum.Listed != 19 || !sum.Vector.CoversAll(vector) {
		t.Errorf("%+v (%v), without %v", sum, err, want)
	}
	if now, _ := os.ReadFile(path); string(now) != string(before) {
		t.Error("reading changed the file")
	}
	stop := errors.New("enough")
	if _, err := Dump(path, func(Listing) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
}

var (
	bob   = NodeID{1: 1}
	carol = NodeID{1: 2}
)

func TestAcknowledgementsOfAllInStepAreWaitedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := open(t, filepath.Join(t.TempDir(), "list"))
		var lags []time.Duration
		r.ObserveLag(func(_ NodeID, d time.Duration) { lags = append(lags, d) })
		waits := func() *bool {
			over := false
			r.AfterAck(func() { over = true })
			return &over
		}
		announce(t, r, 1, 1)
		if !*waits() {
			t.Error("waits for nobody")
		}
		first := r.Vector()
		b := r.Attach(bob, nil)
		if !*waits() {
			t.Error("waits for one that is catching up")
		}
		c := r.Attach(carol, nil)
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		r.Acked(bob, first)
		r.Acked(carol, first)
		announce(t, r, 1, 2)
		wait := waits()
		r.Acked(bob, r.Vector())
		if *wait {
			t.Error("does not wait for the second")
		}
		time.Sleep(2 * time.Second) //nolint:forbidigo // virtual time
		for _, m := range r.Members() {
			if m.Node == carol && (m.Behind != 2 || m.Oldest != 2*time.Second || !m.Connected || m.Lag != time.Second) {
				t.Errorf("%+v", m)
			}
			if m.Node == bob && (m.Behind != 0 || m.Oldest != 0 || m.Lag != 0) {
				t.Errorf("%+v", m)
			}
		}
		c()
		if !*wait {
			t.Error("waits for one that is gone")
		}
		b()
		if !slices.Equal(lags, []time.Duration{time.Second, time.Second, 0}) {
			t.Errorf("lags %v", lags)
		}
	})
}

func TestAgeOfTheOldestIsNotUnderstated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAcks(Origin{1})
		for i := range uint64(3 * maxCommits) {
			a.committed(i + 1)
			time.Sleep(time.Millisecond) //nolint:forbidigo // virtual time
		}
		var m Member
		a.describe(&m, Vector{a.self: 3 * maxCommits})
		if want := 3 * maxCommits * time.Millisecond; m.Oldest != want {
			t.Errorf("oldest %v, want %v", m.Oldest, want)
		}
		if len(a.commits) > maxCommits {
			t.Errorf("%d marks", len(a.commits))
		}
	})
}

func TestMembersAreKeptAndForgotten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	r := open(t, path)
	r.Meet(bob)
	r.Meet(r.NodeID()) // never its own member
	r.Report(carol, nil)
	forget := func(n NodeID) bool {
		t.Helper()
		var known bool
		done := make(chan error, 1)
		r.Forget(n, func(k bool, err error) { known = k; done <- err })
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		return known
	}
	if !forget(bob) || forget(bob) || forget(NodeID{9}) {
		t.Error("what was forgotten was not what was known")
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = open(t, path)
	got := r.Members()
	if len(got) != 2 || got[0].Node != carol && got[1].Node != carol {
		t.Fatalf("%+v", got)
	}
	for _, m := range got {
		if m.Forgotten != (m.Node == bob) {
			t.Errorf("%+v", m)
		}
	}
	r.Meet(bob)
	announce(t, r, 1, 1) // behind it
	for _, m := range r.Members() {
		if m.Forgotten {
			t.Errorf("%+v was met again", m)
		}
	}
}

// A tracker that will not return cannot expire its clients.
func TestClientsOfAForgottenTrackerExpire(t *testing.T) {
	a, b := newNode(0), newNode(1)
	a.announced(one, 0)
	b.pull(t, a, false)
	if n := b.expired(); n != 0 {
		t.Fatalf("expired %d rows of a client that is at home elsewhere", n)
	}
	p := b.plan()
	p.forget(a.self.Node())
	b.commit(p)
	if n := b.expired(); n != 1 {
		t.Errorf("expired %d rows", n)
	}
}

// strip makes the file one of the first version.
func strip(t *testing.T, path string) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bolt.Tx) error {
		return errors.Join(
			tx.DeleteBucket(bucketMembers), tx.DeleteBucket(bucketDropped),
			tx.Bucket(bucketMeta).Put(keyVersion, []byte{0, 0, 0, 1}))
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestFileOfTheFirstVersionIsReadAndUpgraded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "list")
	r := open(t, path)
	announce(t, r, 1, 1)
	node := r.NodeID()
	_ = r.Close()
	strip(t, path)
	if sum, err := Dump(path, func(Listing) error { return nil }); err != nil || sum.Listed != 1 {
		t.Errorf("%+v (%v)", sum, err)
	}
	for range 2 {
		r = open(t, path)
		if r.NodeID() != node || len(seeders(r, 1)) != 1 {
			t.Errorf("node %v lists %v", r.NodeID(), seeders(r, 1))
		}
		r.Meet(bob)
		_ = r.Close()
	}
}
