package tcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

func TestBytesBeyondTheCreditEndTheSession(t *testing.T) {
	p, s := rawSession(t)
	p.data(1, flagOpen, make([]byte, transport.InitialCredit))
	st := accept(t, s)
	eventually(t, "the first bytes", func() bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		return st.unread.n == transport.InitialCredit
	})
	if s.Err() != nil {
		t.Fatalf("the credit was kept, and yet: %v", s.Err())
	}
	p.data(1, 0, make([]byte, 1))
	wantEnd(t, s, ErrCredit)
}

func TestMoreStreamsThanAllowedEndTheSession(t *testing.T) {
	p, s := rawSession(t)
	for i := range uint64(transport.MaxStreams) {
		p.data(1+2*i, flagOpen, nil)
	}
	for range transport.MaxStreams {
		accept(t, s)
	}
	if s.Err() != nil {
		t.Fatalf("the limit was kept, and yet: %v", s.Err())
	}
	p.data(1+2*transport.MaxStreams, flagOpen, nil)
	wantEnd(t, s, ErrStreams)
}

func TestStreamsAbortedBeforeAcceptLeaveNothing(t *testing.T) {
	p, s := rawSession(t)
	var frames []byte
	const n = 5 * transport.MaxStreams
	for i := range uint64(n) {
		frames = header{typ: frameData, flags: flagOpen, value: 4, id: 1 + 2*i}.append(frames)
		frames = append(frames, "data"...)
		frames = header{typ: frameAbort, value: 1, id: 1 + 2*i}.append(frames)
	}
	p.send(frames)
	p.data(1+2*n, flagOpen, nil)
	eventually(t, "the last stream", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return s.nextPeer > 1+2*n
	})
	if st := accept(t, s); st.id != 1+2*n {
		t.Fatalf("accepted stream %d, which was aborted", st.id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.streams) != 1 || len(s.incoming) != 0 || s.peerOpen != 1 {
		t.Fatalf("%d streams, %d to accept, %d of the peer's; want 1, 0, 1", len(s.streams), len(s.incoming), s.peerOpen)
	}
}

func TestFramesOfFreedStreamsAreDropped(t *testing.T) {
	p, s := rawSession(t)
	p.data(1, flagOpen, []byte("one"))
	accept(t, s).Abort(3)
	p.data(1, 0, make([]byte, maxPayload))
	p.frame(header{typ: frameCredit, value: 100, id: 1}, nil)
	p.frame(header{typ: frameStop, id: 1}, nil)
	p.frame(header{typ: frameAbort, id: 1}, nil)
	p.data(1, flagFin, nil)
	p.data(3, flagOpen, []byte("two"))
	got := make([]byte, 3)
	if _, err := accept(t, s).ReadFull(got); err != nil || string(got) != "two" {
		t.Fatalf("the next stream gave %q, %v", got, err)
	}
}

func TestFramesThatBreakTheRulesEndTheSession(t *testing.T) {
	for name, send := range map[string]func(p rawPeer){
		"UnknownType":       func(p rawPeer) { p.frame(header{typ: 9, id: 1}, nil) },
		"UnknownFlag":       func(p rawPeer) { p.frame(header{typ: frameData, flags: 8, id: 1}, nil) },
		"LongFrame":         func(p rawPeer) { p.frame(header{typ: frameData, flags: 1, value: maxPayload + 1, id: 1}, nil) },
		"NeverOpened":       func(p rawPeer) { p.data(1, 0, []byte{1}) },
		"CreditNeverOpened": func(p rawPeer) { p.frame(header{typ: frameCredit, value: 1, id: 7}, nil) },
		"OpenedByAnother":   func(p rawPeer) { p.data(2, flagOpen, nil) },
		"OwnStream":         func(p rawPeer) { p.data(2, 0, []byte{1}) },
		"OpenedTwice":       func(p rawPeer) { p.data(1, flagOpen, nil); p.data(1, flagOpen, nil) },
		"BehindTheEnd":      func(p rawPeer) { p.data(1, flagOpen|flagFin, nil); p.data(1, 0, []byte{1}) },
		"EndlessCredit": func(p rawPeer) {
			p.data(1, flagOpen, nil)
			credit := header{typ: frameCredit, value: 1<<32 - 1, id: 1}.append(nil)
			p.send(bytes.Repeat(credit, maxCredit>>32+2))
		},
		"CodeTooLarge": func(p rawPeer) {
			p.data(1, flagOpen, nil)
			p.frame(header{typ: frameAbort, value: transport.CodeLimit, id: 1}, nil)
		},
		"HugeID": func(p rawPeer) { p.data(1<<63+1, flagOpen, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			p, s := rawSession(t)
			send(p)
			wantEnd(t, s, ErrFrame)
			if _, err := io.Copy(io.Discard, p); err != nil && !errors.Is(err, net.ErrClosed) {
				var op *net.OpError
				if !errors.As(err, &op) || op.Timeout() {
					t.Fatalf("the connection stays: %v", err)
				}
			}
		})
	}
}

