// Package transporttest owns the proof of the contract in package transport:
// one suite that every carrier passes, one benchmark that compares them, and
// an in-memory carrier for tests and simulations of whole swarms.
package transporttest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/transport"
)

// patience is how long a step that must come to an end may take on a slow and
// busy machine before the test gives it up.
const patience = 60 * time.Second

// Run proves that tr keeps the contract of package transport. It listens on
// 127.0.0.1. After each part no goroutine may be left.
func Run(t *testing.T, tr transport.Transport) {
	parts := []struct {
		name string
		test func(*testing.T, transport.Transport)
	}{
		{"ListenerReportsItsRealPort", testListenerAddr},
		{"ListenerCloseUnblocksAccept", testListenerClose},
		{"ListenerAcceptEndsWithItsContext", testListenerContext},
		{"SessionsOutliveTheirListener", testSessionOutlivesListener},
		{"DialErrorNamesTheAddress", testDialError},
		{"SessionKnowsItsAddresses", testAddresses},
		{"SessionNamesItsPeer", testPeer},
		{"AcceptAndOpenEndWithTheirContext", testSessionContext},
		{"SessionEndReachesEveryWaiter", testSessionEnd},
		{"SessionCloseTwiceIsHarmless", testSessionCloseTwice},
		{"StreamsOpenFromBothSides", testBothSidesOpen},
		{"StreamsAreAcceptedInOrder", testAcceptOrder},
		{"ManyStreamsAtOnceBothWays", testManyStreams},
		{"ThousandStreamsOpenAtOnce", testThousandStreams},
		{"OpenWaitsAtThePeersLimit", testStreamLimit},
		{"StreamsAreFreed", testStreamsAreFreed},
		{"HalfClosedStreamStillAnswers", testHalfClose},
		{"EmptyStreamIsSeenWhenHalfClosed", testEmptyStream},
		{"CloseDeliversWhatWasWritten", testCloseDelivers},
		{"CloseTellsTheWriterToStop", testCloseStopsWriter},
		{"CloseTwiceIsHarmless", testCloseTwice},
		{"CloseUnblocksOwnReader", testCloseUnblocks},
		{"AbortReachesBothEnds", testAbort},
		{"AbortStopsAWritingPeer", testAbortWhilePeerWrites},
		{"AbortStopsItsOwnSide", testAbortOwnSide},
		{"PastDeadlineFailsAtOnce", testPastDeadline},
		{"DeadlineEndsABlockedRead", testReadDeadline},
		{"DeadlineEndsABlockedReadFull", testReadFullDeadline},
		{"DeadlineEndsABlockedWrite", testWriteDeadline},
		{"BufferIsLetGoAfterADeadline", testBufferLetGo},
		{"SlowReaderDoesNotBlockOthers", testSlowReader},
		{"ReadFullCrossesPieceBorders", testReadFull},
		{"ReadFullOfAShortStream", testReadFullShort},
		{"ReadFromSectionsOfOneFile", testReadFromFile},
		{"ReadFromAnyReader", testReadFromAny},
		{"ReadFromReportsTheReadersError", testReadFromError},
		{"SmallMessagesPipelined", testPipelined},
		{"LargeTransferBothWays", testLargeTransfer},
	}
	for _, p := range parts {
		t.Run(p.name, func(t *testing.T) {
			before := goleak.IgnoreCurrent()
			t.Cleanup(func() {
				if err := goleak.Find(before); err != nil {
					t.Errorf("left behind: %v", err)
				}
			})
			p.test(t, tr)
		})
	}
}

