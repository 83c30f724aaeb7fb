package e2e

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/quic"
	"github.com/mtor-dev/mtor/transport/tcp"
)

// stranger speaks to a tracker as the test tells it to.
type stranger struct {
	s    *swarm
	sess transport.Session
	st   transport.Stream
	in   *wire.Reader
}

// stranger calls a tracker from one of the test's addresses.
func (s *swarm) stranger(table transport.Table, tracker string) *stranger {
	s.Helper()
	sess, err := table.Dial(s.ctx, tracker)
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { _ = sess.Close() })
	hi, err := sess.Open(s.ctx)
	if err == nil {
		err = transport.WriteLast(hi, framed(s.T, helloOf(7)))
	}
	if err == nil {
		_, err = wire.ReadHello(hi)
	}
	if err != nil {
		s.Fatal(err)
	}
	st, err := sess.Open(s.ctx)
	if err != nil {
		s.Fatal(err)
	}
	x := &stranger{s, sess, st, wire.NewReader(st)}
	x.says(framed(s.T, openRequests))
	return x
}

func (x *stranger) says(b []byte) {
	x.s.Helper()
	if _, err := x.st.Write(b); err != nil {
		x.s.Fatal(err)
	}
}

func (x *stranger) hears() *wire.Reply {
	x.s.Helper()
	if err := x.st.SetDeadline(time.Now().Add(patience)); err != nil {
		x.s.Fatal(err)
	}
	r := new(wire.Reply)
	if err := x.in.Next(r, wire.MaxMessage); err != nil {
		x.s.Fatal(err)
	}
	return r
}

// ended waits for the tracker to end the session, and returns with what code.
func (x *stranger) ended() wire.Error {
	x.s.Helper()
	select {
	case <-x.sess.Done():
	case <-x.s.ctx.Done():
		x.s.Fatal("the session goes on")
	}
	var end *transport.SessionError
	if !errors.As(x.sess.Err(), &end) || !end.Remote {
		x.s.Fatalf("it ended: %v", x.sess.Err())
	}
	return wire.Error(end.Code)
}

func remove(addr string, id torrentfmt.ID) *wire.Request {
	return &wire.Request{Addr: addr, Kind: &wire.Request_Remove{Remove: &wire.Remove{TorrentId: id[:]}}}
}

// tables are how a stranger calls, by transport.
func (s *swarm) tables(ip string) map[string]transport.Table {
	s.Helper()
	local := netip.MustParseAddr(ip)
	q, err := quic.New(quic.Options{LocalIP: local})
	if err != nil {
		s.Fatal(err)
	}
	return map[string]transport.Table{"tcp": {tcp.New(tcp.Options{LocalIP: local})}, "quic": {q}}
}

func TestBadRequestsAreRefusedWithACodeAndOthersServed(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, true, false)
	if s.network == "" {
		t.Skip("this machine has one loopback address, so nobody is foreign")
	}
	tr := s.trackers[0]
	sharer, getter := s.client(10, "sharer"), s.client(20, "getter")
	s.write("data", 1000, 1)
	sharer.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	for name, table := range s.tables(s.ip(30)) {
		t.Run(name, func(t *testing.T) {
			x := s.stranger(table, tr.addr)
			future := protowire.AppendBytes(protowire.AppendTag(nil, 999, protowire.BytesType), []byte("from a later version"))
			x.says(append([]byte{byte(len(future))}, future...))
			if got := x.hears().GetError(); got != wire.Error_ERROR_BAD_REQUEST {
				t.Errorf("an unknown message: %v", got)
			}
			self := s.ip(30) + ":5"
			for _, addr := range []string{sharer.addr, s.ip(31) + ":5"} {
				renewal := &wire.Renew{Digest: make([]byte, sha1.Size)}
				for _, req := range []*wire.Request{
					remove(addr, id),
					{Addr: addr, Kind: &wire.Request_Leave{Leave: &wire.Leave{}}},
					{Addr: addr, Kind: &wire.Request_Renew{Renew: renewal}},
					{Addr: addr, Kind: &wire.Request_Announce{Announce: &wire.Announce{TorrentId: id[:]}}},
				} {
					x.says(framed(t, req))
					if got := x.hears(); got.GetError() != wire.Error_ERROR_FOREIGN_ADDRESS {
						t.Errorf("%T of %s: %v", req.GetKind(), addr, got)
					}
				}
			}
			x.says(framed(t, remove(self, id))) // its own, of which there is none
			if got := x.hears(); got.GetError() != wire.Error_ERROR_NONE {
				t.Errorf("removal of nothing: %v", got)
			}
			x.says([]byte{0xff, 0xff, 0xff, 0xff, 0x7f})
			if got := x.ended(); got != wire.Error_ERROR_BAD_REQUEST {
				t.Errorf("an over-long length: ended with %v", got)
			}
			y := s.stranger(table, tr.addr)
			y.says(framed(t, &wire.Request{Addr: self, Kind: &wire.Request_Announce{Announce: &wire.Announce{
				TorrentId: id[:], Filename: "f", Filesize: 1, HashLength: 1 << 40,
			}}}))
			if got := y.ended(); got != wire.Error_ERROR_BAD_REQUEST {
				t.Errorf("a hash string of a TiB: ended with %v", got)
			}
			s.lists(s.trackers[:1], id, whole(sharer))
			s.served(sharer, getter, name)
		})
	}
}

