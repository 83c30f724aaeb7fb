package quic

import (
	"context"
	"net"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/transport"
	"github.com/mtor-dev/mtor/transport/transporttest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestQUICKeepsTheContract(t *testing.T) {
	tr, err := New(Options{})
	if err != nil {
		t.Fatal(err)
	}
	transporttest.Run(t, tr)
}

func TestQUICKeepsTheContractInAPrivateSwarm(t *testing.T) {
	tr, err := New(Options{Credentials: transporttest.NewSwarm(t).Member(t)})
	if err != nil {
		t.Fatal(err)
	}
	transporttest.Run(t, tr)
}

// patience is how long a step that must come to an end may take.
const patience = 60 * time.Second

func background(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

func newTestCarrier(t testing.TB, o Options) *carrier {
	t.Helper()
	c, err := newCarrier(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func mustListen(t testing.TB, c *carrier, hostPort string) *listener {
	t.Helper()
	l, err := c.listen(background(t), hostPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l.(*listener)
}

func mustDial(t testing.TB, c *carrier, hostPort string) transport.Session {
	t.Helper()
	s, err := c.dial(background(t), hostPort)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustAccept(t testing.TB, l *listener) transport.Session {
	t.Helper()
	s, err := l.Accept(background(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// connect returns both ends of a session from c to l.
func connect(t testing.TB, c *carrier, l *listener) (dialled, accepted transport.Session) {
	t.Helper()
	dialled = mustDial(t, c, l.Addr().String())
	return dialled, mustAccept(t, l)
}

// exchange proves that streams pass from a to b and back.
func exchange(t testing.TB, a, b transport.Session) {
	t.Helper()
	near, far := streamBetween(t, a, b)
	if _, err := far.Write([]byte("pong")); err != nil {
		t.Fatal(err)
	}
	if _, err := near.ReadFull(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	_, _ = near.Close(), far.Close()
}

func streamBetween(t testing.TB, a, b transport.Session) (near, far transport.Stream) {
	t.Helper()
	near, err := a.Open(background(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := near.Write([]byte("ping")); err != nil {
		t.Fatal(err)
	}
	if far, err = b.Accept(background(t)); err != nil {
		t.Fatal(err)
	}
	if _, err := far.ReadFull(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}
	return near, far
}

func wait[T any](t testing.TB, what string, c <-chan T) T {
	t.Helper()
	select {
	case v := <-c:
		return v
	case <-background(t).Done():
		t.Fatalf("%s: nothing happened within %v", what, patience)
		panic("unreachable")
	}
}

func ipOf(addr net.Addr) string { return addr.(*net.UDPAddr).AddrPort().Addr().String() }
