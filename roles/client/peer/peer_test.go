package peer

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
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

func TestALinkTellsBothSidesWhatTheOtherHasAndGets(t *testing.T) {
	sa, sb := newSwarm(t, 9, 0), newSwarm(t, 9, 1, 8)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	atA, atB := await(t, sa.joined, "join at the dialler"), await(t, sb.joined, "join at the acceptor")
	if got := atA.theirs.String(); got != "{1,8}" {
		t.Errorf("the dialler hears %s, want {1,8}", got)
	}
	if got := atB.theirs.String(); got != "{0}" {
		t.Errorf("the acceptor hears %s, want {0}", got)
	}
	atA.link.Have(3, 4)
	var heard []uint32
	for len(heard) < 2 {
		heard = append(heard, await(t, sb.gained, "have")...)
	}
	if !slices.Equal(heard, []uint32{3, 4}) {
		t.Errorf("the acceptor hears of %v, want 3 and 4", heard)
	}
	atB.link.Withdraw(8)
	if got := await(t, sa.lost, "withdrawal"); !slices.Equal(got, []uint32{8}) {
		t.Errorf("the dialler hears that %v are gone, want 8", got)
	}
	atB.link.Bye()
	if await(t, sa.gone, "end of the link at the dialler") != atA.link || await(t, sb.gone, "end at the acceptor") != atB.link {
		t.Error("another link has ended")
	}
}

func TestAPieceIsFetchedInEitherDirection(t *testing.T) {
	sa, sb := newSwarm(t, 9, 0), newSwarm(t, 9, 1, 8)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		link  *Link
		from  *swarm
		piece int
	}{
		{await(t, sa.joined, "join").link, sb, 8},
		{await(t, sb.joined, "join").link, sa, 0},
	} {
		buf := make([]byte, 1000)
		if err := c.link.Fetch(t.Context(), c.piece, buf); err != nil {
			t.Fatal(err)
		}
		if want := bytes.Repeat([]byte{byte(c.piece)}, 1000); !bytes.Equal(buf, want) {
			t.Errorf("piece %d is not what the peer has", c.piece)
		}
		if n := await(t, c.from.served, "count of what was sent"); n != 1000 {
			t.Errorf("%d bytes counted as sent, want 1000", n)
		}
	}
}

func TestAPieceThatIsNotThereIsRefusedWithACode(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 1)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	link := await(t, sa.joined, "join").link
	if err := link.Fetch(t.Context(), 2, make([]byte, 1000)); !errors.Is(err, ErrNotHere) {
		t.Errorf("a piece that the peer lacks: %v, want ErrNotHere", err)
	}
	var refused *wire.CodeError
	if err := link.Fetch(t.Context(), 9, make([]byte, 1000)); !errors.As(err, &refused) || refused.Code != wire.Error_ERROR_BAD_REQUEST {
		t.Errorf("a piece out of range: %v, want ERROR_BAD_REQUEST", err)
	}
}

func TestAShortPieceIsNeverTakenForAWholeOne(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 1)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	link := await(t, sa.joined, "join").link
	if err := link.Fetch(t.Context(), 1, make([]byte, 1001)); !errors.Is(err, ErrCut) {
		t.Errorf("got %v, want ErrCut", err)
	}
}

