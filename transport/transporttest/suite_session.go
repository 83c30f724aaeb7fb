package transporttest

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

func testListenerAddr(t *testing.T, tr transport.Transport) {
	l := listen(t, tr)
	at, err := netip.ParseAddrPort(l.Addr().String())
	if err != nil {
		t.Fatalf("Addr %q: %v", l.Addr(), err)
	}
	if at.Port() == 0 || at.Addr().Unmap() != netip.AddrFrom4([4]byte{127, 0, 0, 1}) {
		t.Fatalf("Addr is %v, want 127.0.0.1 with a port", at)
	}
}

func testListenerClose(t *testing.T, tr transport.Transport) {
	l := listen(t, tr)
	ctx := background(t)
	waiting := later(func() error { _, err := l.Accept(ctx); return err })
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	if err := wait(t, "Accept during Close", waiting); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Accept during Close: %v; want net.ErrClosed", err)
	}
	if _, err := l.Accept(ctx); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Accept after Close: %v; want net.ErrClosed", err)
	}
}

func testListenerContext(t *testing.T, tr transport.Transport) {
	l := listen(t, tr)
	ctx, cancel := context.WithCancel(context.Background())
	waiting := later(func() error { _, err := l.Accept(ctx); return err })
	cancel()
	if err := wait(t, "Accept", waiting); !errors.Is(err, context.Canceled) {
		t.Fatalf("Accept: %v; want context.Canceled", err)
	}
	connectTo(t, tr, l) // the listener is none the worse
}

func testSessionOutlivesListener(t *testing.T, tr transport.Transport) {
	l := listen(t, tr)
	p := connectTo(t, tr, l)
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	near, far := stream(t, p.dialled, p.accepted)
	mustClose(t, near)
	mustClose(t, far)
}

