package tracker

import (
	"bytes"
	"context"
	"crypto/sha1"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	addrA = "10.0.0.1:7000"
	addrB = "10.0.0.2:7000"
)

// world is a network with trackers A and B on it. Every test runs in a
// synctest bubble, so sleeping is free and settles everything.
type world struct {
	t    *testing.T
	net  *transporttest.Network
	dir  string
	stop map[string]func()
	// running are those that were started last.
	running map[string]*Tracker
	// limits, if set, are those of trackers started from now on, and change
	// changes their options.
	limits *limits
	change func(*Options)
}

func inWorld(t *testing.T, f func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: transporttest.NewNetwork(), dir: t.TempDir(), stop: map[string]func(){}, running: map[string]*Tracker{}}
		defer func() {
			for _, stop := range w.stop {
				stop()
			}
		}()
		f(t, w)
	})
}

func (w *world) table(ip string) transport.Table {
	return transport.Table{w.net.Transport(netip.MustParseAddr(ip))}
}

// file is the seederlist file of the tracker at addr.
func (w *world) file(addr string) string {
	return filepath.Join(w.dir, netip.MustParseAddrPort(addr).Addr().String())
}

// start starts the tracker at addr, on the file it had before.
func (w *world) start(addr string, peers ...string) {
	w.t.Helper()
	if err := w.try(addr, peers...); err != nil {
		w.t.Fatal(err)
	}
}

// try is start for what may be refused.
func (w *world) try(addr string, peers ...string) error {
	at := netip.MustParseAddrPort(addr)
	table := w.table(at.Addr().String())
	o := Options{
		Addr:           addr,
		Peers:          peers,
		SeederlistFile: w.file(addr),
		Listen:         table,
		Dial:           table,
		Lease:          time.Minute,
		limits:         w.limits,
	}
	if w.change != nil {
		w.change(&o)
	}
	tr, err := New(w.t.Context(), o)
	if err != nil {
		return err
	}
	w.running[addr] = tr
	ctx, cancel := context.WithCancel(w.t.Context())
	done := make(chan error, 1)
	go func() { done <- tr.Run(ctx) }()
	w.stop[addr] = func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("tracker %s: %v", addr, err)
		}
	}
	return nil
}

func (w *world) kill(addr string) {
	w.stop[addr]()
	delete(w.stop, addr)
}

func (w *world) pair() {
	w.start(addrA, addrB)
	w.start(addrB, addrA)
	w.settle()
}

// settle lets the trackers find each other and pass on what they have.
func (w *world) settle() { w.pass(2 * time.Second) }

func (w *world) pass(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // virtual time

// caller is a client's session with a tracker.
type caller struct {
	t     *testing.T
	sess  transport.Session
	st    transport.Stream
	in    *wire.Reader
	addr  string
	stamp uint64
}

func (w *world) hello(sess transport.Session, role wire.Role) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	return greet(ctx, sess, role)
}

func greet(ctx context.Context, sess transport.Session, role wire.Role) error {
	st, err := sess.Open(ctx)
	if err != nil {
		return err
	}
	if err := wire.Write(st, &wire.Hello{Version: wire.Version, Role: role, NodeId: make([]byte, 20)}); err != nil {
		return err
	}
	if _, err = wire.ReadHello(st); err != nil {
		return err
	}
	return st.Close()
}

// call connects a client with the given address to a tracker.
func (w *world) call(tracker, addr string) *caller {
	w.t.Helper()
	at := netip.MustParseAddrPort(addr)
	sess, err := w.table(at.Addr().String()).Dial(w.t.Context(), tracker)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = sess.Close() })
	if err := w.hello(sess, wire.Role_ROLE_CLIENT); err != nil {
		w.t.Fatal(err)
	}
	st, err := sess.Open(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := wire.Write(st, &wire.Open{Kind: &wire.Open_Requests{Requests: &wire.Requests{}}}); err != nil {
		w.t.Fatal(err)
	}
	return &caller{t: w.t, sess: sess, st: st, in: wire.NewReader(st), addr: addr}
}

func (c *caller) send(req *wire.Request, hashes []byte) {
	c.t.Helper()
	if req.Addr == "" {
		req.Addr = c.addr
	}
	req.Stamp = c.stamp
	b, err := wire.Append(nil, req)
	if err != nil {
		c.t.Fatal(err)
	}
	if _, err := c.st.Write(append(b, hashes...)); err != nil {
		c.t.Fatal(err)
	}
}

