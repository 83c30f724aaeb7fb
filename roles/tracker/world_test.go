package tracker

import (
	"context"
	"crypto/sha1"
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
	"github.com/mtor-dev/mtor/transport/identity"
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
	return w.say(sess, &wire.Hello{Version: wire.Version, Role: role, NodeId: make([]byte, 20)})
}

func (w *world) say(sess transport.Session, hello *wire.Hello) error {
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*time.Second)
	defer cancel()
	return greetAs(ctx, sess, hello)
}

func greet(ctx context.Context, sess transport.Session, role wire.Role) error {
	return greetAs(ctx, sess, &wire.Hello{Version: wire.Version, Role: role, NodeId: make([]byte, 20)})
}

func greetAs(ctx context.Context, sess transport.Session, hello *wire.Hello) error {
	st, err := sess.Open(ctx)
	if err != nil {
		return err
	}
	if err := wire.Write(st, hello); err != nil {
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
	return w.ask(sess, addr)
}

// callBy is call by a client that proves to be a node, and wants to be listed
// as that.
func (w *world) callBy(node identity.ID, tracker, addr string) *caller {
	w.t.Helper()
	at := netip.MustParseAddrPort(addr)
	sess, err := w.net.TransportOf(at.Addr(), node).Dial(w.t.Context(), tracker)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = sess.Close() })
	if err := w.say(sess, keyed(node)); err != nil {
		w.t.Fatal(err)
	}
	return w.ask(sess, addr)
}

func keyed(node identity.ID) *wire.Hello {
	return &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: node[:], Keyed: true}
}

// ask opens the stream of requests.
func (w *world) ask(sess transport.Session, addr string) *caller {
	w.t.Helper()
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
