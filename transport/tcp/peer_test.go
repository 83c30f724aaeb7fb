package tcp

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

// patience is how long a step may take on a slow machine.
const patience = 30 * time.Second

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func testListener(t testing.TB) transport.Listener {
	t.Helper()
	l, err := New(Options{}).Listen(testContext(t), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// testPair is both ends of one session.
func testPair(t testing.TB) (dialled, accepted *session) {
	t.Helper()
	l := testListener(t)
	d, err := New(Options{}).Dial(testContext(t), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	a, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = a.Close() })
	return d.(*session), a.(*session)
}

// rawPeer is a peer that keeps no rule of its own.
type rawPeer struct {
	t testing.TB
	net.Conn
}

func rawDial(t testing.TB, l transport.Listener) rawPeer {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return rawPeer{t, c}
}

// rawSession is a session whose dialler is a rawPeer.
func rawSession(t testing.TB) (rawPeer, *session) {
	t.Helper()
	l := testListener(t)
	p := rawDial(t, l)
	p.send([]byte(preface))
	s, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = p.Close() // first, or the session waits for it
		_ = s.Close()
	})
	got := make([]byte, len(preface))
	if _, err := io.ReadFull(p, got); err != nil || string(got) != preface {
		t.Fatalf("the acceptor's preface is %q, %v", got, err)
	}
	return p, s.(*session)
}

func (p rawPeer) send(b []byte) {
	p.t.Helper()
	if _, err := p.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

func (p rawPeer) frame(h header, payload []byte) {
	p.t.Helper()
	p.send(append(h.append(nil), payload...))
}

func (p rawPeer) data(id uint64, flags uint8, payload []byte) {
	p.t.Helper()
	p.frame(header{typ: frameData, flags: flags, value: uint32(len(payload)), id: id}, payload)
}

func accept(t testing.TB, s *session) *stream {
	t.Helper()
	st, err := s.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return st.(*stream)
}

func open(t testing.TB, s *session) *stream {
	t.Helper()
	st, err := s.Open(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	return st.(*stream)
}

// wantEnd waits for the end of s and checks its reason.
func wantEnd(t testing.TB, s *session, reason error) {
	t.Helper()
	wait(t, "the session's end", s.Done())
	var e *transport.SessionError
	if !errors.As(s.Err(), &e) || !errors.Is(e, reason) {
		t.Fatalf("the session ended with %v; want %v", s.Err(), reason)
	}
}

func wait[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case v := <-c:
		return v
	case <-timer.C:
		t.Fatalf("%s: nothing happened within %v", what, patience)
		panic("unreachable")
	}
}

func later(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	return c
}

// eventually waits for a state that gives no event of its own.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	limit := time.Now().Add(patience)
	for tick := time.NewTicker(time.Millisecond); ; <-tick.C {
		if ok() {
			tick.Stop()
			return
		}
		if time.Now().After(limit) {
			t.Fatalf("%s: not within %v", what, patience)
		}
	}
}
