package tcp

import (
	"bytes"
	"crypto/sha1"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

const pieceSize = 512 << 10

// pattern is n bytes, no two pages of which are the same.
func pattern(n int) []byte {
	p := make([]byte, 0, n+sha1.Size)
	for sum := sha1.Sum(nil); len(p) < n; sum = sha1.Sum(sum[:]) {
		p = append(p, sum[:]...)
	}
	return p[:n]
}

// fetch moves one piece from far to near, the way a download does.
func fetch(t testing.TB, near, far *session, piece, buf []byte) {
	t.Helper()
	st := open(t, near)
	if _, err := st.Write([]byte("piece, please")); err != nil {
		t.Fatal(err)
	}
	sending := later(func() error {
		st := accept(t, far)
		if _, err := st.Write(piece); err != nil {
			return err
		}
		return st.Close()
	})
	if n, err := st.ReadFull(buf); n != len(piece) || err != nil {
		t.Fatalf("ReadFull: %d, %v", n, err)
	}
	if err := wait(t, "the sender", sending); err != nil {
		t.Fatal(err)
	}
	if err := st.Close(); err != nil {
		t.Fatal(err)
	}
}

// What comes after the first credit was granted by ReadFull itself, so its
// buffer is posted by then, whatever the timing.
func TestPostedBufferIsReceivedIntoWithoutACopy(t *testing.T) {
	near, far := testPair(t)
	piece, buf := pattern(pieceSize), make([]byte, pieceSize)
	const pieces = 20
	for range pieces {
		clear(buf)
		fetch(t, near, far, piece, buf)
		if !bytes.Equal(buf, piece) {
			t.Fatal("the piece arrived changed")
		}
	}
	_ = near.Close() // the read loop is over
	if least := int64(pieces * (pieceSize - transport.InitialCredit)); near.rx.direct < least {
		t.Fatalf("%d bytes went straight to the reader; want at least %d", near.rx.direct, least)
	}
}

// sendPart sends the start of a frame to a stream whose reader is about to
// wait, and returns when the read loop waits for the rest with the reader's
// buffer in its hands.
func sendPart(p rawPeer, st *stream, size uint32, part []byte) {
	p.t.Helper()
	eventually(p.t, "the reader to post its buffer", func() bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		return st.post != nil
	})
	p.frame(header{typ: frameData, value: size, id: st.id}, part)
	eventually(p.t, "the loop to take the buffer", func() bool {
		st.mu.Lock()
		defer st.mu.Unlock()
		return st.lent && st.postN == len(part)
	})
}

func TestDeadlineTakesTheBufferBackInTheMiddleOfAFrame(t *testing.T) {
	p, s := rawSession(t)
	const size, first = 60 << 10, 10 << 10
	data := pattern(size)
	p.data(1, flagOpen, nil)
	st := accept(t, s)
	buf := make([]byte, size)
	type result struct {
		n   int
		err error
	}
	done := make(chan result, 1)
	go func() {
		n, err := st.ReadFull(buf)
		done <- result{n, err}
	}()
	sendPart(p, st, size, data[:first])
	if err := st.SetDeadline(time.Now()); err != nil {
		t.Fatal(err)
	}
	r := wait(t, "ReadFull", done)
	if r.n != first || !errors.Is(r.err, os.ErrDeadlineExceeded) {
		t.Fatalf("ReadFull: %d, %v; want %d and its deadline", r.n, r.err, first)
	}
	if !bytes.Equal(buf[:first], data[:first]) {
		t.Fatal("the first bytes are wrong")
	}
	for i := range buf {
		buf[i] = 0xEE
	}
	p.send(data[first:]) // the rest of the frame
	p.data(3, flagOpen, []byte("other"))
	other := make([]byte, 5)
	if _, err := accept(t, s).ReadFull(other); err != nil || string(other) != "other" {
		t.Fatalf("the other stream gave %q, %v", other, err)
	}
	if err := st.SetDeadline(time.Time{}); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, size-first)
	if _, err := st.ReadFull(rest); err != nil || !bytes.Equal(rest, data[first:]) {
		t.Fatalf("the rest was lost: %v", err)
	}
	for i := range buf {
		if buf[i] != 0xEE {
			t.Fatal("the buffer was written to after it had been given back")
		}
	}
}