func (c *caller) receive() *wire.Reply {
	c.t.Helper()
	r := new(wire.Reply)
	if err := c.in.Next(r, wire.MaxMessage); err != nil {
		c.t.Fatalf("no reply: %v", err)
	}
	c.stamp = max(c.stamp, r.GetStamp())
	return r
}

func (c *caller) do(req *wire.Request, hashes []byte) *wire.Reply {
	c.t.Helper()
	c.send(req, hashes)
	return c.receive()
}

// ok is do for what must succeed.
func (c *caller) ok(req *wire.Request, hashes []byte) *wire.Reply {
	c.t.Helper()
	r := c.do(req, hashes)
	if r.GetError() != wire.Error_ERROR_NONE {
		c.t.Fatalf("refused: %v: %s", r.GetError(), r.GetMessage())
	}
	return r
}

// file is a torrent made of a seed.
type file struct {
	name   string
	size   uint64
	hashes []byte
}

func fileOf(seed string, pieces int) file {
	f := file{name: seed, size: uint64(pieces) * torrentfmt.PieceSize}
	for i := range pieces {
		d := sha1.Sum(fmt.Append(nil, seed, i))
		f.hashes = append(f.hashes, d[:]...)
	}
	return f
}

func (f file) id() []byte {
	id := torrentfmt.HashID(f.hashes)
	return id[:]
}

func announce(f file, whole bool) *wire.Request {
	return &wire.Request{Kind: &wire.Request_Announce{Announce: &wire.Announce{
		TorrentId: f.id(), Whole: whole, Want: 50,
	}}}
}

func announceNew(f file, whole bool) *wire.Request {
	req := announce(f, whole)
	a := req.GetAnnounce()
	a.Filename, a.Filesize, a.HashLength = f.name, f.size, uint64(len(f.hashes))
	return req
}

func remove(f file) *wire.Request {
	return &wire.Request{Kind: &wire.Request_Remove{Remove: &wire.Remove{TorrentId: f.id()}}}
}

func leave() *wire.Request {
	return &wire.Request{Kind: &wire.Request_Leave{Leave: &wire.Leave{}}}
}

func renew(files ...file) *wire.Request {
	var sum [sha1.Size]byte
	for _, f := range files {
		d := sha1.Sum(append(f.id(), 1))
		for i := range sum {
			sum[i] ^= d[i]
		}
	}
	return &wire.Request{Kind: &wire.Request_Renew{Renew: &wire.Renew{Torrents: uint32(len(files)), Digest: sum[:]}}}
}

// share announces f as whole, with its hash string if asked for.
func (c *caller) share(f file) {
	c.t.Helper()
	if r := c.do(announce(f, true), nil); r.GetError() == wire.Error_ERROR_NEED_HASHES {
		c.ok(announceNew(f, true), f.hashes)
	} else if r.GetError() != wire.Error_ERROR_NONE {
		c.t.Fatalf("refused: %v: %s", r.GetError(), r.GetMessage())
	}
}

// listed asks a tracker for a torrent's peers, as a stranger.
func (w *world) listed(tracker string, f file) []string {
	w.t.Helper()
	c := w.call(tracker, "10.9.9.9:9999")
	r := c.ok(&wire.Request{Kind: &wire.Request_SeederList{SeederList: &wire.SeederList{TorrentId: f.id(), Want: 200}}}, nil)
	_ = c.sess.Close()
	list, err := r.GetSeeders().Unpack()
	if err != nil {
		w.t.Fatal(err)
	}
	out := []string{}
	for _, s := range list {
		out = append(out, s.String())
	}
	slices.Sort(out)
	if int(r.GetSeeders().GetTotal()) != len(out) {
		w.t.Errorf("total %d of %v", r.GetSeeders().GetTotal(), out)
	}
	return out
}

func (w *world) expect(tracker string, f file, want ...string) {
	w.t.Helper()
	if got := w.listed(tracker, f); !slices.Equal(got, want) {
		w.t.Errorf("tracker %s lists %v, want %v", tracker, got, want)
	}
}

func TestAnnouncedThroughOneIsListedByTheOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("image", 3)
		w.call(addrA, "10.1.0.1:1").share(f)
		w.call(addrB, "10.1.0.2:2").ok(announceNew(f, false), f.hashes)
		w.settle()
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f, "10.1.0.1:1+", "10.1.0.2:2")
		}
		// B learned the hash string from A: nobody needs to send it again.
		w.call(addrB, "10.1.0.3:3").ok(announce(f, true), nil)
	})
}

func TestTrackerThatWasDownCatchesUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		old, now := fileOf("old", 1), fileOf("new", 2)
		w.call(addrB, "10.1.0.1:1").share(old)
		w.settle()
		w.kill(addrB)
		c := w.call(addrA, "10.1.0.2:2")
		c.share(now)
		c.share(old)
		w.start(addrB, addrA)
		w.settle()
		w.expect(addrB, old, "10.1.0.1:1+", "10.1.0.2:2+")
		w.expect(addrB, now, "10.1.0.2:2+")
	})
}

func TestRemovedThroughTheOtherStaysRemoved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		a := w.call(addrA, "10.1.0.1:1")
		a.share(f)
		w.settle()
		w.kill(addrA)
		b := w.call(addrB, "10.1.0.1:1")
		b.stamp = a.stamp
		b.ok(renew(f), nil)
		b.ok(remove(f), nil)
		w.kill(addrB)
		w.start(addrA, addrB) // still lists the client
		w.expect(addrA, f, "10.1.0.1:1+")
		w.start(addrB, addrA)
		w.settle()
		w.expect(addrA, f)
		w.expect(addrB, f)
	})
}

func TestRemovalReachesATrackerBeforeTheRowItRemoves(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA, addrB)
		f := fileOf("f", 1)
		a := w.call(addrA, "10.1.0.1:1")
		a.share(f)
		w.kill(addrA)
		w.start(addrB, addrA)
		b := w.call(addrB, "10.1.0.1:1")
		b.stamp = a.stamp
		b.ok(remove(f), nil) // B has never heard of f
		w.start(addrA, addrB)
		w.settle()
		w.expect(addrA, f)
		w.expect(addrB, f)
	})
}

func TestLeaveEndsEveryRowAtBothTrackers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f, g := fileOf("f", 1), fileOf("g", 1)
		c := w.call(addrA, "10.1.0.1:1")
		c.share(f)
		c.share(g)
		c.ok(leave(), nil)
		c.share(g) // came back
		w.settle()
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f)
			w.expect(tracker, g, "10.1.0.1:1+")
		}
	})
}

func TestForeignAddressIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		f := fileOf("f", 1)
		c := w.call(addrA, "10.1.0.1:1")
		c.share(f)
		for _, addr := range []string{"10.1.0.2:1", "[2001:db8::1]:1"} {
			for _, req := range []*wire.Request{announce(f, true), remove(f), leave(), renew(f)} {
				req.Addr = addr
				r := c.do(req, nil)
				if r.GetError() != wire.Error_ERROR_FOREIGN_ADDRESS {
					t.Errorf("%s: %v (%s)", addr, r.GetError(), r.GetMessage())
				}
				ip := netip.MustParseAddrPort(addr).Addr().String()
				if !bytes.Contains([]byte(r.GetMessage()), []byte(ip)) || !bytes.Contains([]byte(r.GetMessage()), []byte("10.1.0.1")) {
					t.Errorf("%q does not name both addresses", r.GetMessage())
				}
			}
		}
		w.expect(addrA, f, "10.1.0.1:1+")
	})
}

func TestUnspecifiedAddressStandsForTheSource(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		f := fileOf("f", 1)
		c := w.call(addrA, "10.1.0.1:1")
		for _, addr := range []string{"0.0.0.0:5", "[::]:6", "[::ffff:10.1.0.1]:7"} {
			req := announceNew(f, true)
			req.Addr = addr
			c.ok(req, f.hashes)
		}
		w.expect(addrA, f, "10.1.0.1:5+", "10.1.0.1:6+", "10.1.0.1:7+")
	})
}

func TestBadAddressIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		for _, addr := range []string{"10.1.0.1", "10.1.0.1:0", "host:1", "[fe80::1%eth0]:1", "10.1.0.1:65536"} {
			req := leave()
			req.Addr = addr
			if r := c.do(req, nil); r.GetError() != wire.Error_ERROR_BAD_REQUEST {
				t.Errorf("%q: %v", addr, r.GetError())
			}
		}
	})
}