func TestACancelledFetchEndsAtOnce(t *testing.T) {
	sa, sb := sessions(t)
	ctx, cancel := context.WithCancel(t.Context())
	greeted := make(chan error, 1)
	go func() {
		// A peer that says hello and then never answers.
		st, err := sb.Accept(ctx)
		if err == nil {
			_, err = wire.ReadHello(st)
		}
		if err == nil {
			err = say(st, self(2).hello())
		}
		greeted <- err
	}()
	c, err := Dial(ctx, sa, self(1), host{})
	if err := errors.Join(err, await(t, greeted, "hello")); err != nil {
		t.Fatal(err)
	}
	link := c.newLink(testID, newSwarm(t, 9), true)
	fetched := make(chan error, 1)
	go func() { fetched <- link.Fetch(ctx, 1, make([]byte, 1000)) }()
	if _, err := sb.Accept(t.Context()); err != nil { // the request is there
		t.Fatal(err)
	}
	cancel()
	if err := await(t, fetched, "end of the fetch"); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestAnUnknownTorrentIsRefused(t *testing.T) {
	sa := newSwarm(t, 9)
	a, b := pair(t, sa, nil)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	waitNoLinks(t, a)
	if n := len(b.Torrents()); n != 0 {
		t.Errorf("%d links at the acceptor", n)
	}
}

func waitNoLinks(t *testing.T, c *Conn) {
	t.Helper()
	deadline := time.After(patience)
	for len(c.Torrents()) > 0 {
		select {
		case <-deadline:
			t.Fatal("the link stays")
		case <-time.After(time.Millisecond):
		}
	}
}

func TestOfTwoLinksForATorrentOneStays(t *testing.T) {
	for range 20 {
		sa, sb := newSwarm(t, 9, 0), newSwarm(t, 9, 1)
		a, b := pair(t, sa, sb)
		both := make(chan error, 2)
		go func() { both <- a.Join(testID, sa) }()
		go func() { both <- b.Join(testID, sb) }()
		if err := errors.Join(await(t, both, "join"), await(t, both, "join")); err != nil {
			t.Fatal(err)
		}
		// The link that stays carries news; a loser may come and go first.
		live := await(t, sa.joined, "join at the dialler").link
		for heard := false; !heard; {
			live.Have(5)
			select {
			case <-sb.gained:
				heard = true
			case j := <-sa.joined:
				live = j.link
			case <-time.After(patience):
				t.Fatal("no link carries news")
			}
		}
		if na, nb := len(a.Torrents()), len(b.Torrents()); na != 1 || nb != 1 {
			t.Errorf("%d and %d links, want one at each side", na, nb)
		}
	}
}

func TestAPieceOutOfRangeEndsTheLink(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 1)
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	await(t, sa.joined, "join").link.Have(9)
	await(t, sb.gone, "end of the link")
}

func TestWhenTheSessionEndsEveryLinkIsGone(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 1)
	a, b := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	await(t, sa.joined, "join")
	await(t, sb.joined, "join")
	b.Close(wire.Error_ERROR_GOING_AWAY)
	await(t, sa.gone, "end of the link at the dialler")
	await(t, sb.gone, "end of the link at the acceptor")
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

func TestAFileCutUnderTheSeederIsRefusedNotCutShort(t *testing.T) {
	sa, sb := newSwarm(t, 9), newSwarm(t, 9, 7)
	if err := os.Truncate(sb.file.Name(), 7500); err != nil {
		t.Fatal(err)
	}
	a, _ := pair(t, sa, sb)
	if err := a.Join(testID, sa); err != nil {
		t.Fatal(err)
	}
	err := await(t, sa.joined, "join").link.Fetch(t.Context(), 7, make([]byte, 1000))
	if !errors.Is(err, ErrNotHere) {
		t.Errorf("got %v, want ErrNotHere", err)
	}
}

// died is a stream whose connection ends without a word, inside a piece.
type died struct{ transport.Stream }

func (died) ReadFull([]byte) (int, error) {
	return 10, &transport.SessionError{Err: io.ErrUnexpectedEOF}
}
func (died) SetDeadline(time.Time) error { return nil }

func TestAPeerThatDiesInsideAPieceIsNoLiar(t *testing.T) {
	if _, err := fill(died{}, make([]byte, 100)); err == nil || errors.Is(err, ErrCut) {
		t.Errorf("got %v, want the session's error", err)
	}
}

// dripper sends a byte now and then.
type dripper struct{ transport.Stream }

func (dripper) ReadFull([]byte) (int, error) { return 1, os.ErrDeadlineExceeded }
func (dripper) SetDeadline(time.Time) error  { return nil }

func TestAPeerThatDripsIsStalled(t *testing.T) {
	if _, err := fill(dripper{}, make([]byte, 1<<20)); !errors.Is(err, ErrStalled) {
		t.Errorf("got %v, want ErrStalled", err)
	}
}

// sender records what it is asked to send from.
type sender struct {
	transport.Stream
	from io.Reader
}

func (s *sender) ReadFrom(r io.Reader) (int64, error) {
	s.from = r
	return io.Copy(io.Discard, r)
}
func (*sender) SetDeadline(time.Time) error { return nil }
func (*sender) CloseWrite() error           { return nil }

func TestAPieceIsHandedToTheTransportAsASectionOfItsFile(t *testing.T) {
	local := newSwarm(t, 9, 4)
	sess, _ := sessions(t)
	c := &Conn{sess: sess, host: host{testID, local}}
	st := &sender{}
	if err := c.serve(t.Context(), st, &wire.Piece{TorrentId: testID[:], Index: 4}); err != nil {
		t.Fatal(err)
	}
	section, ok := st.from.(*io.SectionReader)
	if !ok {
		t.Fatalf("sent from a %T: sendfile(2) is lost", st.from)
	}
	if file, _, _ := section.Outer(); file != io.ReaderAt(local.file) {
		t.Errorf("a section of %T: sendfile(2) is lost", file)
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
