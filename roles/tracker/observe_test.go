package tracker

import (
	"bytes"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/tracker/registry"
)

// heardOf is what an observer heard, by the other tracker.
type heardOf struct {
	mu                    sync.Mutex
	lags, caught, repairs map[string][]int
}

func (h *heardOf) observer() Observer {
	h.lags, h.caught, h.repairs = map[string][]int{}, map[string][]int{}, map[string][]int{}
	note := func(m map[string][]int, peer string, n int) {
		h.mu.Lock()
		defer h.mu.Unlock()
		m[peer] = append(m[peer], n)
	}
	return Observer{
		SyncLag:  func(peer string, lag time.Duration) { note(h.lags, peer, int(lag)) },
		CaughtUp: func(peer string, n int, _ time.Duration) { note(h.caught, peer, n) },
		Repaired: func(peer string, n int) { note(h.repairs, peer, n) },
	}
}

// of is what was heard of a tracker so far.
func (h *heardOf) of(m map[string][]int, peer string) []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.Clone(m[peer])
}

func TestObserverHearsOfTheLagOfEachCommitAndOfCatchingUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var a, b heardOf
		w.change = func(o *Options) { o.Observe = a.observer() }
		w.start(addrA, addrB)
		c := w.call(addrA, "10.1.0.1:1")
		c.share(fileOf("before", 1))
		w.change = func(o *Options) { o.Observe = b.observer() }
		w.start(addrB, addrA)
		w.settle()
		first := len(a.of(a.lags, addrB))
		for _, f := range []string{"one", "two", "three"} {
			c.share(fileOf(f, 1))
			w.pass(time.Second)
		}
		if n := len(a.of(a.lags, addrB)) - first; n != 3 {
			t.Errorf("3 commits, %d lags", n)
		}
		// Torrent, home, row.
		if got := b.of(b.caught, addrA); !slices.Equal(got, []int{3}) {
			t.Errorf("caught up with %v", got)
		}
		if x, y := a.of(a.repairs, addrB), b.of(b.repairs, addrA); len(x)+len(y) != 0 {
			t.Errorf("repairs: %v, %v", x, y)
		}
	})
}

func TestRepairIsLoggedCountedAndObserved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		f := fileOf("f", 1)
		w.start(addrA, addrB)
		w.call(addrA, "10.1.0.1:1").share(f)
		w.start(addrB)
		// B claims what it does not have, as after damage that nothing shows.
		claimed := make(chan error, 1)
		w.running[addrB].reg.Merge(nil, registry.Vector{}.SpansTo(w.running[addrA].reg.Vector()), func(err error) { claimed <- err })
		if err := <-claimed; err != nil {
			t.Fatal(err)
		}
		w.kill(addrB)
		var log bytes.Buffer
		var heard heardOf
		w.change = func(o *Options) {
			o.Log, o.Observe = slog.New(slog.NewTextHandler(&log, nil)), heard.observer()
		}
		w.start(addrB, addrA)
		w.settle()
		w.expect(addrB, f)
		w.pass(time.Minute / 4) // within it the lists are compared
		w.expect(addrB, f, "10.1.0.1:1+")
		if n := w.running[addrB].Status().Repaired; n != 1 {
			t.Errorf("%d rows repaired", n)
		}
		if got := heard.of(heard.repairs, addrA); !slices.Equal(got, []int{1}) {
			t.Errorf("heard of %v", got)
		}
		w.kill(addrB) // and its log is complete
		if !strings.Contains(log.String(), "repaired\" peer="+addrA+" rows=1 since_start=1") {
			t.Errorf("the log does not tell of it:\n%s", &log)
		}
	})
}
