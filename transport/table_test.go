package transport

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// carrier is a fake row: Dial takes a while and then gives a session or an
// error, and Listen has a set of port numbers that are taken.
type carrier struct {
	scheme  string
	takes   time.Duration
	fails   error
	deaf    bool // establishes its session even when cancelled
	started time.Duration
	session *fakeSession

	picks []uint16 // what port 0 gives, in turn
	taken map[uint16]bool
	bound []*fakeListener
}

func (c *carrier) row(epoch time.Time) Transport {
	return Transport{
		Scheme: c.scheme,
		Dial: func(ctx context.Context, addr string) (Session, error) {
			c.started = time.Since(epoch)
			if c.deaf {
				ctx = context.WithoutCancel(ctx)
			}
			select {
			case <-ctx.Done():
				return nil, &DialError{c.scheme, addr, ctx.Err()}
			case <-time.After(c.takes):
			}
			if c.fails != nil {
				return nil, &DialError{c.scheme, addr, c.fails}
			}
			c.session = &fakeSession{scheme: c.scheme, addr: addr}
			return c.session, nil
		},
		Listen: c.listen,
	}
}

var errTaken = errors.New("address already in use")

func (c *carrier) listen(_ context.Context, addr string) (Listener, error) {
	a, err := net.ResolveTCPAddr("tcp", addr)
	if err != nil {
		return nil, err
	}
	if a.Port == 0 {
		if len(c.picks) == 0 {
			return nil, errors.New("no port left")
		}
		a.Port, c.picks = int(c.picks[0]), c.picks[1:]
	}
	if c.taken[uint16(a.Port)] {
		return nil, errTaken
	}
	l := &fakeListener{addr: a}
	c.bound = append(c.bound, l)
	return l, nil
}

func (c *carrier) stillBound() (open int) {
	for _, l := range c.bound {
		if !l.closed {
			open++
		}
	}
	return open
}

type fakeSession struct {
	Session
	scheme, addr string
	closed       bool
}

func (s *fakeSession) Scheme() string { return s.scheme }
func (s *fakeSession) Close() error   { s.closed = true; return nil }

type fakeListener struct {
	Listener
	addr   net.Addr
	closed bool
}

func (l *fakeListener) Addr() net.Addr { return l.addr }
func (l *fakeListener) Close() error   { l.closed = true; return nil }

const never = 1000 * time.Hour

// dial runs Table.Dial over carriers in a bubble and reports how long it took.
func dial(t *testing.T, addr string, carriers ...*carrier) (Session, time.Duration, error) {
	t.Helper()
	epoch := time.Now()
	table := make(Table, len(carriers))
	for i, c := range carriers {
		c.started = -1
		table[i] = c.row(epoch)
	}
	s, err := table.Dial(t.Context(), addr)
	return s, time.Since(epoch), err
}

func TestFirstTransportWinsWithoutStartingTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tcp := &carrier{scheme: "tcp", takes: FallbackDelay - time.Millisecond}
		quic := &carrier{scheme: "quic"}
		s, took, err := dial(t, "h:1", tcp, quic)
		if err != nil || s.Scheme() != "tcp" {
			t.Fatalf("got %v, %v; want a tcp session", s, err)
		}
		if took != tcp.takes || quic.started != -1 {
			t.Errorf("took %v, quic started at %v", took, quic.started)
		}
		if tcp.session.addr != "h:1" {
			t.Errorf("dialled %q", tcp.session.addr)
		}
	})
}

func TestSilentTransportGivesWayAfterTheFallbackDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tcp := &carrier{scheme: "tcp", takes: never}
		quic := &carrier{scheme: "quic", takes: 10 * time.Millisecond}
		s, took, err := dial(t, "h:1", tcp, quic)
		if err != nil || s.Scheme() != "quic" {
			t.Fatalf("got %v, %v; want a quic session", s, err)
		}
		if quic.started != FallbackDelay || took != FallbackDelay+quic.takes {
			t.Errorf("quic started at %v, established at %v", quic.started, took)
		}
	})
}

func TestRefusedTransportGivesWayAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tcp := &carrier{scheme: "tcp", takes: time.Millisecond, fails: errors.New("refused")}
		quic := &carrier{scheme: "quic"}
		s, _, err := dial(t, "h:1", tcp, quic)
		if err != nil || s.Scheme() != "quic" || quic.started != time.Millisecond {
			t.Fatalf("got %v, %v; quic started at %v", s, err, quic.started)
		}
	})
}

func TestEachTransportHasItsOwnHeadStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &carrier{scheme: "a", takes: 100 * time.Millisecond, fails: errors.New("refused")}
		b := &carrier{scheme: "b", takes: never}
		c := &carrier{scheme: "c"}
		if _, _, err := dial(t, "h:1", a, b, c); err != nil {
			t.Fatal(err)
		}
		if want := a.takes + FallbackDelay; b.started != a.takes || c.started != want {
			t.Errorf("b started at %v, c at %v; want %v and %v", b.started, c.started, a.takes, want)
		}
	})
}

func TestLoserThatGetsThroughIsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tcp := &carrier{scheme: "tcp", takes: time.Second, deaf: true}
		quic := &carrier{scheme: "quic"}
		s, took, err := dial(t, "h:1", tcp, quic)
		if err != nil || s.Scheme() != "quic" {
			t.Fatalf("got %v, %v; want a quic session", s, err)
		}
		if took != time.Second {
			t.Errorf("Dial returned after %v, before its loser was done", took)
		}
		if !tcp.session.closed || quic.session.closed {
			t.Error("the loser is open or the winner is closed")
		}
	})
}

func TestAllRefusedNamesEachOnOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		no, nono := errors.New("no"), errors.New("no, no")
		_, _, err := dial(t, "h:1",
			&carrier{scheme: "tcp", takes: time.Second, fails: no},
			&carrier{scheme: "quic", takes: time.Second, fails: nono})
		if !errors.Is(err, no) || !errors.Is(err, nono) {
			t.Fatalf("%v does not hold both causes", err)
		}
		if _, ok := errors.AsType[*DialError](err); !ok {
			t.Errorf("%v is no DialError", err)
		}
		if want := "dial tcp://h:1: no; dial quic://h:1: no, no"; err.Error() != want {
			t.Errorf("got %q, want %q", err, want)
		}
	})
}

func TestDialEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		tcp, quic := &carrier{scheme: "tcp", takes: never}, &carrier{scheme: "quic", started: -1}
		table := Table{tcp.row(time.Now()), quic.row(time.Now())}
		if _, err := table.Dial(ctx, "h:1"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		if quic.started != -1 {
			t.Error("another attempt was started after the context had ended")
		}
	})
}

func TestSchemeInsistsOnOneTransport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tcp, quic := &carrier{scheme: "tcp"}, &carrier{scheme: "quic", takes: time.Hour, fails: io.EOF}
		_, _, err := dial(t, "quic://[::1]:1", tcp, quic)
		if !errors.Is(err, io.EOF) || tcp.started != -1 {
			t.Errorf("got %v, tcp started at %v", err, tcp.started)
		}
		_, _, err = dial(t, "quic://h:1", tcp)
		if err == nil || !strings.Contains(err.Error(), `"quic" is not enabled`) {
			t.Errorf("got %v for a transport that the table lacks", err)
		}
	})
}

func TestMalformedAddressAndEmptyTableAreRefused(t *testing.T) {
	for _, addr := range []string{"", "h", "ftp://h:1", "h:99999"} {
		if _, err := (Table{{Scheme: "tcp"}}).Dial(t.Context(), addr); err == nil {
			t.Errorf("Dial(%q) went through", addr)
		}
		if _, err := (Table{{Scheme: "tcp"}}).Listen(t.Context(), addr); err == nil {
			t.Errorf("Listen(%q) went through", addr)
		}
	}
	if _, err := (Table{}).Dial(t.Context(), "h:1"); err == nil {
		t.Error("an empty table dialled")
	}
	if _, err := (Table{}).Listen(t.Context(), "h:1"); err == nil {
		t.Error("an empty table listened")
	}
}