func testDialError(t *testing.T, tr transport.Transport) {
	l := listen(t, tr)
	addr := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	check := func(ctx context.Context) error {
		_, err := tr.Dial(ctx, addr)
		var d *transport.DialError
		if !errors.As(err, &d) {
			t.Fatalf("Dial: %v; want a DialError", err)
		}
		if d.Scheme != tr.Scheme || d.Addr != addr || d.Err == nil {
			t.Fatalf("DialError is %+v", d)
		}
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	_ = check(ctx) // its shape is all that counts here
	ended, end := context.WithCancel(context.Background())
	end()
	if err := check(ended); !errors.Is(err, context.Canceled) {
		t.Fatalf("Dial with a cancelled context: %v", err)
	}
}

func testAddresses(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	if p.dialled.Scheme() != tr.Scheme || p.accepted.Scheme() != tr.Scheme {
		t.Fatalf("schemes %q and %q; want %q", p.dialled.Scheme(), p.accepted.Scheme(), tr.Scheme)
	}
	if a, b := p.dialled.RemoteAddr().String(), p.accepted.LocalAddr().String(); a != b {
		t.Fatalf("the dialler sees %s, the acceptor is %s", a, b)
	}
	a, errA := netip.ParseAddrPort(p.dialled.LocalAddr().String())
	b, errB := netip.ParseAddrPort(p.accepted.RemoteAddr().String())
	if errA != nil || errB != nil {
		t.Fatalf("addresses are not ip:port: %v, %v", errA, errB)
	}
	// A dialler on a shared UDP socket may know its port but not its IP.
	if a.Port() != b.Port() || !a.Addr().IsUnspecified() && a.Addr() != b.Addr() {
		t.Fatalf("the dialler is %v, the acceptor sees %v", a, b)
	}
}

// testPeer asks two dials whom they have met: a carrier that proves something
// gives both the same listener, and the listener one dialler.
func testPeer(t *testing.T, tr transport.Transport) {
	l := listen(t, tr)
	first, second := connectTo(t, tr, l), connectTo(t, tr, l)
	for _, p := range []pair{first, second} {
		if tr.Proves == p.dialled.Peer().IsZero() || tr.Proves == p.accepted.Peer().IsZero() {
			t.Fatalf("the dialler met %v, the acceptor %v; the carrier proves them: %v", p.dialled.Peer(), p.accepted.Peer(), tr.Proves)
		}
	}
	if first.dialled.Peer() != second.dialled.Peer() || first.accepted.Peer() != second.accepted.Peer() {
		t.Fatal("the same node is another one the next time")
	}
}

func testSessionContext(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	ctx, cancel := context.WithCancel(context.Background())
	waiting := later(func() error { _, err := p.accepted.Accept(ctx); return err })
	cancel()
	if err := wait(t, "Accept", waiting); !errors.Is(err, context.Canceled) {
		t.Fatalf("Accept: %v; want context.Canceled", err)
	}
	if _, err := p.dialled.Open(ctx); !errors.Is(err, context.Canceled) {
		t.Fatalf("Open: %v; want context.Canceled", err)
	}
	near, far := stream(t, p.dialled, p.accepted) // the session is none the worse
	mustClose(t, near)
	mustClose(t, far)
}

// testSessionEnd puts a goroutine into every call that can wait, on both
// sides, and ends the session under them: once from each side, with and
// without a code.
func testSessionEnd(t *testing.T, tr transport.Transport) {
	for _, end := range []struct {
		name       string
		code       transport.Code
		byDialler  bool
		withoutArg bool
	}{
		{"DiallerAborts", 7, true, false},
		{"AcceptorAborts", transport.CodeLimit - 1, false, false},
		{"DiallerCloses", 0, true, true},
		{"AcceptorCloses", 0, false, true},
	} {
		t.Run(end.name, func(t *testing.T) {
			p := connect(t, tr)
			type waiter struct {
				what string
				at   transport.Session
				err  <-chan error
			}
			var waiters []waiter
			add := func(what string, at transport.Session, f func() error) {
				waiters = append(waiters, waiter{what, at, later(f)})
			}
			ctx := background(t)
			var left []transport.Stream
			for _, from := range []struct{ a, b transport.Session }{{p.dialled, p.accepted}, {p.accepted, p.dialled}} {
				near, far := stream(t, from.a, from.b)
				add("Read", from.a, func() error { return readUntilError(near) })
				add("Write", from.a, func() error { return writeUntilError(near) }) // nobody reads it
				left = append(left, near, far)
			}
			// Behind the others: a stream that is opened without a word could be
			// accepted in place of one that was opened after it.
			for _, at := range []transport.Session{p.dialled, p.accepted} {
				add("ReadFull", at, func() error {
					st, err := at.Open(ctx)
					if err != nil {
						return err
					}
					_, err = st.ReadFull(make([]byte, 512<<10))
					return err
				})
			}
			// Each side has accepted all that was written by now.
			add("Accept", p.dialled, func() error { _, err := p.dialled.Accept(ctx); return err })
			add("Accept", p.accepted, func() error { _, err := p.accepted.Accept(ctx); return err })

			by, other := p.dialled, p.accepted
			if !end.byDialler {
				by, other = other, by
			}
			if by.Err() != nil {
				t.Fatalf("Err before the end: %v", by.Err())
			}
			var err error
			if end.withoutArg {
				err = by.Close()
			} else {
				err = by.Abort(end.code)
			}
			if err != nil {
				t.Fatalf("ending the session: %v", err)
			}
			wait(t, "Done here", by.Done())
			wait(t, "Done there", other.Done())
			for _, w := range waiters {
				wantEnded(t, w.what, wait(t, w.what, w.err), end.code, w.at == other)
			}
			for _, s := range []transport.Session{by, other} {
				remote := s == other
				wantEnded(t, "Err", s.Err(), end.code, remote)
				_, err := s.Open(ctx)
				wantEnded(t, "Open after the end", err, end.code, remote)
				_, err = s.Accept(ctx)
				wantEnded(t, "Accept after the end", err, end.code, remote)
			}
			for _, st := range left {
				_, err := st.Read(make([]byte, 1))
				if !errors.Is(err, net.ErrClosed) {
					t.Fatalf("Read after the end: %v", err)
				}
				_, err = st.Write(make([]byte, 1))
				if !errors.Is(err, net.ErrClosed) {
					t.Fatalf("Write after the end: %v", err)
				}
				st.Abort(3)
				_ = st.Close() // may report the ended session
			}
		})
	}
}

func testSessionCloseTwice(t *testing.T, tr transport.Transport) {
	p := connect(t, tr)
	for range 3 {
		if err := p.dialled.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	if err := p.dialled.Abort(9); err != nil {
		t.Fatalf("Abort after Close: %v", err)
	}
	wantEnded(t, "Err", p.dialled.Err(), 0, false)
	wait(t, "the peer's Done", p.accepted.Done())
	if err := p.accepted.Abort(9); err != nil {
		t.Fatalf("Abort after the peer's Close: %v", err)
	}
	wantEnded(t, "the peer's Err", p.accepted.Err(), 0, true)
}
