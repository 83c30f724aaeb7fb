package peer

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/bits-and-blooms/bitset"
	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/roles/client/pace"
	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/torrentfmt"
	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

// swarm is a torrent of a test: pieces of 1,000 bytes in a file, and a log of
// what the peer said.
type swarm struct {
	t    *testing.T
	file *os.File

	mu    sync.Mutex
	have  *bitset.BitSet
	total int

	uploads []*pace.Gate

	joined chan joined
	gained chan []uint32
	lost   chan []uint32
	gone   chan *Link
	served chan int64
}

type joined struct {
	link   *Link
	theirs *bitset.BitSet
}

func newSwarm(t *testing.T, total int, have ...uint) *swarm {
	data := make([]byte, total*1000)
	for i := range data {
		data[i] = byte(i / 1000)
	}
	path := filepath.Join(t.TempDir(), "data")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	s := &swarm{
		t: t, file: f, total: total, have: bitset.New(uint(total)),
		joined: make(chan joined, 10), gained: make(chan []uint32, 10), lost: make(chan []uint32, 10),
		gone: make(chan *Link, 10), served: make(chan int64, 10),
	}
	for _, i := range have {
		s.have.Set(i)
	}
	return s
}

func (s *swarm) Join(l *Link, theirs *bitset.BitSet) (*bitset.BitSet, error) {
	s.joined <- joined{l, theirs}
	return s.Snapshot(), nil
}
func (s *swarm) Gained(_ *Link, pieces []uint32) { s.gained <- pieces }
func (s *swarm) Lost(_ *Link, pieces []uint32)   { s.lost <- pieces }
func (s *swarm) Gone(l *Link)                    { s.gone <- l }
func (s *swarm) Pieces() int                     { return s.total }
func (s *swarm) Claim(*Link, int, bool) bool     { return true }
func (s *swarm) Unsent(*Link, int)               {}
func (s *swarm) Served(n int64, _ string)        { s.served <- n }
func (s *swarm) Serving(func()) (func(), bool)   { return func() {}, true }
func (s *swarm) Uploads() []*pace.Gate           { return s.uploads }
func (s *swarm) Snapshot() *bitset.BitSet {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.have.Clone()
}

func (s *swarm) Section(i int) (*io.SectionReader, error) {
	if !s.Snapshot().Test(uint(i)) {
		return nil, errors.New("not here")
	}
	return io.NewSectionReader(s.file, int64(i)*1000, 1000), nil
}

// host has at most one torrent.
type host struct {
	id    torrentfmt.ID
	local Local
}

func (h host) Local(id torrentfmt.ID) (Local, bool) { return h.local, h.local != nil && id == h.id }

var testID = torrentfmt.HashID([]byte("a torrent"))

func await[T any](t *testing.T, c <-chan T, what string) T {
	t.Helper()
	select {
	case x := <-c:
		return x
	case <-time.After(patience):
		t.Fatalf("no %s within %s", what, patience)
		panic("unreachable")
	}
}

// pair is two greeted sides, running, of one session: a has dialled.
func pair(t *testing.T, a, b Local) (dialer, acceptor *Conn) {
	t.Helper()
	sa, sb := sessions(t)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	accepted := make(chan *Conn, 1)
	go func() {
		c, err := Accept(ctx, sb, self(2), host{testID, b})
		if err != nil {
			t.Error(err)
		}
		accepted <- c
	}()
	ca, err := Dial(ctx, sa, self(1), host{testID, a})
	if err != nil {
		t.Fatal(err)
	}
	cb := await(t, accepted, "accepted peer")
	run(t, ca)
	run(t, cb)
	return ca, cb
}

func sessions(t *testing.T) (dialer, acceptor transport.Session) {
	t.Helper()
	tr := transporttest.Memory()
	l, err := tr.Listen(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	sa, err := tr.Dial(t.Context(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	sb, err := l.Accept(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sa.Close(); sb.Close() })
	return sa, sb
}

func run(t *testing.T, c *Conn) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); c.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
}

func self(n byte) Self {
	return Self{
		ID:   ID{n},
		Addr: netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), 7000+uint16(n)),
	}
}

func TestEachSideLearnsWhoTheOtherIsAndWhereItListens(t *testing.T) {
	a, b := pair(t, nil, nil)
	if a.ID != self(2).ID || a.Addr.Port() != 7002 || b.ID != self(1).ID || b.Addr.Port() != 7001 {
		t.Errorf("dialler sees %x %s, acceptor sees %x %s", a.ID[:1], a.Addr, b.ID[:1], b.Addr)
	}
	if !a.Keeps() || !b.Keeps() {
		t.Error("the session dialled by the smaller ID is to stay, at both sides")
	}
}

func TestANodeDoesNotTalkToItselfOrToATracker(t *testing.T) {
	for name, hello := range map[string]*wire.Hello{
		"itself":  self(1).hello(),
		"tracker": {Version: wire.Version, Role: wire.Role_ROLE_TRACKER, NodeId: make([]byte, wire.NodeIDSize), ListenAddr: "127.0.0.1:1"},
		"version": {Version: 99, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, wire.NodeIDSize), ListenAddr: "127.0.0.1:1"},
		"address": {Version: wire.Version, Role: wire.Role_ROLE_CLIENT, NodeId: make([]byte, wire.NodeIDSize), ListenAddr: "nowhere"},
	} {
		t.Run(name, func(t *testing.T) {
			sa, sb := sessions(t)
			accepted := make(chan error, 1)
			go func() {
				_, err := Accept(t.Context(), sb, self(1), host{})
				accepted <- err
			}()
			st, err := sa.Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if err := say(st, hello); err != nil {
				t.Fatal(err)
			}
			var refused *wire.CodeError
			if err := await(t, accepted, "answer"); !errors.As(err, &refused) {
				t.Errorf("got %v, want a coded refusal", err)
			}
		})
	}
}

func TestTooManyStreamsAtOnceAreRefused(t *testing.T) {
	sb := newSwarm(t, 9, 1)
	a, _ := pair(t, newSwarm(t, 9), sb)
	for range MaxStreams {
		st, err := a.sess.Open(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if _, err := st.Write([]byte{100}); err != nil { // a message that does not come
			t.Fatal(err)
		}
	}
	last, err := a.sess.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer last.Close()
	if _, err := last.Write([]byte{100}); err != nil {
		t.Fatal(err)
	}
	var abort *transport.AbortError
	if _, err := last.Read(make([]byte, 1)); !errors.As(err, &abort) || abort.Code != transport.Code(wire.Error_ERROR_TOO_MANY) {
		t.Errorf("got %v, want ERROR_TOO_MANY", err)
	}
}
