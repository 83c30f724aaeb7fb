package quic

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/mtor-dev/mtor/transport"
)

func TestDialComesFromTheLocalIP(t *testing.T) {
	for _, ip := range []string{"127.0.0.1", "127.0.0.2"} {
		probe, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.ParseIP(ip)})
		if err != nil {
			t.Skipf("this system has no %s: %v", ip, err)
		}
		_ = probe.Close()
		c := newTestCarrier(t, Options{LocalIP: netip.MustParseAddr(ip)})
		dialled, accepted := connect(t, c, mustListen(t, c, "127.0.0.1:0"))
		if ipOf(accepted.RemoteAddr()) != ip || dialled.LocalAddr().String() != accepted.RemoteAddr().String() {
			t.Errorf("dialled from %v, came from %v; want %s", dialled.LocalAddr(), accepted.RemoteAddr(), ip)
		}
	}
}

func TestDialWithoutLocalIPKnowsItsSource(t *testing.T) {
	for _, from := range []netip.Addr{{}, netip.IPv4Unspecified()} {
		c := newTestCarrier(t, Options{LocalIP: from})
		dialled, accepted := connect(t, c, mustListen(t, c, "127.0.0.1:0"))
		if dialled.LocalAddr().String() != accepted.RemoteAddr().String() {
			t.Errorf("from %v: dialled from %v, came from %v", from, dialled.LocalAddr(), accepted.RemoteAddr())
		}
	}
}

func TestDialResolvesNames(t *testing.T) {
	c := newTestCarrier(t, Options{})
	l := mustListen(t, c, "127.0.0.1:0")
	_, port, _ := net.SplitHostPort(l.Addr().String())
	// The name may stand for ::1 too, and nobody listens there.
	dialled := mustDial(t, c, net.JoinHostPort("localhost", port))
	exchange(t, dialled, mustAccept(t, l))
}

func TestDialRefusesWhatItCannotReach(t *testing.T) {
	for _, c := range []struct{ from, to, why string }{
		{"::1", "127.0.0.1:1", "no address of the family"},
		{"127.0.0.1", "[::1]:1", "no address of the family"},
		{"127.0.0.1", "127.0.0.1:0", "port"},
		{"127.0.0.1", "127.0.0.1", "port"},
		{"192.0.2.1", "127.0.0.1:1", "192.0.2.1"}, // no address of this machine (RFC 5737)
	} {
		tr := newTestCarrier(t, Options{LocalIP: netip.MustParseAddr(c.from)})
		s, err := tr.dial(background(t), c.to)
		if de, ok := errors.AsType[*transport.DialError](err); !ok || de.Scheme != Scheme || de.Addr != c.to {
			t.Errorf("from %s to %s: %v, %v", c.from, c.to, s, err)
		} else if !strings.Contains(err.Error(), c.why) {
			t.Errorf("from %s to %s: %v; want %q", c.from, c.to, err, c.why)
		}
		if s != nil {
			t.Errorf("from %s to %s: a session along with the error", c.from, c.to)
		}
	}
}

func TestDialOfASilentAddressEndsWithItsContext(t *testing.T) {
	silent, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = silent.Close() }()
	c := newTestCarrier(t, Options{})
	ctx, cancel := context.WithCancel(background(t))
	result := make(chan error, 1)
	go func() {
		_, err := c.dial(ctx, silent.LocalAddr().String())
		result <- err
	}()
	if _, _, err := silent.ReadFrom(make([]byte, 1500)); err != nil { // the handshake has begun
		t.Fatal(err)
	}
	cancel()
	err = wait(t, "Dial", result)
	if _, ok := errors.AsType[*transport.DialError](err); !ok || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