func TestPipelinedRequestsAreAnsweredInOrder(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		// A writer of its own: there are more requests than the tracker holds
		// at once.
		const n = 500
		sent := make(chan struct{})
		go func() {
			defer close(sent)
			for i := range n {
				f := fileOf(fmt.Sprint("f", i%7), 1)
				c.send(announceNew(f, true), f.hashes)
				c.send(announce(f, true), nil) // again: changes nothing
				c.send(remove(f), nil)
				c.send(&wire.Request{Kind: &wire.Request_Remove{Remove: &wire.Remove{TorrentId: []byte("short")}}}, nil)
				c.send(&wire.Request{Kind: &wire.Request_SeederList{SeederList: &wire.SeederList{TorrentId: f.id()}}}, nil)
			}
		}()
		in := wire.NewReader(c.st)
		var last uint64
		for i := range 5 * n {
			var r wire.Reply
			if err := in.Next(&r, wire.MaxMessage); err != nil {
				t.Fatal(err)
			}
			want := wire.Error_ERROR_NONE
			if i%5 == 3 {
				want = wire.Error_ERROR_BAD_REQUEST
			}
			if r.GetError() != want {
				t.Fatalf("reply %d: %v (%s), want %v", i, r.GetError(), r.GetMessage(), want)
			}
			if s := r.GetStamp(); s != 0 && s < last {
				t.Fatalf("reply %d: stamp %d after %d", i, s, last)
			} else if s != 0 {
				last = s
			}
			if (r.GetSeeders() != nil) != (i%5 == 0 || i%5 == 1 || i%5 == 4) {
				t.Fatalf("reply %d is that of another request: %v", i, &r)
			}
		}
		<-sent
		for i := range 7 {
			w.expect(addrA, fileOf(fmt.Sprint("f", i), 1))
		}
	})
}

func TestUnknownTorrentNeedsItsHashString(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		f := fileOf("f", 5)
		if r := c.do(announce(f, true), nil); r.GetError() != wire.Error_ERROR_NEED_HASHES {
			t.Fatalf("got %v", r.GetError())
		}
		for name, spoil := range map[string]func(*wire.Announce){
			"another torrent's hash string": func(a *wire.Announce) { a.TorrentId = fileOf("g", 5).id() },
			"a filename with a separator":   func(a *wire.Announce) { a.Filename = "../f" },
			"too small a file":              func(a *wire.Announce) { a.Filesize = 1 },
			"too large a file":              func(a *wire.Announce) { a.Filesize = 1 << 60 },
		} {
			req := announceNew(f, true)
			spoil(req.GetAnnounce())
			if r := c.do(req, f.hashes); r.GetError() != wire.Error_ERROR_BAD_REQUEST {
				t.Errorf("%s: %v", name, r.GetError())
			}
		}
		req := announceNew(f, true) // a known client, a foreign address, in step all the same
		req.Addr = "10.1.0.77:1"
		if r := c.do(req, f.hashes); r.GetError() != wire.Error_ERROR_FOREIGN_ADDRESS {
			t.Errorf("foreign address: %v", r.GetError())
		}
		w.expect(addrA, f)
		c.ok(announceNew(f, true), f.hashes)
		w.expect(addrA, f, "10.1.0.1:1+")
	})
}

func TestEmptyFileIsListed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("empty", 0)
		w.call(addrA, "10.1.0.1:1").share(f)
		w.settle()
		w.expect(addrB, f, "10.1.0.1:1+")
	})
}

func TestLargeHashStringReachesTheOtherTracker(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("large", 200_000) // 4 MB of hash string
		small := fileOf("small", 1)
		c := w.call(addrA, "10.1.0.1:1")
		c.share(f)
		c.share(small)
		w.settle()
		w.kill(addrA)
		w.expect(addrB, f, "10.1.0.1:1+")
		w.expect(addrB, small, "10.1.0.1:1+")
		w.call(addrB, "10.1.0.2:1").ok(announce(f, true), nil)
	})
}

func TestAskerIsNotInItsOwnSample(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		f := fileOf("f", 1)
		for i := range 30 {
			w.call(addrA, fmt.Sprintf("10.1.0.%d:1", i+1)).share(f)
		}
		c := w.call(addrA, "10.1.0.7:1")
		seen := map[netip.AddrPort]bool{}
		for range 200 {
			req := announce(f, true)
			req.GetAnnounce().Want = 10
			r := c.ok(req, nil)
			list, err := r.GetSeeders().Unpack()
			if err != nil || len(list) != 10 || r.GetSeeders().GetTotal() != 29 {
				t.Fatalf("%d of %d (%v)", len(list), r.GetSeeders().GetTotal(), err)
			}
			once := map[netip.AddrPort]bool{}
			for _, s := range list {
				if s.Addr.String() == c.addr || once[s.Addr] {
					t.Fatalf("sample %v", list)
				}
				once[s.Addr], seen[s.Addr] = true, true
			}
		}
		if len(seen) != 29 {
			t.Errorf("200 samples showed %d of 29 peers", len(seen))
		}
	})
}

