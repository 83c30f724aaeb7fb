package tracker

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
)

// sized is the real number when MTOR_LONG is set, as .ci/long does, and
// otherwise one that takes no time.
func sized[N int | float64](small, real N) N {
	if os.Getenv("MTOR_LONG") != "" {
		return real
	}
	return small
}

// served checks that a client from elsewhere gets what it asks for.
func (w *world) served(tracker string) {
	w.t.Helper()
	f := fileOf("served", 1)
	c := w.call(tracker, "10.2.0.1:1")
	c.share(f)
	w.expect(tracker, f, "10.2.0.1:1+")
	c.ok(leave(), nil)
	_ = c.sess.Close()
}

func TestUnknownRequestIsRefusedAndTheSessionGoesOn(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		future := protowire.AppendTag(nil, 999, protowire.BytesType)
		future = protowire.AppendBytes(future, []byte("from a later version"))
		for name, msg := range map[string][]byte{"nothing": {}, "an unknown kind": future} {
			if _, err := c.st.Write(append(protowire.AppendVarint(nil, uint64(len(msg))), msg...)); err != nil {
				t.Fatal(err)
			}
			if r := c.receive(); r.GetError() != wire.Error_ERROR_BAD_REQUEST {
				t.Errorf("%s: %v", name, r.GetError())
			}
		}
		f := fileOf("f", 1)
		c.share(f)
		w.expect(addrA, f, "10.1.0.1:1+")
	})
}

func TestStreamForNothingEndsItsSession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		st, err := c.sess.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := wire.Write(st, &wire.Open{}); err != nil {
			t.Fatal(err)
		}
		if got := ending(t, c.sess); got != wire.Error_ERROR_BAD_REQUEST {
			t.Errorf("ended with %v", got)
		}
		w.served(addrA)
	})
}

func TestOneSessionSpeaksForFewAddresses(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		f := fileOf("f", 1)
		c.share(f)
		refused := 0
		for port := 2; port < 100; port++ {
			c.addr = fmt.Sprintf("10.1.0.1:%d", port)
			switch r := c.do(announce(f, true), nil); r.GetError() {
			case wire.Error_ERROR_NONE:
			case wire.Error_ERROR_TOO_MANY:
				refused++
			default:
				t.Fatal(r)
			}
		}
		if n := len(w.listed(addrA, f)); n != maxAddresses || refused != 99-maxAddresses {
			t.Errorf("%d rows, %d refusals: at most %d rows", n, refused, maxAddresses)
		}
		c.addr = "10.1.0.1:1"
		c.ok(announce(f, true), nil) // it still speaks for those it had
		w.served(addrA)
	})
}

// flood announces n new torrents, each with a hash string of the given number
// of pieces, and returns how many were taken and how many refused.
func (c *caller) flood(n, pieces int) (taken, refused int) {
	c.t.Helper()
	go func() {
		hashes := make([]byte, pieces*torrentfmt.HashSize)
		for i := range n {
			binary.BigEndian.PutUint64(hashes, uint64(i))
			f := file{fmt.Sprint("flood", i), uint64(pieces) * torrentfmt.PieceSize, hashes}
			req := announceNew(f, true)
			req.Addr = c.addr
			b, err := wire.Append(nil, req)
			if err != nil {
				panic(err)
			}
			if _, err := c.st.Write(append(b, hashes...)); err != nil {
				return // the tracker has ended it: the replies tell
			}
		}
	}()
	for range n {
		switch r := c.receive(); r.GetError() {
		case wire.Error_ERROR_NONE:
			taken++
		case wire.Error_ERROR_TOO_MANY:
			refused++
		default:
			c.t.Fatal(r)
		}
	}
	return taken, refused
}

func TestMillionTorrentsOfOneClientAreRefusedAtItsShare(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := sized(1000, 1_000_000)
		w.limits = &limits{sessions: 10, sessionsPerIP: 10, hashBurst: sized[float64](200<<10, hashBurst)}
		w.start(addrA)
		c := w.call(addrA, "10.1.0.1:1")
		taken, refused := c.flood(n, 1)
		most := int(w.limits.hashBurst / (torrentCost + torrentfmt.HashSize))
		if taken > most+1 || taken < most/2 || taken+refused != n {
			t.Errorf("%d of %d torrents taken, %d refused: want about %d taken", taken, n, refused, most)
		}
		w.served(addrA)
		// A new session, from another port, is the same source.
		again := w.call(addrA, "10.1.0.1:2")
		if r := again.do(announceNew(fileOf("x", 1), true), fileOf("x", 1).hashes); r.GetError() != wire.Error_ERROR_TOO_MANY {
			t.Errorf("after the flood: %v", r.GetError())
		}
		w.pass(time.Minute / 2)
		w.served(addrA)
		again.share(fileOf("x", 1)) // its share grows again
	})
}

func TestHashStringsOf200MBAreRefusedAtTheSourcesShare(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		const n = 25
		pieces := sized(2_000, 400_000) // 25 times 8 MB
		w.limits = &limits{sessions: 10, sessionsPerIP: 10, hashBurst: sized[float64](640<<10, hashBurst)}
		w.start(addrA)
		most := int(w.limits.hashBurst) / (pieces*torrentfmt.HashSize + torrentCost)
		taken, refused := w.call(addrA, "10.1.0.1:1").flood(n, pieces)
		if taken != most || refused != n-most {
			t.Errorf("%d taken, %d refused: want %d taken", taken, refused, most)
		}
		w.served(addrA)
	})
}

