package quic

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"

	quicgo "github.com/quic-go/quic-go"

	"github.com/mtor-dev/mtor/transport"
)

func TestListensOnEveryFamily(t *testing.T) {
	if l, err := net.ListenPacket("udp6", "[::1]:0"); err != nil {
		t.Skipf("this system has no IPv6: %v", err)
	} else {
		_ = l.Close()
	}
	c := newTestCarrier(t, Options{})
	for bind, dial := range map[string]string{
		"127.0.0.1:0": "127.0.0.1",
		"0.0.0.0:0":   "127.0.0.1",
		"[::1]:0":     "::1",
		"[::]:0":      "::1",
		"localhost:0": "localhost",
	} {
		l := mustListen(t, c, bind)
		_, port, _ := net.SplitHostPort(l.Addr().String())
		dialled := mustDial(t, c, net.JoinHostPort(dial, port))
		accepted := mustAccept(t, l)
		exchange(t, dialled, accepted)
		exchange(t, accepted, dialled)
		if a, d := accepted.LocalAddr().String(), dialled.RemoteAddr().String(); a != d {
			t.Errorf("on %s: accepted at %s, dialled to %s", bind, a, d)
		}
	}
}

func TestIPv4PeerOfADualStackListenerHasItsShortAddress(t *testing.T) {
	c := newTestCarrier(t, Options{})
	l, err := c.listen(background(t), "[::]:0")
	if err != nil {
		t.Skipf("this system has no IPv6: %v", err)
	}
	defer func() { _ = l.Close() }()
	_, port, _ := net.SplitHostPort(l.Addr().String())
	dialled, err := c.dial(background(t), net.JoinHostPort("127.0.0.1", port))
	if err != nil {
		t.Skipf("this system's IPv6 sockets take no IPv4: %v", err)
	}
	defer func() { _ = dialled.Close() }()
	accepted := mustAccept(t, l.(*listener))
	if ipOf(accepted.RemoteAddr()) != "127.0.0.1" {
		t.Errorf("the peer is %v", accepted.RemoteAddr())
	}
}

func TestPortIsFreeOnceListenerAndSessionsAreGone(t *testing.T) {
	c := newTestCarrier(t, Options{})
	l := mustListen(t, c, "127.0.0.1:0")
	addr := l.Addr().String()
	dialled, accepted := connect(t, c, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	exchange(t, dialled, accepted)
	if other, err := c.listen(background(t), addr); err == nil {
		_ = other.Close()
		t.Fatal("the port was free while a session lived on it")
	}
	if err := accepted.Close(); err != nil {
		t.Fatal(err)
	}
	again := mustListen(t, c, addr)
	dialled, accepted = connect(t, c, again)
	exchange(t, dialled, accepted)
}

func TestSessionThatNobodyAcceptedEndsWithItsListener(t *testing.T) {
	c := newTestCarrier(t, Options{})
	l := mustListen(t, c, "127.0.0.1:0")
	dialled := mustDial(t, c, l.Addr().String())
	_ = l.Close()
	wait(t, "the session's end", dialled.Done())
	if se, ok := errors.AsType[*transport.SessionError](dialled.Err()); !ok || !se.Remote {
		t.Errorf("the session ended with %v", dialled.Err())
	}
}

// muffled is a client's socket that hears nothing back.
type muffled struct{ *net.UDPConn }

func (m muffled) ReadFrom(b []byte) (int, net.Addr, error) {
	_, addr, err := m.UDPConn.ReadFrom(b)
	return 0, addr, err
}

// SyscallConn is hidden, so that QUIC does not read around this type.
func (m muffled) SyscallConn() {}

func TestSilentPeersDoNotHoldUpAccept(t *testing.T) {
	c := newTestCarrier(t, Options{})
	l := mustListen(t, c, "127.0.0.1:0")
	var stalled sync.WaitGroup
	defer stalled.Wait()
	for range 20 {
		raw, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			t.Fatal(err)
		}
		tr := &quicgo.Transport{Conn: muffled{raw}}
		defer func() { _ = tr.Close(); _ = raw.Close() }()
		stalled.Go(func() {
			if _, err := tr.Dial(t.Context(), l.Addr(), c.client, c.config); err == nil {
				t.Error("a handshake was completed without hearing the other side")
			}
		})
	}
	for range 3 {
		dialled, accepted := connect(t, c, l)
		exchange(t, dialled, accepted)
	}
}

func TestForeignProtocolIsRefused(t *testing.T) {
	c := newTestCarrier(t, Options{})
	l := mustListen(t, c, "127.0.0.1:0")
	foreign := &tls.Config{NextProtos: []string{"h3"}, InsecureSkipVerify: true} //nolint:gosec // a test
	conn, err := quicgo.DialAddr(background(t), l.Addr().String(), foreign, nil)
	if te, ok := errors.AsType[*quicgo.TransportError](err); !ok || !te.ErrorCode.IsCryptoError() {
		t.Fatalf("a dialler of another protocol got %v, %v", conn, err)
	}
	dialled, accepted := connect(t, c, l) // the next one in is a proper one
	exchange(t, dialled, accepted)

	server := &tls.Config{NextProtos: []string{"h3"}, GetCertificate: c.server.GetCertificate, MinVersion: tls.VersionTLS13}
	other, err := quicgo.ListenAddr("127.0.0.1:0", server, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }()
	_, err = c.dial(background(t), other.Addr().String())
	if _, ok := errors.AsType[*transport.DialError](err); !ok {
		t.Errorf("dialling another protocol: %v", err)
	}
}

func TestDialGetsThroughWhenItsAddressIsDoubted(t *testing.T) {
	c := newTestCarrier(t, Options{})
	doubts := make(chan net.Addr, 1)
	l, err := c.listenVerifying(background(t), "127.0.0.1:0", func(addr net.Addr) bool {
		select {
		case doubts <- addr:
		default:
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	dialled, accepted := connect(t, c, l)
	exchange(t, dialled, accepted)
	if got := wait(t, "the doubt", doubts); got.String() != dialled.LocalAddr().String() {
		t.Errorf("doubted %v, dialled from %v", got, dialled.LocalAddr())
	}
}

func TestFloodRaisesDoubt(t *testing.T) {
	doubt := newDoubt()
	for i := range handshakeBurst {
		if doubt(nil) {
			t.Fatalf("handshake %d of the first burst was doubted", i+1)
		}
	}
	for i := 0; !doubt(nil); i++ {
		if i == 100*handshakeBurst {
			t.Fatal("a flood was never doubted")
		}
	}
}

func TestListenNamesWhatIsTaken(t *testing.T) {
	c := newTestCarrier(t, Options{})
	addr := mustListen(t, c, "127.0.0.1:0").Addr().String()
	l, err := c.listen(background(t), addr)
	if l != nil || err == nil || !strings.Contains(err.Error(), addr) {
		t.Errorf("got %v, %v", l, err)
	}
}
