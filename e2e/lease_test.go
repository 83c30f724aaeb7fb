package e2e

import (
	"context"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/mtor-dev/mtor/torrentfmt"
)

// shortLease lets rows of silent clients go soon. A client renews four times
// as often, so one of a machine that crawls may miss it: what must stay listed
// is watched with longLease.
const (
	shortLease = "2s"
	longLease  = "6s"
	// wideLease leaves time to look at what its end will change.
	wideLease = "12s"
)

// watch asks a tracker for a torrent's list again and again, until the
// function that it returns is called, and fails if a line is ever missing.
func (s *swarm) watch(tr *tracker, id torrentfmt.ID, line string) (stop func()) {
	ctx, cancel := context.WithCancel(s.ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for asked := 0; ; asked++ {
			got, err := seeders(ctx, tr.addr, id)
			if ctx.Err() != nil {
				if asked == 0 {
					s.Errorf("%s was never asked", tr.name)
				}
				return
			}
			if err != nil || !slices.Contains(got, line) {
				s.Errorf("%s lists %q (%v): %s must stay", tr.name, got, err, line)
				return
			}
			select {
			case <-tick.C:
			case <-ctx.Done():
			}
		}
	}()
	return func() { cancel(); <-done }
}

func TestKilledClientLeavesBothListsAfterTheLease(t *testing.T) {
	t.Parallel()
	s := newPair(t, "--lease", shortLease)
	s.startAll()
	s.write("data", 1000, 1)
	s.write("other", 1000, 2)
	killed, stays := s.client(10, "killed"), s.client(11, "stays")
	killed.do("share data x.mtorrent")
	stays.do("share other y.mtorrent")
	x, y := s.id("x.mtorrent"), s.id("y.mtorrent")
	s.allList(x, whole(killed)...)
	killed.Kill()
	s.allList(x)
	s.allList(y, whole(stays)...)
	killed.start() // and is back at once when it is
	s.allList(x, whole(killed)...)
}

func TestClientOfAKilledTrackerStaysListedAtTheOther(t *testing.T) {
	t.Parallel()
	s := newPair(t, "--lease", longLease)
	s.startAll()
	s.write("data", 1000, 1)
	c := s.client(10, "moves")
	c.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	s.allList(id, whole(c)...)
	stop := s.watch(s.trackers[1], id, whole(c)[0])
	s.trackers[0].Kill()
	s.pass(8 * time.Second) // more than a lease
	s.trackers[0].start()
	s.allList(id, whole(c)...)
	stop()
}

// pass lets a time go by that nothing announces.
func (s *swarm) pass(d time.Duration) {
	s.Helper()
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
		s.Fatal(context.Cause(s.ctx))
	}
}

func TestClientThatMovedInACutStaysListedThoughItsOldTrackerExpiresIt(t *testing.T) {
	t.Parallel()
	s := newPair(t, "--lease", longLease)
	a, b := s.trackers[0], s.trackers[1]
	toB, toA := s.relay(s.ip(2), b.addr, s.ip(1)), s.relay(s.ip(1), a.addr, s.ip(2))
	a.args[2], b.args[2] = "tcp://"+toB.addr, "tcp://"+toA.addr
	s.startAll()
	s.write("data", 1000, 1)
	way := s.relay(s.ip(10), a.addr, s.ip(10)) // the client's, to its first tracker
	c := &client{s: s, name: "moves", args: s.clientArgs(10, "moves")}
	c.args[2] = "tcp://" + way.addr
	c.start()
	c.do("share data x.mtorrent")
	id := s.id("x.mtorrent")
	s.allList(id, whole(c)...)

	stop := s.watch(b, id, whole(c)[0])
	toB.set(severed)
	toA.set(severed)
	way.set(refused)
	s.lists([]*tracker{a}, id, nil) // a has found it silent
	toB.set(passing)
	toA.set(passing)
	s.allList(id, whole(c)...)
	stop()
}

func TestClientAnnouncesItselfAgainToATrackerThatKnowsNothingOfItAnyMore(t *testing.T) {
	t.Parallel()
	s := newSwarm(t, true, false)
	tr := s.trackers[0]
	tr.Kill()
	tr.args = append(tr.args, "--lease", longLease)
	tr.start()
	s.write("data", 1000, 1)
	s.write("other", 1000, 2)
	c := s.client(10, "stays")
	c.do("share data x.mtorrent")
	c.do("share other y.mtorrent")
	tr.Kill()
	if err := os.Remove(s.path(tr.name + ".db")); err != nil {
		t.Fatal(err)
	}
	tr.start() // on an empty disk, and with nobody to ask
	for _, m := range []string{"x.mtorrent", "y.mtorrent"} {
		s.lists([]*tracker{tr}, s.id(m), whole(c))
	}
}

func TestClientsOfAHomeThatIsAwayAreHiddenAndItsReturnDecides(t *testing.T) {
	t.Parallel()
	s := newPair(t, "--lease", wideLease)
	s.startAll()
	s.write("data", 1000, 1)
	silent, moves := s.client(10, "silent"), s.client(11, "moves")
	silent.do("share data x.mtorrent")
	moves.do("get x.mtorrent copy")
	moves.do("wait")
	id := s.id("x.mtorrent")
	s.allList(id, whole(silent, moves)...)
	home, other := s.trackers[0], s.trackers[1]
	silent.Kill() // first: it is at home at the other within milliseconds
	home.Kill()
	stop := s.watch(other, id, whole(moves)[0])
	s.lists([]*tracker{other}, id, whole(moves)) // a lease and 10 seconds later
	home.start()
	s.lists([]*tracker{other}, id, whole(silent, moves)) // nothing was written: it may be alive
	s.allList(id, whole(moves)...)                       // its home has decided
	stop()
}