func TestLostConnectionIsNamed(t *testing.T) {
	p, s := rawSession(t)
	p.data(1, flagOpen, nil)
	st := accept(t, s)
	reading := later(func() error { _, err := st.ReadFull(make([]byte, 1<<20)); return err })
	// The reader's credit may be on its way: closing both directions could
	// answer it with a reset instead of an end.
	if err := p.Conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	wantEnd(t, s, io.ErrUnexpectedEOF)
	if err := wait(t, "the reader", reading); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("ReadFull: %v; want the session's error", err)
	}
}

func TestStrangerIsDroppedAtItsFirstByte(t *testing.T) {
	l := testListener(t)
	p := rawDial(t, l)
	p.send([]byte("G"))
	if n, err := p.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("an HTTP client got %d bytes, %v; want the end", n, err)
	}
}

func TestDiallerNoticesAnotherProtocol(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	serving := later(func() error {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err = c.Write([]byte("HTTP/1.1 400 Bad Request\r\n")); err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, c) // until the dialler leaves
		return nil
	})
	s, err := New(Options{}).Dial(testContext(t), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	wantEnd(t, s.(*session), ErrNotMux)
	if err := wait(t, "the server", serving); err != nil {
		t.Fatal(err)
	}
}

func TestSilentConnectionsDoNotHoldUpAPeer(t *testing.T) {
	l := testListener(t)
	first := rawDial(t, l)
	for range maxHandshakes {
		rawDial(t, l)
	}
	if n, err := first.Read(make([]byte, 1)); n != 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the oldest silent connection got %d bytes, %v; want the end", n, err)
	}
	s, err := New(Options{}).Dial(testContext(t), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	a, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if a.RemoteAddr().String() != s.LocalAddr().String() {
		t.Fatalf("accepted %v, want %v", a.RemoteAddr(), s.LocalAddr())
	}
	tl := l.(*listener)
	tl.mu.Lock()
	defer tl.mu.Unlock()
	if n := tl.halfOpen.Len(); n > maxHandshakes {
		t.Fatalf("%d connections half open", n)
	}
}

// stuckWriter is a session with a stream in the middle of a frame that the
// peer does not take.
func stuckWriter(t *testing.T) (p rawPeer, s *session, writing <-chan error) {
	p, s = rawSession(t)
	p.data(1, flagOpen, nil)
	for range 4 {
		p.frame(header{typ: frameCredit, value: 64 << 20, id: 1}, nil)
	}
	st := accept(t, s)
	writing = later(func() error {
		buf := make([]byte, 1<<20)
		for {
			if _, err := st.Write(buf); err != nil {
				return err
			}
		}
	})
	last := int64(-1)
	same := 0
	eventually(t, "a full socket", func() bool { // for 50 ms nothing moved
		s.mu.Lock()
		defer s.mu.Unlock()
		if st.credit == last && s.writing {
			same++
		} else {
			last, same = st.credit, 0
		}
		return same > 50
	})
	return p, s, writing
}