// pair is both ends of one session.
type pair struct {
	dialled, accepted transport.Session
}

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func listen(t testing.TB, tr transport.Transport) transport.Listener {
	t.Helper()
	l, err := tr.Listen(background(t), "127.0.0.1:0")
	if err != nil {
		t.Fatalf("Listen: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

func connect(t testing.TB, tr transport.Transport) pair {
	t.Helper()
	return connectTo(t, tr, listen(t, tr))
}

func connectTo(t testing.TB, tr transport.Transport, l transport.Listener) pair {
	t.Helper()
	ctx := background(t)
	type result struct {
		s   transport.Session
		err error
	}
	accepted := make(chan result, 1)
	go func() {
		s, err := l.Accept(ctx)
		accepted <- result{s, err}
	}()
	dialled, err := tr.Dial(ctx, l.Addr().String())
	if err != nil {
		t.Fatalf("Dial: %v", err)
	}
	t.Cleanup(func() { _ = dialled.Close() })
	r := <-accepted
	if r.err != nil {
		t.Fatalf("Accept: %v", r.err)
	}
	t.Cleanup(func() { _ = r.s.Close() })
	return pair{dialled, r.s}
}

// stream opens a stream from a to b. One byte each way goes first, so that
// both ends know that it stands.
func stream(t testing.TB, a, b transport.Session) (near, far transport.Stream) {
	t.Helper()
	near = open(t, a)
	mustWrite(t, near, []byte{'?'})
	far = accept(t, b)
	mustRead(t, far, []byte{'?'})
	mustWrite(t, far, []byte{'!'})
	mustRead(t, near, []byte{'!'})
	return near, far
}

func open(t testing.TB, s transport.Session) transport.Stream {
	t.Helper()
	st, err := s.Open(background(t))
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	return st
}

func accept(t testing.TB, s transport.Session) transport.Stream {
	t.Helper()
	st, err := s.Accept(background(t))
	if err != nil {
		t.Fatalf("Accept: %v", err)
	}
	return st
}

func mustWrite(t testing.TB, st transport.Stream, p []byte) {
	t.Helper()
	if n, err := st.Write(p); n != len(p) || err != nil {
		t.Fatalf("Write of %d bytes: %d, %v", len(p), n, err)
	}
}

func mustRead(t testing.TB, st transport.Stream, want []byte) {
	t.Helper()
	got := make([]byte, len(want))
	if n, err := st.ReadFull(got); n != len(got) || err != nil {
		t.Fatalf("ReadFull of %d bytes: %d, %v", len(got), n, err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("read other bytes than were written")
	}
}

func mustEOF(t testing.TB, st transport.Stream) {
	t.Helper()
	if n, err := st.Read(make([]byte, 16)); n != 0 || err != io.EOF {
		t.Fatalf("Read at the end: %d, %v; want 0, EOF", n, err)
	}
}

func mustClose(t testing.TB, st transport.Stream) {
	t.Helper()
	if err := st.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func mustCloseWrite(t testing.TB, st transport.Stream) {
	t.Helper()
	if err := st.CloseWrite(); err != nil {
		t.Fatalf("CloseWrite: %v", err)
	}
}

// wait fails the test when nothing comes from c in time.
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

// later runs f in a goroutine of its own and hands on its error.
func later(f func() error) <-chan error {
	c := make(chan error, 1)
	go func() { c <- f() }()
	return c
}

func wantAbort(t testing.TB, what string, err error, code transport.Code, remote bool) {
	t.Helper()
	var a *transport.AbortError
	if !errors.As(err, &a) {
		t.Fatalf("%s: %v; want an AbortError", what, err)
	}
	if a.Code != code || a.Remote != remote {
		t.Fatalf("%s: code %d, remote %v; want %d, %v", what, a.Code, a.Remote, code, remote)
	}
}

func wantEnded(t testing.TB, what string, err error, code transport.Code, remote bool) {
	t.Helper()
	var s *transport.SessionError
	if !errors.As(err, &s) || !errors.Is(err, net.ErrClosed) {
		t.Fatalf("%s: %v; want a SessionError that matches net.ErrClosed", what, err)
	}
	if s.Code != code || s.Remote != remote {
		t.Fatalf("%s: %v (code %d, remote %v); want code %d, remote %v", what, s, s.Code, s.Remote, code, remote)
	}
}

func wantDeadline(t testing.TB, what string, err error) {
	t.Helper()
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("%s: %v; want os.ErrDeadlineExceeded", what, err)
	}
}

// noise is n bytes that only seed tells apart from others.
func noise(seed uint64, n int) []byte {
	var key [32]byte
	for i := range 8 {
		key[i] = byte(seed >> (8 * i))
	}
	p := make([]byte, n)
	_, _ = rand.NewChaCha8(key).Read(p) // never fails
	return p
}

func sum(p []byte) [sha256.Size]byte { return sha256.Sum256(p) }

// readers and writers drive a stream until it fails.
func readUntilError(st transport.Stream) error {
	buf := make([]byte, 4096)
	for {
		if _, err := st.Read(buf); err != nil {
			return err
		}
	}
}

func writeUntilError(st transport.Stream) error {
	buf := make([]byte, 16<<10)
	for {
		if _, err := st.Write(buf); err != nil {
			return err
		}
	}
}
