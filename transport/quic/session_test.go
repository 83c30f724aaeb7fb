package quic

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/transport"
)

func TestVanishedPeerIsNoticed(t *testing.T) {
	t.Parallel()
	c := newTestCarrier(t, Options{IdleTimeout: 3 * time.Second})
	l := mustListen(t, c, "127.0.0.1:0")
	dialled, accepted := connect(t, c, l)
	near, _ := streamBetween(t, dialled, accepted)
	reading := make(chan error, 1)
	go func() {
		_, err := near.Read(make([]byte, 1))
		reading <- err
	}()
	_ = l.socket.udp.Close() // the host is gone: nothing is sent any more
	wait(t, "the session's end", dialled.Done())
	for what, err := range map[string]error{"Err": dialled.Err(), "Read": wait(t, "Read", reading)} {
		se, ok := errors.AsType[*transport.SessionError](err)
		if !ok || se.Remote || se.Code != 0 {
			t.Fatalf("%s: %v", what, err)
		}
		if _, ok := errors.AsType[*quicgo.IdleTimeoutError](se.Err); !ok || !errors.Is(err, net.ErrClosed) {
			t.Errorf("%s: %v; want the idle timeout", what, err)
		}
	}
}

// TestQuietSessionOutlivesTheIdleTimeout gives a session several tries: a
// machine that stands still for longer than the timeout ends any session.
func TestQuietSessionOutlivesTheIdleTimeout(t *testing.T) {
	t.Parallel()
	const idle, tries = 2 * time.Second, 5
	c := newTestCarrier(t, Options{IdleTimeout: idle})
	l := mustListen(t, c, "127.0.0.1:0")
	for try := 1; ; try++ {
		dialled, _ := connect(t, c, l)
		quiet := time.NewTimer(idle + idle/2)
		select {
		case <-quiet.C:
			return
		case <-dialled.Done():
			if try == tries {
				t.Fatalf("%d sessions in a row ended, the last with %v", tries, dialled.Err())
			}
		}
	}
}

func TestEndedSessionFreesItsSocketUnasked(t *testing.T) {
	c := newTestCarrier(t, Options{})
	dialled, accepted := connect(t, c, mustListen(t, c, "127.0.0.1:0"))
	if err := accepted.Abort(9); err != nil {
		t.Fatal(err)
	}
	wait(t, "the socket's release", dialled.(*session).freed)
	udp, err := net.ListenPacket("udp4", dialled.LocalAddr().String())
	if err != nil {
		t.Fatalf("the dialled session's port is not free: %v", err)
	}
	_ = udp.Close()
}

func TestEveryWaitingAcceptGetsAStream(t *testing.T) {
	c := newTestCarrier(t, Options{})
	dialled, accepted := connect(t, c, mustListen(t, c, "127.0.0.1:0"))
	const n = 8
	for range 200 {
		var acceptors sync.WaitGroup
		for range n {
			acceptors.Go(func() {
				st, err := accepted.Accept(background(t))
				if err != nil {
					t.Error(err)
					return
				}
				_ = st.Close()
			})
		}
		var streams [n]transport.Stream
		for i := range streams {
			var err error
			if streams[i], err = dialled.Open(background(t)); err != nil {
				t.Fatal(err)
			}
		}
		// The last one's end makes all of them visible in one go.
		for _, st := range slices.Backward(streams[:]) {
			_ = st.Close()
		}
		acceptors.Wait()
	}
}

func TestCloseUnderAWriteIsNoCleanEnd(t *testing.T) {
	c := newTestCarrier(t, Options{})
	dialled, accepted := connect(t, c, mustListen(t, c, "127.0.0.1:0"))
	near, far := streamBetween(t, dialled, accepted)
	writing := make(chan error, 1)
	go func() {
		_, err := near.Write(make([]byte, 2*connectionWindow)) // more than fits
		writing <- err
	}()
	if _, err := far.ReadFull(make([]byte, 1)); err != nil { // it writes
		t.Fatal(err)
	}
	_ = near.Close()
	if err := wait(t, "Write", writing); !errors.Is(err, net.ErrClosed) {
		t.Errorf("Write under Close: %v", err)
	}
	_, err := io.Copy(io.Discard, far)
	if abort, ok := errors.AsType[*transport.AbortError](err); !ok || !abort.Remote || abort.Code != 0 {
		t.Errorf("the reader of half a write got %v", err)
	}
	_ = far.Close()
}

func TestCodesOutOfRangeAreNarrowed(t *testing.T) {
	c := newTestCarrier(t, Options{})
	l := mustListen(t, c, "127.0.0.1:0")
	conn, err := quicgo.DialAddr(background(t), l.Addr().String(), c.client, c.config)
	if err != nil {
		t.Fatal(err)
	}
	accepted := mustAccept(t, l)
	raw, err := conn.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	raw.CancelWrite(1 << 40)
	st, err := accepted.Accept(background(t))
	if err != nil {
		t.Fatal(err)
	}
	_, err = st.Read(make([]byte, 1))
	if abort, ok := errors.AsType[*transport.AbortError](err); !ok || abort.Code != transport.CodeLimit {
		t.Errorf("a stream aborted with 1<<40: %v", err)
	}
	_ = conn.CloseWithError(1<<40, "a long story")
	wait(t, "the session's end", accepted.Done())
	if se, ok := errors.AsType[*transport.SessionError](accepted.Err()); !ok || se.Code != transport.CodeLimit {
		t.Errorf("a session closed with 1<<40: %v", accepted.Err())
	}
}

func TestPacketsAreSentInBatches(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has generic segmentation offload")
	}
	c := newTestCarrier(t, Options{})
	dialled, accepted := connect(t, c, mustListen(t, c, "127.0.0.1:0"))
	for _, s := range []transport.Session{dialled, accepted} {
		if !s.(*session).conn.ConnectionState().GSO {
			t.Errorf("GSO is off at %v (QUIC_GO_DISABLE_GSO=%q)", s.LocalAddr(), os.Getenv("QUIC_GO_DISABLE_GSO"))
		}
	}
}

func TestSmallBuffersAreLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	c := newTestCarrier(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))})
	c.buffers = 1 << 30 // more than any system grants
	connect(t, c, mustListen(t, c, "127.0.0.1:0"))
	if lines := strings.Count(log.String(), "\n"); lines != 1 || !strings.Contains(log.String(), "wanted_bytes=1073741824") {
		t.Errorf("%d lines:\n%s", lines, &log)
	}
}