func TestPeerThatTakesNothingLosesTheSession(t *testing.T) {
	_, s := rawSession(t)
	s.mu.Lock()
	s.stall = 100 * time.Millisecond
	s.mu.Unlock()
	st := open(t, s)
	s.mu.Lock()
	st.credit = 1 << 30
	s.mu.Unlock()
	_, err := st.Write(make([]byte, 256<<20))
	wantEnd(t, s, ErrStalled)
	if !errors.Is(err, ErrStalled) || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write: %v; want ErrStalled, and no deadline of the caller's", err)
	}
}

func TestNothingWaitsForAPeerThatTakesNothing(t *testing.T) {
	p, s, writing := stuckWriter(t)
	p.data(3, flagOpen, []byte("hello"))
	p.data(5, flagOpen, []byte("hello"))
	p.data(7, flagOpen, []byte("hello"))

	st := accept(t, s)
	if err := st.SetDeadline(time.Now().Add(20 * time.Millisecond)); err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("Write behind a full socket: %v; want its deadline", err)
	}
	ending := later(func() error {
		st.Abort(1)
		st := accept(t, s)
		if err := st.CloseWrite(); err != nil {
			return err
		}
		if err := st.Close(); err != nil {
			return err
		}
		return accept(t, s).Close()
	})
	if err := wait(t, "Abort, CloseWrite and Close", ending); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if d := time.Since(start); d > 10*closeWait {
		t.Fatalf("Close took %v", d)
	}
	if err := wait(t, "the writer", writing); !errors.Is(err, net.ErrClosed) {
		t.Fatalf("Write: %v; want the session's end", err)
	}
}

func TestPeerThatCausesControlFramesAndReadsNoneLosesTheSession(t *testing.T) {
	p, s, writing := stuckWriter(t)
	for id := uint64(3); s.Err() == nil; id += 2 {
		if _, err := p.Write(header{typ: frameData, flags: flagOpen, id: id}.append(nil)); err != nil {
			break
		}
		st, err := s.Accept(testContext(t))
		if err != nil {
			break
		}
		st.Abort(1)
	}
	wantEnd(t, s, ErrControl)
	_ = wait(t, "the writer", writing)
}

func TestWhatNobodyReadsIsBoundedOverAllSessions(t *testing.T) {
	const limit, sessions, streams = 2 << 20, 8, 16
	unread := transport.NewBudget(limit)
	l, err := New(Options{Unread: unread}).Listen(testContext(t), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()

	// One that asks and is answered, before and after.
	honest, err := New(Options{}).Dial(testContext(t), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = honest.Close() }()
	served, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = served.Close() }()

	var hogs []*session
	for range sessions { // 8 MiB in all
		p := rawDial(t, l)
		p.send([]byte(preface))
		s, err := l.Accept(testContext(t))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		hogs = append(hogs, s.(*session))
		var frames []byte
		for i := range uint64(streams) {
			frames = header{typ: frameData, flags: flagOpen, value: transport.InitialCredit, id: 1 + 2*i}.append(frames)
			frames = append(frames, make([]byte, transport.InitialCredit)...)
		}
		_, _ = p.Write(frames) // it may be thrown out in the middle
	}
	over := 0
	eventually(t, "bytes within the budget", func() bool {
		held := int64(0)
		over = 0
		for _, s := range hogs {
			if s.Err() != nil {
				over++
				continue
			}
			s.mu.Lock()
			for _, st := range s.streams {
				st.mu.Lock()
				held += int64(len(st.unread.buf))
				st.mu.Unlock()
			}
			s.mu.Unlock()
		}
		return over > 0 && held <= limit && unread.Used() <= limit
	})
	for _, s := range hogs {
		if err := s.Err(); err != nil && !errors.Is(err, ErrUnread) {
			t.Errorf("a session has ended with %v", err)
		}
	}
	if over == sessions {
		t.Error("all were thrown out, although some have room")
	}

	go func() {
		st, err := served.Accept(t.Context())
		if err != nil {
			return
		}
		_, _ = io.Copy(st, st)
		_ = st.CloseWrite()
	}()
	st, err := honest.Open(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := st.Write(make([]byte, 50<<10)); err != nil {
		t.Fatal(err)
	}
	if err := st.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(st); err != nil || len(b) != 50<<10 {
		t.Errorf("the honest one got %d bytes back, %v", len(b), err)
	}
}