func TestOnlyTakesTheOrderOfTheNames(t *testing.T) {
	table := Table{{Scheme: "tcp"}, {Scheme: "quic"}, {Scheme: "tls"}}
	only, err := table.Only("quic", "tcp")
	if err != nil || only.String() != "quic, tcp" {
		t.Errorf("got %v, %v", only, err)
	}
	for _, names := range [][]string{nil, {"udp"}, {"tcp", "tcp"}} {
		if only, err := table.Only(names...); err == nil {
			t.Errorf("Only(%q) gave %v", names, only)
		}
	}
}

func listen(t *testing.T, addr string, carriers ...*carrier) ([]Listener, error) {
	t.Helper()
	table := make(Table, len(carriers))
	for i, c := range carriers {
		table[i] = c.row(time.Now())
	}
	return table.Listen(t.Context(), addr)
}

func TestListenSharesOnePortNumber(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.1:7", "[::1]:0"} {
		tcp, quic := &carrier{scheme: "tcp", picks: []uint16{7}}, &carrier{scheme: "quic"}
		ls, err := listen(t, addr, tcp, quic)
		if err != nil || len(ls) != 2 {
			t.Fatalf("Listen(%q): %v, %v", addr, ls, err)
		}
		for _, l := range ls {
			if port, err := portOf(l.Addr()); err != nil || port != 7 {
				t.Errorf("Listen(%q) bound %v", addr, l.Addr())
			}
		}
	}
}

func TestListenLooksForANumberThatIsFreeEverywhere(t *testing.T) {
	tcp := &carrier{scheme: "tcp", picks: []uint16{7, 8, 9}}
	quic := &carrier{scheme: "quic", taken: map[uint16]bool{7: true, 8: true}}
	ls, err := listen(t, "127.0.0.1:0", tcp, quic)
	if err != nil || ls[1].Addr().String() != "127.0.0.1:9" {
		t.Fatalf("got %v, %v; want port 9", ls, err)
	}
	if tcp.stillBound() != 1 || quic.stillBound() != 1 {
		t.Errorf("%d and %d listeners are left open", tcp.stillBound(), quic.stillBound())
	}
}

func TestListenGivesUpLookingAndFreesAll(t *testing.T) {
	tcp := &carrier{scheme: "tcp"}
	quic := &carrier{scheme: "quic", taken: map[uint16]bool{}}
	for p := range uint16(4 * portAttempts) {
		tcp.picks, quic.taken[p+1] = append(tcp.picks, p+1), true
	}
	_, err := listen(t, "127.0.0.1:0", tcp, quic)
	want := fmt.Sprintf("cannot bind quic://127.0.0.1:%d: ", portAttempts)
	if !errors.Is(err, errTaken) || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v, want %s...", err, want)
	}
	if len(tcp.bound) != portAttempts || tcp.stillBound() != 0 {
		t.Errorf("%d attempts, %d left open", len(tcp.bound), tcp.stillBound())
	}
}

func TestListenOnATakenNumberNamesItAndFreesTheOthers(t *testing.T) {
	tcp := &carrier{scheme: "tcp"}
	quic := &carrier{scheme: "quic", taken: map[uint16]bool{7: true}}
	_, err := listen(t, "127.0.0.1:7", tcp, quic)
	if !errors.Is(err, errTaken) || !strings.Contains(err.Error(), "quic://127.0.0.1:7") {
		t.Errorf("got %v", err)
	}
	if len(tcp.bound) != 1 || tcp.stillBound() != 0 {
		t.Errorf("%d attempts, %d left open", len(tcp.bound), tcp.stillBound())
	}
}

func TestListenWithASchemeBindsThatOneAlone(t *testing.T) {
	tcp, quic := &carrier{scheme: "tcp"}, &carrier{scheme: "quic"}
	ls, err := listen(t, "quic://127.0.0.1:7", tcp, quic)
	if err != nil || len(ls) != 1 || len(tcp.bound) != 0 || !slices.Contains(quic.bound, ls[0].(*fakeListener)) {
		t.Errorf("got %v, %v", ls, err)
	}
}