func TestAbortTakesTheBufferBackInTheMiddleOfAFrame(t *testing.T) {
	p, s := rawSession(t)
	p.data(1, flagOpen, nil)
	st := accept(t, s)
	reading := later(func() error { _, err := st.ReadFull(make([]byte, 100<<10)); return err })
	sendPart(p, st, 60<<10, make([]byte, 10<<10))
	st.Abort(4)
	var a *transport.AbortError
	if err := wait(t, "ReadFull", reading); !errors.As(err, &a) || a.Code != 4 || a.Remote {
		t.Fatalf("ReadFull: %v; want the abort", err)
	}
	p.send(make([]byte, 50<<10)) // the rest of the frame is dropped
	p.data(3, flagOpen, []byte("other"))
	other := make([]byte, 5)
	if _, err := accept(t, s).ReadFull(other); err != nil || string(other) != "other" {
		t.Fatalf("the other stream gave %q, %v", other, err)
	}
}

// A thousand streams of which nobody reads any cost what their credit says.
func TestThousandUnreadStreamsAreBounded(t *testing.T) {
	near, far := testPair(t)
	const n = 1000
	full := make([]byte, transport.InitialCredit)
	for range n {
		if _, err := open(t, near).Write(full); err != nil {
			t.Fatal(err)
		}
	}
	streams := make([]*stream, n)
	for i := range streams {
		streams[i] = accept(t, far)
	}
	// The others are full now; a stream that is read is none the worse.
	st := open(t, near)
	if _, err := st.Write([]byte("through")); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if _, err := accept(t, far).ReadFull(got); err != nil || string(got) != "through" {
		t.Fatalf("read %q, %v", got, err)
	}
	var held int
	for _, st := range streams {
		st.mu.Lock()
		held += len(st.unread.buf)
		st.mu.Unlock()
	}
	if held > n*transport.InitialCredit {
		t.Fatalf("%d streams hold %d bytes; want at most %d", n, held, n*transport.InitialCredit)
	}
}

// The code must arrive although both ends are in the middle of sending.
func TestCloseCodeReachesAPeerThatIsBusySending(t *testing.T) {
	for range 10 {
		near, far := testPair(t)
		var working []<-chan error
		for _, s := range []struct{ a, b *session }{{near, far}, {far, near}} {
			st := open(t, s.a)
			working = append(working, later(func() error {
				buf := make([]byte, 256<<10)
				for {
					if _, err := st.Write(buf); err != nil {
						return err
					}
				}
			}))
			working = append(working, later(func() error {
				st, err := s.b.Accept(testContext(t))
				if err != nil {
					return err
				}
				_, err = io.Copy(io.Discard, st)
				return err
			}))
		}
		eventually(t, "both directions to flow", func() bool {
			flows := func(s *session) bool {
				s.mu.Lock()
				defer s.mu.Unlock()
				for _, st := range s.streams {
					st.mu.Lock()
					moved := st.window != transport.InitialCredit
					st.mu.Unlock()
					if moved {
						return true
					}
				}
				return false
			}
			return flows(near) && flows(far)
		})
		if err := near.Abort(9); err != nil {
			t.Fatal(err)
		}
		wait(t, "the peer's end", far.Done())
		var e *transport.SessionError
		if !errors.As(far.Err(), &e) || e.Code != 9 || !e.Remote {
			t.Fatalf("the peer's session ended with %v; want code 9", far.Err())
		}
		for _, w := range working {
			if err := wait(t, "a worker", w); err == nil {
				t.Fatal("a stream ended well in a session that was aborted")
			}
		}
	}
}

func TestDialsFromItsLocalIP(t *testing.T) {
	l := testListener(t)
	local := netip.MustParseAddr("127.0.0.2")
	d, err := New(Options{LocalIP: local}).Dial(testContext(t), l.Addr().String())
	if err != nil {
		if runtime.GOOS != "linux" {
			t.Skipf("this system has no %v: %v", local, err)
		}
		t.Fatal(err)
	}
	defer d.Close()
	a, err := l.Accept(testContext(t))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	if got := netip.MustParseAddrPort(a.RemoteAddr().String()).Addr(); got != local {
		t.Fatalf("the session comes from %v, want %v", got, local)
	}
}

func tempFile(t testing.TB, data []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}
