package client

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"testing"

	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// keyedPair are a sharer and one who wants the file, and knows nobody yet.
type keyedPair struct {
	network    *transporttest.Network
	a, b       *Client
	torrent    torrentfmt.ID
	data       []byte
	got        string
	idA, other peer.ID
}

func newKeyedPair(t *testing.T) *keyedPair {
	t.Helper()
	p := &keyedPair{network: transporttest.NewNetwork(), idA: peer.ID{1}, other: peer.ID{9}}
	dir := t.TempDir()
	node := func(id peer.ID, state string) *Client {
		c, _ := start(t, p.network.TransportOf(loopback, identity.ID(id)), filepath.Join(dir, state), func(o *Options) { o.ID = id })
		return c
	}
	p.a, p.b = node(p.idA, "a"), node(peer.ID{2}, "b")
	p.data = makeFile(t, filepath.Join(dir, "file"), 3<<20)
	mtorrent := filepath.Join(dir, "file.mtorrent")
	if _, err := p.a.Share(t.Context(), filepath.Join(dir, "file"), mtorrent, nil); err != nil {
		t.Fatal(err)
	}
	p.torrent, p.got = id(t, mtorrent), filepath.Join(dir, "got")
	if _, err := p.b.Get(t.Context(), mtorrent, p.got); err != nil {
		t.Fatal(err)
	}
	return p
}

// tell is what a tracker would: who has the file, and by which key.
func (p *keyedPair) tell(addr netip.AddrPort, node peer.ID) {
	p.b.peers.found(p.torrent, []wire.Seeder{{Addr: addr, Whole: true, Node: node}})
}

func TestPeerOfAnotherKeyIsLeftBeforeAnyData(t *testing.T) {
	p := newKeyedPair(t)
	l, err := p.network.TransportOf(loopback, identity.ID(p.other)).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := netip.MustParseAddrPort(l.Addr().String())
	p.tell(at, p.idA)
	sess, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if st, err := sess.Accept(t.Context()); err == nil {
		t.Errorf("a stream was opened to the wrong node: %v", st)
	}
	var end *transport.SessionError
	if !errors.As(sess.Err(), &end) || !end.Remote {
		t.Errorf("the session ended by %v", sess.Err())
	}
	p.tell(p.a.Addr(), p.idA)
	awaitDownloads(t, p.b)
	sameFile(t, p.got, p.data)
}

// Whoever is dialled because an older word of a tracker names no key is not asked
// for what a newer one says a certain node has.
func TestDialThatIsUnderWayIsNotTakenForOneOfAKey(t *testing.T) {
	p := newKeyedPair(t)
	l, err := p.network.TransportOf(loopback, identity.ID(p.other)).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	at := netip.MustParseAddrPort(l.Addr().String())
	p.tell(at, peer.ID{})
	anybody, err := l.Accept(ctx) // and says no hello, so the dial goes on
	if err != nil {
		t.Fatal(err)
	}
	defer anybody.Close()
	p.tell(at, p.idA)
	sess, err := l.Accept(ctx)
	if err != nil {
		t.Fatalf("the node is not dialled by its key: %v", err)
	}
	if st, err := sess.Accept(ctx); err == nil {
		t.Errorf("a stream was opened to the wrong node: %v", st)
	}
}

// intrude opens a session in the clear with b, as a node that is reached at a's
// address.
func (p *keyedPair) intrude(t *testing.T, claims peer.ID) transport.Session {
	t.Helper()
	sess, err := p.network.Transport(loopback).Dial(t.Context(), p.b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sess.Close() })
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	_, _ = peer.Dial(ctx, sess, peer.Self{ID: claims, Addr: p.a.Addr()}, p.a) // it may be ended in the middle
	return sess
}

func TestSessionInTheClearIsNotTakenForThatOfAKey(t *testing.T) {
	for name, claims := range map[string]func(*keyedPair) peer.ID{
		"of another ID":        func(p *keyedPair) peer.ID { return p.other },
		"that claims the same": func(p *keyedPair) peer.ID { return p.idA },
	} {
		t.Run(name, func(t *testing.T) {
			p := newKeyedPair(t)
			p.b.peers.mu.Lock()
			entered := p.b.peers.entered
			p.b.peers.mu.Unlock()
			p.intrude(t, claims(p))
			<-entered
			p.tell(p.a.Addr(), p.idA)
			awaitDownloads(t, p.b)
			sameFile(t, p.got, p.data)
		})
	}
}

func TestSessionThatProvesItsNodeBeatsOneThatClaimsIt(t *testing.T) {
	p := newKeyedPair(t)
	p.tell(p.a.Addr(), p.idA)
	awaitDownloads(t, p.b)
	held := func() *peer.Conn {
		p.b.peers.mu.Lock()
		defer p.b.peers.mu.Unlock()
		return p.b.peers.byID[p.idA]
	}
	proven := held()
	sess := p.intrude(t, p.idA)
	<-sess.Done()
	var end *transport.SessionError
	if !errors.As(sess.Err(), &end) || !end.Remote || end.Code != transport.Code(wire.Error_ERROR_DUPLICATE) {
		t.Errorf("the session ended by %v", sess.Err())
	}
	if now := held(); now == nil || now != proven || now.Err() != nil {
		t.Errorf("the proven session is replaced by %v", now)
	}
}

func TestPeerThatClaimsAnotherNodeThanItProvesIsRefused(t *testing.T) {
	p := newKeyedPair(t)
	sess, err := p.network.TransportOf(loopback, identity.ID(p.other)).Dial(t.Context(), p.b.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer sess.Close()
	if _, err := peer.Dial(t.Context(), sess, peer.Self{ID: p.idA, Addr: p.a.Addr()}, p.a); err == nil {
		t.Error("it was let in")
	}
	<-sess.Done()
}

// A client that always proves its key to trackers has them hold its entries for
// it; one that may come in the clear must be able to.
func TestClientIsListedByItsKeyWhereItAlwaysProvesIt(t *testing.T) {
	network := transporttest.NewNetwork()
	clear, proving := network.Transport(loopback), network.TransportOf(loopback, identity.ID{1})
	for name, c := range map[string]struct {
		table transport.Table
		keyed bool
	}{
		"always": {transport.Table{proving}, true},
		"never":  {transport.Table{clear}, false},
		"either": {transport.Table{clear, proving}, false},
	} {
		l, err := clear.Listen(t.Context(), "127.0.0.1:1")
		if err != nil {
			t.Fatal(err)
		}
		dir := t.TempDir()
		client, end := start(t, c.table[0], filepath.Join(dir, "state"), func(o *Options) { o.ID, o.Dial = peer.ID{1}, c.table })
		makeFile(t, filepath.Join(dir, "file"), 1000)
		shared := make(chan error, 1)
		go func() {
			_, err := client.Share(t.Context(), filepath.Join(dir, "file"), filepath.Join(dir, "file.mtorrent"), nil)
			shared <- err
		}()
		sess, err := l.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		st, err := sess.Accept(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hello, err := wire.ReadHello(st)
		if err != nil || hello.GetKeyed() != c.keyed {
			t.Errorf("%s: hello %v, %v", name, hello, err)
		}
		_ = sess.Close()
		_ = l.Close()
		if err := <-shared; err != nil {
			t.Error(err)
		}
		end()
	}
}
