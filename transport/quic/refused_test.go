package quic

import (
	"net"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

// watched are a carrier of a member of a swarm, and whom its listeners refuse.
func watched(t *testing.T, s transporttest.Swarm) (*carrier, chan transport.Refusal) {
	t.Helper()
	knocks := make(chan transport.Refusal, 16) // more than any test has
	return newTestCarrier(t, Options{Credentials: s.Member(t), Refused: func(r transport.Refusal) { knocks <- r }}), knocks
}

func TestHalfOpenHandshakeIsReportedWhenItIsLetGo(t *testing.T) {
	s := transporttest.NewSwarm(t)
	c, knocks := watched(t, s)
	c.config.HandshakeIdleTimeout = 100 * time.Millisecond
	l := mustListen(t, c, "127.0.0.1:0")
	other, err := net.Dial("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	if _, err := other.Write(helloPackets(t, 1, s.Member(t).Client(alpn))[0]); err != nil {
		t.Fatal(err)
	}
	r := wait(t, "who was refused", knocks)
	if r.Reason != transport.ReasonTimeout || r.Scheme != Scheme || r.From.String() != other.LocalAddr().String() {
		t.Errorf("refused %+v; want one from %v", r, other.LocalAddr())
	}
}

func TestWhoIsOneTooManyToBeAcceptedIsReported(t *testing.T) {
	s := transporttest.NewSwarm(t)
	c, knocks := watched(t, s)
	l := mustListen(t, c, "127.0.0.1:0")
	member := newTestCarrier(t, Options{Credentials: s.Member(t)})
	for len(knocks) == 0 { // up to 32 wait; nobody accepts
		d, err := member.dial(background(t), l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
	}
	if r := <-knocks; r.Reason != transport.ReasonBusy {
		t.Errorf("refused %+v", r)
	}
}

func TestWhoIsLetInOrLeavesIsNotReported(t *testing.T) {
	s := transporttest.NewSwarm(t)
	c, knocks := watched(t, s)
	l := mustListen(t, c, "127.0.0.1:0")
	member := newTestCarrier(t, Options{Credentials: s.Member(t)})
	for _, ends := range []func(dialled, accepted transport.Session){
		func(d, a transport.Session) { _ = d.Close(); <-a.Done() },
		func(d, a transport.Session) { _ = a.Close(); <-d.Done() },
		func(d, a transport.Session) { _ = l.Close() },
	} {
		dialled, accepted := connect(t, member, l)
		exchange(t, dialled, accepted)
		ends(dialled, accepted)
	}
	if len(knocks) > 0 {
		t.Errorf("refused %+v", <-knocks)
	}
}

// A listener that ends refuses nobody: who is on the way in finds another.
func TestEndOfTheListenerIsNotReported(t *testing.T) {
	s := transporttest.NewSwarm(t)
	c, knocks := watched(t, s)
	l := mustListen(t, c, "127.0.0.1:0")
	flood, err := net.Dial("udp4", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer flood.Close()
	for _, packet := range helloPackets(t, 5, s.Member(t).Client(alpn)) {
		if _, err := flood.Write(packet); err != nil {
			t.Fatal(err)
		}
	}
	connect(t, newTestCarrier(t, Options{Credentials: s.Member(t)}), l) // the listener has them all
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if len(knocks) > 0 {
		t.Errorf("refused %+v", <-knocks)
	}
}
