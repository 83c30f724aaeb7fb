package client

import (
	"context"
	"errors"
	"net/netip"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/client/peer"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

var threeWays = transport.Table{{Scheme: "tcp"}, {Scheme: "quic"}, {Scheme: "tls"}}

func TestPeerIsDialledFirstOverWhatReachedItUntilTheFirstHasItsTurnAgain(t *testing.T) {
	h, now := habits{}, time.Unix(0, 0)
	a, b := netip.MustParseAddrPort("10.0.0.1:1"), netip.MustParseAddrPort("10.0.0.2:1")
	want := func(at netip.AddrPort, order string) {
		t.Helper()
		if got := h.order(threeWays, at, now).String(); got != order {
			t.Errorf("after %s: %s is dialled over %s, want %s", now.Sub(time.Unix(0, 0)), at, got, order)
		}
	}
	want(a, "tcp, quic, tls")
	if !h.learn(threeWays, a, "quic", now) {
		t.Error("no fallback")
	}
	want(a, "quic, tcp, tls")
	want(b, "tcp, quic, tls")
	now = now.Add(habitTime / 2)
	if !h.learn(threeWays, a, "quic", now) {
		t.Error("what is remembered is no fallback")
	}
	now = now.Add(habitTime / 2)
	want(a, "tcp, quic, tls")
	h.learn(threeWays, a, "tls", now)
	want(a, "tls, tcp, quic")
	if h.learn(threeWays, a, "tcp", now) || len(h) != 0 {
		t.Errorf("a path that is clear again is remembered as %v", h)
	}
	want(a, "tcp, quic, tls")
}

func TestMemoryOfHabitsIsBounded(t *testing.T) {
	h, now := habits{}, time.Unix(0, 0)
	for i := range 2*maxHabits + 1 {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		h.learn(threeWays, netip.AddrPortFrom(ip, 1), "quic", now)
		if len(h) > maxHabits {
			t.Fatalf("%d are remembered", len(h))
		}
	}
}

// A client whose first transport is blocked reaches a peer over the second one,
// counts that, and does not try the first one before it when it dials again.
func TestBlockedTransportIsTriedFirstOnlyOnce(t *testing.T) {
	network := transporttest.NewNetwork()
	var tried atomic.Int64
	blocked := transport.Transport{Scheme: "blocked", Dial: func(context.Context, string) (transport.Session, error) {
		tried.Add(1)
		return nil, errors.New("a firewall says no")
	}}
	dir := t.TempDir()
	sharer, _ := start(t, network.Transport(loopback), filepath.Join(dir, "a"), func(o *Options) { o.ID = peer.ID{1} })
	reached := make(chan string, 10)
	var fallbacks atomic.Int64
	fetcher, _ := start(t, network.Transport(loopback), filepath.Join(dir, "b"), func(o *Options) {
		o.ID, o.Dial = peer.ID{2}, transport.Table{blocked, network.Transport(loopback)}
		o.Observe.Chose = func(scheme string) { reached <- scheme }
		o.Observe.FellBack = func(string) { fallbacks.Add(1) }
	})
	makeFile(t, filepath.Join(dir, "file"), 1000)
	mtorrent := filepath.Join(dir, "file.mtorrent")
	if _, err := sharer.Share(t.Context(), filepath.Join(dir, "file"), mtorrent, nil); err != nil {
		t.Fatal(err)
	}
	tried.Store(0) // trackers were dialled
	at := sharer.Addr()
	for range 3 {
		conn, err := fetcher.peers.greet(at, peer.ID{})
		if err != nil {
			t.Fatal(err)
		}
		if scheme := <-reached; scheme != conn.Scheme() {
			t.Errorf("reached over %s, told of %s", conn.Scheme(), scheme)
		}
		conn.Close(wire.Error_ERROR_GOING_AWAY)
		<-conn.Done()
	}
	if fallbacks.Load() != 3 {
		t.Errorf("%d fallbacks are counted", fallbacks.Load())
	}
	if n := tried.Load(); n != 1 {
		t.Errorf("the blocked transport was tried %d times", n)
	}
}
