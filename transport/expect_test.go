package transport_test

import (
	"errors"
	"net/netip"
	"testing"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/identity"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestExpectedNodeAloneIsTaken(t *testing.T) {
	network := transporttest.NewNetwork()
	lo := netip.AddrFrom4([4]byte{127, 0, 0, 1})
	l, err := network.TransportOf(lo, identity.ID{1}).Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	table := transport.Table{network.Transport(lo), network.TransportOf(lo, identity.ID{2})}
	s, err := table.Expecting(identity.ID{1}).Dial(t.Context(), l.Addr().String())
	if err != nil || s.Peer() != (identity.ID{1}) {
		t.Fatalf("the node that is there: %v, %v", s, err)
	}
	_ = s.Close()
	_, err = table.Expecting(identity.ID{3}).Dial(t.Context(), l.Addr().String())
	if _, ok := errors.AsType[*transport.DialError](err); !ok || !errors.Is(err, transport.ErrOtherNode) {
		t.Errorf("another node than the one that is there: %v", err)
	}
	if s, err := table[:1].Expecting(identity.ID{1}).Dial(t.Context(), l.Addr().String()); err == nil {
		t.Errorf("over a row that proves nothing: %v", s.Peer())
	}
	if len(table.Proving()) != 1 || len(table) != 2 || table[0].Proves {
		t.Errorf("of %v those that prove are %v", table, table.Proving())
	}
}

func TestOneSchemeMayInsistOnProof(t *testing.T) {
	table := transport.Table{{Scheme: "tcp"}, {Scheme: "tls", Proves: true}, {Scheme: "quic", Proves: true}}
	for addr, want := range map[string]bool{
		"host:1": false, "tcp://host:1": false, "tls://host:1": true, "quic://host:1": true, "ftp://host:1": false, "host": false,
	} {
		if got := table.Insists(addr); got != want {
			t.Errorf("%s insists: %v", addr, got)
		}
	}
	if !table[1:].Insists("host:1") {
		t.Error("without tcp it does not insist")
	}
}
