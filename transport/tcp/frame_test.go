package tcp

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

func FuzzHeader(f *testing.F) {
	for _, h := range []header{
		{typ: frameData, flags: flagOpen, value: maxPayload, id: 1},
		{typ: frameData, flags: flagOpen | flagFin, id: idLimit - 1},
		{typ: frameCredit, value: 1<<32 - 1, id: 2},
		{typ: frameStop, id: 3},
		{typ: frameAbort, value: transport.CodeLimit - 1, id: 4},
		{typ: frameClose, value: 7},
		{typ: frameClose, value: 7, id: 1},
		{typ: 0xff, flags: 0xff, value: 1<<32 - 1, id: 1<<64 - 1},
	} {
		f.Add(h.append(nil))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < headerSize {
			return
		}
		h, err := parseHeader(b)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatalf("an untyped error: %v", err)
			}
			return
		}
		if !bytes.Equal(h.append(nil), b[:headerSize]) {
			t.Fatalf("%x is read as %+v, which is written as %x", b[:headerSize], h, h.append(nil))
		}
		if h.typ == frameData && h.value > maxPayload {
			t.Fatal("a payload over the limit")
		}
	})
}

// FuzzSession feeds a session with what a stranger may send. It must end, must
// not panic, and must hold no more than the credit it gave.
func FuzzSession(f *testing.F) {
	data := func(id uint64, flags uint8, payload string) []byte {
		return append(header{typ: frameData, flags: flags, value: uint32(len(payload)), id: id}.append(nil), payload...)
	}
	join := func(frames ...[]byte) []byte { return bytes.Join(frames, nil) }
	f.Add(join(data(1, flagOpen|flagFin, "hello")))
	f.Add(join(data(1, flagOpen, "he"), data(3, flagOpen, "other"), data(1, flagFin, "llo")))
	f.Add(join(data(1, flagOpen, "x"), header{typ: frameAbort, value: 5, id: 1}.append(nil), data(1, 0, "late")))
	f.Add(join(data(1, flagOpen, ""), header{typ: frameCredit, value: 1 << 20, id: 1}.append(nil)))
	f.Add(join(data(1, flagOpen, ""), header{typ: frameStop, id: 1}.append(nil), data(5, flagOpen, "")))
	f.Add(join(data(1, flagOpen, string(make([]byte, 70000)))))
	f.Add(join(data(1, flagOpen, string(make([]byte, 65536))), data(1, flagFin, "y")))
	f.Add(header{typ: frameClose, value: 3}.append(nil))
	f.Add(data(2, 0, "not ours"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, peer := tcpPair(t)
		s, err := newSession(c, nil, false, transport.NewBudget(transport.UnreadBudget))
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		served := later(func() error {
			for {
				opened, err := s.Accept(t.Context())
				if err != nil {
					return nil // the session is over, as it shall
				}
				st := opened.(*stream)
				buf := make([]byte, 1+len(in)%5000)
				if len(in)%2 == 0 {
					_, _ = st.ReadFull(buf) // any end will do
				} else {
					_, _ = st.Read(buf)
				}
				_, _ = st.Write(buf[:min(len(buf), 1000)])
				st.mu.Lock()
				held := len(st.unread.buf)
				st.mu.Unlock()
				if held > transport.InitialCredit+2*len(buf) {
					return errors.New("a stream holds more than its credit")
				}
				if len(in)%3 == 0 {
					st.Abort(1)
				} else {
					_ = st.Close()
				}
			}
		})
		go func() { _, _ = io.Copy(io.Discard, peer) }()
		if _, err := peer.Write(in); err == nil {
			_ = peer.CloseWrite()
		}
		wait(t, "the session's end", s.Done())
		if err := wait(t, "the server", served); err != nil {
			t.Fatal(err)
		}
		_ = peer.Close()
	})
}

func tcpPair(t testing.TB) (a, b *net.TCPConn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.(*net.TCPListener).SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	d, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	a, b = c.(*net.TCPConn), d.(*net.TCPConn)
	for _, c := range []*net.TCPConn{a, b} {
		// Thousands of pairs in TIME_WAIT would leave the kernel no port.
		if err := c.SetLinger(0); err != nil {
			t.Fatal(err)
		}
	}
	return a, b
}
