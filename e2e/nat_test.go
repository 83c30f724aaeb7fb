package e2e

import (
	"net"
	"strings"
	"testing"
)

func TestAClientBehindNATIsReachedAtTheAddressThatItAdvertises(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, false, false)
	s.needsNetwork()
	inside, gate := s.ip(20), s.ip(21)
	bound := s.reserve(inside)
	nat := s.relay(gate, bound, gate) // the way in: another address and port
	for _, tr := range s.trackers {
		tr.args = append(tr.args, "--trust-announced", inside+"/32")
		tr.start()
	}
	s.write("data", 5*pieceSize+1, 1)
	sharer := &client{s: s, name: "sharer", args: s.clientArgs(20, "sharer", "--listen", bound)}
	sharer.args[1] = nat.addr // what the client is known by
	sharer.Process = s.spawn(sharer.name, sharer.args...)
	if addr, err := sharer.Ready(s.ctx); err != nil || addr != bound {
		t.Fatalf("ready on %s (%v), want %s", addr, err, bound)
	}
	sharer.addr = nat.addr
	sharer.do("share data x.mtorrent")
	s.bothList(s.id("x.mtorrent"), whole(sharer)...)

	downloader := s.client(30, "downloader", "--transport", "tcp")
	downloader.do("get x.mtorrent copy")
	downloader.do("wait")
	s.same("data", "copy")
	s.bothList(s.id("x.mtorrent"), whole(sharer, downloader)...)
}

func TestAForeignAddressIsRefusedUnlessItsSenderIsTrusted(t *testing.T) {
	t.Parallel()
	s := newSwarm(t)
	s.needsNetwork()
	other := net.JoinHostPort(s.ip(21), "0")
	s.write("data", 1, 1)
	sharer := s.client(20, "sharer", "--advertise", other)
	if answer := sharer.do("share data x.mtorrent"); !strings.HasPrefix(answer, "shared data") {
		t.Error(answer)
	}
	s.logs("sharer.log", "announced "+s.ip(21)+", but the connection comes from "+s.ip(20), "trust_announced")
	s.bothList(s.id("x.mtorrent"))
}

// needsNetwork skips a test that takes several addresses.
func (s *swarm) needsNetwork() {
	s.Helper()
	if s.network == "" {
		s.Skip("127.0.0.1 is the only loopback address here")
	}
}
