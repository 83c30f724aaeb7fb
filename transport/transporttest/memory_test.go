package transporttest

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/mtor-dev/mtor/transport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestMemoryKeepsTheContract(t *testing.T) { Run(t, Memory()) }

func TestMemoryStreamsThatWereNeverWrittenAreFreed(t *testing.T) {
	p := connect(t, Memory())
	for range transport.MaxStreams + 200 {
		open(t, p.dialled).Abort(1)
		mustClose(t, open(t, p.accepted)) // half-closed, so the dialler sees it
		accept(t, p.dialled).Abort(1)
	}
}

func TestMemoryWorksInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := connect(t, Memory())
		near, far := stream(t, p.dialled, p.accepted)
		start := time.Now()
		setDeadline(t, near, start.Add(time.Hour))
		_, err := near.Read(make([]byte, 1))
		wantDeadline(t, "Read", err)
		if d := time.Since(start); d != time.Hour {
			t.Fatalf("the deadline took %v of the bubble's time, want 1h", d)
		}
		mustClose(t, near)
		mustClose(t, far)
	})
}

func TestMemoryNodesSeeEachOthersAddress(t *testing.T) {
	n := NewNetwork()
	here, there := netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")
	l, err := n.Transport(there).Listen(t.Context(), "10.0.0.2:7000")
	if err != nil {
		t.Fatal(err)
	}
	p := connectTo(t, n.Transport(here), l)
	if got := netip.MustParseAddrPort(p.accepted.RemoteAddr().String()).Addr(); got != here {
		t.Fatalf("the acceptor sees %v, want %v", got, here)
	}
	if _, err := n.Transport(here).Listen(t.Context(), "10.0.0.2:7000"); err == nil {
		t.Fatal("the same address was bound twice")
	}
}