func TestSilentClientExpiresAndRenewingOneStays(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		silent, alive := w.call(addrA, "10.1.0.1:1"), w.call(addrA, "10.1.0.2:2")
		silent.share(f)
		alive.share(f)
		for range 6 {
			w.pass(15 * time.Second)
			alive.ok(renew(f), nil)
		}
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f, "10.1.0.2:2+")
		}
		if r := silent.do(renew(f), nil); r.GetError() != wire.Error_ERROR_NEED_LIST {
			t.Errorf("renewal of an expired row: %v", r.GetError())
		}
	})
}

func TestClientThatMovedStaysListedWhenItsOldHomeExpiresIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		a := w.call(addrA, "10.1.0.1:1")
		a.share(f)
		w.settle()
		w.kill(addrB)
		w.start(addrB) // B does not dial A: the cut is one-way, then both
		w.kill(addrA)
		b := w.call(addrB, "10.1.0.1:1")
		b.stamp = a.stamp
		b.ok(renew(f), nil)
		w.kill(addrB)
		w.start(addrA)
		w.pass(2 * time.Minute) // A finds the client silent
		w.expect(addrA, f)
		w.kill(addrA)
		w.start(addrB, addrA)
		w.start(addrA, addrB)
		w.settle()
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f, "10.1.0.1:1+")
		}
	})
}

// ending waits for a session to be ended by the tracker.
func ending(t *testing.T, sess transport.Session) wire.Error {
	t.Helper()
	<-sess.Done()
	var end *transport.SessionError
	if !errors.As(sess.Err(), &end) || !end.Remote {
		t.Fatalf("session ended: %v", sess.Err())
	}
	return wire.Error(end.Code)
}

func TestStrangersTrackerIsRefused(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA, addrB)
		sess, err := w.table("10.7.7.7").Dial(t.Context(), addrA)
		if err != nil {
			t.Fatal(err)
		}
		_ = w.hello(sess, wire.Role_ROLE_TRACKER)
		if got := ending(t, sess); got != wire.Error_ERROR_BAD_REQUEST {
			t.Errorf("ended with %v", got)
		}
	})
}

func TestClientCannotPull(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA, addrB)
		sess, err := w.table("10.0.0.2").Dial(t.Context(), addrA)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.hello(sess, wire.Role_ROLE_CLIENT); err != nil {
			t.Fatal(err)
		}
		st, err := sess.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Write(st, &wire.Open{Kind: &wire.Open_Pull{Pull: &wire.Pull{}}}); err != nil {
			t.Fatal(err)
		}
		if got := ending(t, sess); got != wire.Error_ERROR_BAD_REQUEST {
			t.Errorf("ended with %v", got)
		}
	})
}

func TestMalformedRequestEndsItsSessionOnly(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		good := w.call(addrA, "10.1.0.1:1")
		for name, b := range map[string][]byte{
			"garbage":             {5, 0xff, 0xff, 0xff, 0xff, 0xff},
			"an over-long length": {0xff, 0xff, 0xff, 0xff, 0x7f},
			"an endless hash string": func() []byte {
				req := announceNew(fileOf("f", 1), true)
				req.GetAnnounce().HashLength = 1 << 40
				b, _ := wire.Append(nil, req)
				return b
			}(),
			"half a request": {100, 1},
		} {
			bad := w.call(addrA, "10.1.0.2:2")
			if _, err := bad.st.Write(b); err != nil {
				t.Fatal(err)
			}
			want := wire.Error_ERROR_BAD_REQUEST
			if name == "half a request" {
				want = wire.Error_ERROR_TIMEOUT
			}
			if got := ending(t, bad.sess); got != want {
				t.Errorf("%s: ended with %v, want %v", name, got, want)
			}
			good.share(fileOf("f", 1))
		}
	})
}

func TestIdleSessionIsClosed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		if got := ending(t, c.sess); got != wire.Error_ERROR_TIMEOUT {
			t.Errorf("ended with %v", got)
		}
		mute, err := w.table("10.1.0.1").Dial(t.Context(), addrA)
		if err != nil {
			t.Fatal(err)
		}
		if got := ending(t, mute); got != wire.Error_ERROR_TIMEOUT {
			t.Errorf("without a hello: ended with %v", got)
		}
	})
}
