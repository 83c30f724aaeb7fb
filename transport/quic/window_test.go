package quic

import (
	"errors"
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/transport"
)

// inUse is the memory that this process needs, in bytes.
func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestWhatNobodyReadsIsBoundedByTheWindowsOfItsSessions(t *testing.T) {
	const sessions, streams = 8, 32
	c := newTestCarrier(t, Options{})
	l := mustListen(t, c, "127.0.0.1:0")
	before := inUse()
	var written atomic.Int64
	var writers sync.WaitGroup
	for range sessions {
		dialled, accepted := connect(t, c, l)
		t.Cleanup(func() { _ = dialled.Close(); _ = accepted.Close() })
		for range streams {
			st, err := dialled.Open(background(t))
			if err != nil {
				t.Fatal(err)
			}
			writers.Go(func() {
				if err := st.SetDeadline(time.Now().Add(2 * time.Second)); err != nil {
					t.Error(err)
				}
				n := 0
				for err = error(nil); err == nil; {
					var k int
					k, err = st.Write(make([]byte, 16<<10))
					n += k
				}
				if !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Error(err)
				}
				written.Add(int64(n))
			})
		}
	}
	writers.Wait()
	// What a writer has handed over and is not sent yet counts as written.
	const underWay = streams * 4 << 10
	if n := written.Load(); n > sessions*(connectionWindow+underWay) {
		t.Errorf("%d sessions took %d KiB that nobody reads, want at most %d", sessions, n>>10, sessions*(connectionWindow+underWay)>>10)
	}
	// To hold a byte costs more than a byte, here and at the sender.
	if grown := inUse() - before; grown > 4*sessions*connectionWindow {
		t.Errorf("%d KiB more memory in use, want at most %d", grown>>10, 4*sessions*connectionWindow>>10)
	}
}

func TestWindowsGrowWithinOneBudgetAndGiveItBack(t *testing.T) {
	c := newTestCarrier(t, Options{})
	l := mustListen(t, c, "127.0.0.1:0")
	const step = 1 << 20
	var granted int
	var all []transport.Session
	for range 8 {
		dialled, accepted := connect(t, c, l)
		all = append(all, dialled, accepted)
		for range (connectionWindowMax - connectionWindow) / step {
			if c.config.AllowConnectionWindowIncrease(accepted.(*session).conn, step) {
				granted += step
			}
		}
	}
	if granted != transport.UnreadBudget {
		t.Errorf("8 sessions were granted %d MiB, want %d", granted>>20, transport.UnreadBudget>>20)
	}
	for _, s := range all {
		_ = s.Close()
	}
	deadline := time.After(patience)
	for c.grown.Used() != 0 {
		select {
		case <-deadline:
			t.Fatalf("%d bytes are not given back", c.grown.Used())
		case <-time.After(time.Millisecond):
		}
	}
}
