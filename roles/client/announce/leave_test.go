//nolint:forbidigo // time.Sleep: all of it is virtual time
package announce

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
	"github.com/mtor-dev/mtor/transport"
)

func TestWhoHasLeftIsNotAnnouncedAgain(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		a, b := startTracker(t, tr, addrA, nil), startTracker(t, tr, addrB, nil)
		g.run()
		g.Put(id, content, true, false)
		expect(t, a, "leave", "announce whole")
		if err := g.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		a.kill()
		time.Sleep(time.Hour)
		expect(t, a, "leave", "announce whole", "leave")
		expect(t, b)
	})
}

func TestNothingFollowsALeave(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		x := startTracker(t, tr, addrA, nil)
		g.run()
		g.Put(id, content, false, false)
		expect(t, x, "leave", "announce partial")
		g.mu.Lock()
		conn := g.conn
		g.mu.Unlock()
		// A task that was due before the leave and comes to its request after it.
		if err := g.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := g.announce(t.Context(), conn, id); err != nil {
			t.Errorf("the late announcement: %v, want that it is dropped", err)
		}
		expect(t, x, "leave", "announce partial", "leave")
	})
}

func TestLeavingGoesToTheOtherTrackerWhenTheFirstIsGone(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		a := startTracker(t, tr, addrA, nil)
		g.run()
		g.Put(id, content, true, false)
		expect(t, a, "leave", "announce whole")
		a.kill()
		synctest.Wait()
		b := startTracker(t, tr, addrB, nil)
		if err := g.Leave(t.Context()); err != nil {
			t.Fatal(err)
		}
		if got := b.heard(); !slices.Contains(got, "leave") {
			t.Errorf("the other tracker heard %q, want a leave", got)
		}
	})
}

func TestWhoWasNeverListedLeavesAtOnce(t *testing.T) {
	leaves := func(t *testing.T, g *rig) {
		t.Helper()
		g.run()
		g.Put(id, content, false, true)
		time.Sleep(requestTimeout / 2)
		began := time.Now()
		if err := g.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		if d := time.Since(began); d > 0 {
			t.Errorf("it took %s", d)
		}
	}
	t.Run("NoTrackerAnswers", func(t *testing.T) {
		bubble(t, func(t *testing.T, _ transport.Transport, g *rig, _ chan []wire.Seeder) {
			g.o.Dialer = silent{silent{g.o.Dialer, addrA}, addrB}
			leaves(t, g)
		})
	})
	t.Run("OneGreetsAndSaysNoMore", func(t *testing.T) {
		bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
			over := make(chan struct{})
			a := startTracker(t, tr, addrA, func(*wire.Request, int) *wire.Reply { <-over; return nil })
			leaves(t, g)
			expect(t, a, "leave") // of what an earlier process may have left
			close(over)
		})
	})
}

// A tracker has listed the client and died before it could say so. Its twin may
// have heard of it.
func TestWhoMayHaveBeenListedTellsThatItLeaves(t *testing.T) {
	bubble(t, func(t *testing.T, tr transport.Transport, g *rig, _ chan []wire.Seeder) {
		dead := make(chan struct{})
		a := startTracker(t, tr, addrA, func(req *wire.Request, _ int) *wire.Reply {
			if req.GetAnnounce() != nil {
				<-dead
			}
			return nil
		})
		g.run()
		g.Put(id, content, true, false)
		expect(t, a, "leave", "announce whole")
		a.kill()
		synctest.Wait()
		close(dead)
		b := startTracker(t, tr, addrB, nil)
		if err := g.Leave(t.Context()); err != nil {
			t.Error(err)
		}
		expect(t, b, "leave")
	})
}