// floods announces n new torrents of some pieces each, seed apart from others,
// and returns how many were taken and how many refused.
func (x *stranger) floods(addr, seed string, n, pieces int) (taken, refused int, err error) {
	go func() {
		hashes := bytes.Repeat([]byte{1}, pieces*sha1.Size)
		for i := range n {
			d := sha1.Sum(fmt.Append(nil, seed, i))
			copy(hashes, d[:])
			id := torrentfmt.HashID(hashes)
			b, err := wire.Append(nil, &wire.Request{Addr: addr, Kind: &wire.Request_Announce{Announce: &wire.Announce{
				TorrentId: id[:], Whole: true, Filename: hex.EncodeToString(d[:4]),
				Filesize: uint64(pieces) * pieceSize, HashLength: uint64(len(hashes)),
			}}})
			if err == nil {
				_, err = x.st.Write(slices.Concat(b, hashes))
			}
			if err != nil {
				return // the replies tell
			}
		}
	}()
	for range n {
		var r wire.Reply
		if err := x.in.Next(&r, wire.MaxMessage); err != nil {
			return taken, refused, err
		}
		switch r.GetError() {
		case wire.Error_ERROR_NONE:
			taken++
		case wire.Error_ERROR_TOO_MANY:
			refused++
		default:
			return taken, refused, fmt.Errorf("%v: %s", r.GetError(), r.GetMessage())
		}
	}
	return taken, refused, nil
}

func TestFloodOfHashStringsIsRefusedAtItsSourcesShareAndOthersServed(t *testing.T) {
	t.Parallel()
	heavy(t)
	s := newSwarm(t, true, false)
	if s.network == "" {
		t.Skip("this machine has one loopback address, so all are one source")
	}
	tr := s.trackers[0]
	sharer, getter := s.client(10, "sharer"), s.client(20, "getter")
	const most = 128 << 20 // of one source, as docs/tracker.md has it
	x := s.stranger(s.tables(s.ip(30))["tcp"], tr.addr)
	const large, pieces = 25, 400_000 // 200 MB
	var taken, refused int
	var err error
	flooded := make(chan struct{})
	go func() {
		defer close(flooded)
		taken, refused, err = x.floods(s.ip(30)+":5", "large", large, pieces)
	}()
	s.served(sharer, getter, "during")
	select {
	case <-flooded:
	case <-s.ctx.Done():
		t.Fatal("the flood is not answered")
	}
	if err != nil {
		t.Fatal(err)
	}
	if want := most / (pieces * sha1.Size); taken < want || taken > want+1 || taken+refused != large {
		t.Errorf("of 200 MB in %d torrents %d were taken, %d refused: want %d taken", large, taken, refused, want)
	}
	// What the source has left is spent, and is as good for small ones.
	n := sized(20_000, 1_000_000)
	if taken, refused, err = x.floods(s.ip(30)+":5", "small", n, 1); err != nil {
		t.Fatal(err)
	}
	if most := most / 1024; taken > most || refused < n/2 {
		t.Errorf("of %d torrents %d were taken, %d refused", n, taken, refused)
	}
	t.Logf("of %d torrents %d were taken", n, taken)
	if used, ok := residentMemory(tr.PID()); ok {
		t.Logf("%d MiB resident", used>>20)
		const bound = 1 << 30 // 256 MiB of hash strings on their way, and the file's pages
		if used > bound && !raced {
			t.Errorf("%d bytes resident", used)
		}
	}
	s.served(sharer, getter, "later")
}