func TestIdleSessionsBeyondTheCapAreTurnedAwayAndTheRestServed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		n := sized(200, 10_000)
		w.limits = &limits{sessions: sized(100, maxSessions), sessionsPerIP: sized(50, maxSessionsPerIP), hashBurst: hashBurst}
		w.start(addrA)
		table := w.table("10.1.0.1")
		var idle []transport.Session
		for range n {
			sess, err := table.Dial(t.Context(), addrA)
			if err != nil {
				t.Fatal(err)
			}
			idle = append(idle, sess)
			_ = w.hello(sess, wire.Role_ROLE_CLIENT) // those turned away get no answer
		}
		w.served(addrA)
		turned := 0
		for _, sess := range idle {
			select {
			case <-sess.Done():
				turned++
				if got := ending(t, sess); got != wire.Error_ERROR_TOO_MANY {
					t.Fatalf("ended with %v", got)
				}
			default:
			}
		}
		if want := n - w.limits.sessionsPerIP; turned != want {
			t.Errorf("%d of %d turned away, want %d", turned, n, want)
		}
		w.pass(4 * time.Minute)
		for _, sess := range idle {
			<-sess.Done() // idle for longer than a client ever is
		}
		w.call(addrA, "10.1.0.1:1").share(fileOf("f", 1)) // there is room again
	})
}

// drip writes a byte every ten seconds until the tracker ends the session, and
// returns how long that took.
func drip(t *testing.T, w *world, sess transport.Session, st transport.Stream, bytes []byte) (wire.Error, time.Duration) {
	t.Helper()
	began := time.Now()
	for _, b := range bytes {
		if _, err := st.Write([]byte{b}); err != nil {
			return ending(t, sess), time.Since(began)
		}
		w.pass(10 * time.Second)
		select {
		case <-sess.Done():
			return ending(t, sess), time.Since(began)
		default:
		}
	}
	t.Fatalf("after %v the session still lives", time.Since(began))
	return 0, 0
}

func TestOneByteEveryTenSecondsEndsTheSession(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		f := fileOf("f", 100)
		whole, err := wire.Append(nil, announceNew(f, true))
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			where       string
			first, rest []byte
			within      time.Duration
		}{
			{"in a request", nil, whole, 20 * time.Second},
			{"in a hash string", func() []byte {
				req := announceNew(f, true)
				req.Addr = "10.1.0.1:1"
				b, err := wire.Append(nil, req)
				if err != nil {
					t.Fatal(err)
				}
				return b
			}(), f.hashes, 40 * time.Second},
		} {
			x := w.call(addrA, "10.1.0.1:1")
			if _, err := x.st.Write(c.first); err != nil {
				t.Fatal(err)
			}
			got, d := drip(t, w, x.sess, x.st, c.rest)
			if got != wire.Error_ERROR_TIMEOUT || d > c.within {
				t.Errorf("%s: ended with %v after %v", c.where, got, d)
			}
			w.served(addrA)
		}
		sess, err := w.table("10.1.0.1").Dial(t.Context(), addrA)
		if err != nil {
			t.Fatal(err)
		}
		st, err := sess.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		hello, err := wire.Append(nil, &wire.Hello{Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, 20)})
		if err != nil {
			t.Fatal(err)
		}
		if got, d := drip(t, w, sess, st, hello); got != wire.Error_ERROR_TIMEOUT || d > 10*time.Second {
			t.Errorf("in the hello: ended with %v after %v", got, d)
		}
		w.served(addrA)
	})
}

func TestClientThatReadsNoRepliesIsEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA)
		f := fileOf("f", 1)
		for i := range 60 {
			w.call(addrA, fmt.Sprintf("10.3.0.%d:1", i+1)).share(f)
		}
		c := w.call(addrA, "10.1.0.1:1")
		c.share(f)
		req := announce(f, true)
		req.Addr = c.addr
		b, err := wire.Append(nil, req)
		if err != nil {
			t.Fatal(err)
		}
		for {
			if _, err := c.st.Write(b); err != nil {
				break
			}
		}
		if got := ending(t, c.sess); got != wire.Error_ERROR_TIMEOUT {
			t.Errorf("ended with %v", got)
		}
		w.served(addrA)
	})
}

func TestAllowanceForgetsSourcesThatHaveItBack(t *testing.T) {
	a := allowance{burst: hashRefill, refill: hashRefill}
	now := time.Unix(1_000_000, 0)
	for i := range 3 * maxSources {
		ip := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		if !a.take(ip, hashRefill, now.Add(time.Duration(i)*time.Millisecond)) {
			t.Fatalf("source %d is refused", i)
		}
	}
	if len(a.by) > maxSources {
		t.Errorf("%d sources are remembered", len(a.by))
	}
	last := netip.AddrFrom4([4]byte{10, byte((3*maxSources - 1) >> 16), byte((3*maxSources - 1) >> 8 & 0xff), byte((3*maxSources - 1) & 0xff)})
	if a.take(last, hashRefill/2, now.Add(3*maxSources*time.Millisecond)) {
		t.Error("who has just taken all is given more")
	}
}

func TestSubscribersNetworkIsOneSource(t *testing.T) {
	a, b := netip.MustParseAddr("2001:db8:0:1::1"), netip.MustParseAddr("2001:db8:0:1:ffff::2")
	if sourceOf(a) != sourceOf(b) || sourceOf(a) == sourceOf(netip.MustParseAddr("2001:db8:0:2::1")) {
		t.Error("an IPv6 source is not its /64")
	}
	if c := netip.MustParseAddr("10.0.0.1"); sourceOf(c) != c {
		t.Error("an IPv4 source is not its address")
	}
}
