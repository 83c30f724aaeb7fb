package tracker

import (
	"testing"
	"time"

	"github.com/mtor-dev/mtor/roles/wire"
)

func TestSilentHomesClientsAreHiddenAndShownWhenItReturns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		stays, moves := w.call(addrA, "10.1.0.1:1"), w.call(addrA, "10.1.0.2:2")
		stays.share(f)
		moves.share(f)
		w.settle()
		w.kill(addrA)
		b := w.call(addrB, moves.addr)
		b.stamp = moves.stamp
		for range 4 { // a lease and the grace, together 70 s
			b.ok(renew(f), nil)
			w.expect(addrB, f, "10.1.0.1:1+", "10.1.0.2:2+")
			w.pass(15 * time.Second)
		}
		b.ok(renew(f), nil)
		w.pass(15 * time.Second)
		w.expect(addrB, f, "10.1.0.2:2+")
		b.ok(renew(f), nil)
		w.start(addrA, addrB) // with a lease for those who were at home there
		w.settle()
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f, "10.1.0.1:1+", "10.1.0.2:2+")
		}
		for range 6 {
			w.pass(15 * time.Second)
			b.ok(renew(f), nil)
		}
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f, "10.1.0.2:2+") // the home has decided
		}
	})
}

func TestForgottenTrackersClientsExpireHere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		w.call(addrA, "10.1.0.1:1").share(f)
		w.settle()
		old := w.running[addrA].reg.NodeID().String()
		b := w.running[addrB]
		if err := b.Forget(t.Context(), old); err == nil {
			t.Error("one that is connected is forgotten")
		}
		w.kill(addrA)
		w.settle()
		if err := b.Forget(t.Context(), old[:leastPrefix]); err != nil {
			t.Fatal(err)
		}
		if err := b.Forget(t.Context(), old); err == nil {
			t.Error("forgotten twice")
		}
		w.pass(2 * time.Minute)
		w.expect(addrB, f)
	})
}

func TestStatusShowsTheOtherTrackerComeAndGo(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA, addrB)
		a := w.running[addrA]
		if s := a.Status(); len(s.Trackers) != 1 || s.Trackers[0].Connected || s.Trackers[0].Following || s.Trackers[0].LastContact != nil || s.Trackers[0].RowsBehind != nil {
			t.Errorf("alone: %+v", s)
		}
		w.start(addrB, addrA)
		w.settle()
		w.call(addrA, "10.1.0.1:1").share(fileOf("f", 1))
		w.settle()
		s := a.Status()
		x := s.Trackers[0]
		if s.Torrents != 1 || s.Seeders != 1 || s.Sessions != 2 || len(s.Trackers) != 1 {
			t.Errorf("together: %+v", s)
		}
		if !x.Connected || !x.Following || x.RowsBehind == nil || *x.RowsBehind != 0 || x.Lag == nil || time.Since(*x.LastContact) > 2*time.Second || x.Node != w.running[addrB].reg.NodeID().String() {
			t.Errorf("together: %+v", x)
		}
		w.kill(addrB)
		w.call(addrA, "10.1.0.2:2").share(fileOf("g", 1))
		w.pass(10 * time.Second)
		x = a.Status().Trackers[0]
		if x.Connected || x.Following || *x.RowsBehind == 0 || *x.Lag < 9 || time.Since(*x.LastContact) < 9*time.Second {
			t.Errorf("alone again: %+v, behind %v, lag %v", x, *x.RowsBehind, *x.Lag)
		}
	})
}

func TestAnswerWaitsForTheOtherTrackersDiskWhenAsked(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.change = func(o *Options) { o.AckPeer = true }
		w.pair()
		f := fileOf("f", 1)
		a := w.call(addrA, "10.1.0.1:1")
		a.ok(announceNew(f, true), f.hashes)
		for _, req := range []*wire.Request{announce(f, true), announce(f, false), remove(f), announce(f, true), renew(f)} {
			a.ok(req, nil)
			// No time has passed in which it could have got there since.
			at, there := w.running[addrA].reg.Vector(), w.running[addrB].reg.Vector()
			if !there.CoversAll(at) {
				t.Errorf("%v is answered before the other tracker has it", req.GetKind())
			}
		}
		w.kill(addrB)
		w.pass(5 * time.Second) // and known to be
		began := time.Now()
		a.ok(remove(f), nil)
		if d := time.Since(began); d > time.Second {
			t.Errorf("alone it answers after %v", d)
		}
	})
}

func TestSilentClientExpiresAndRenewingOneStays(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		silent, alive := w.call(addrA, "10.1.0.1:1"), w.call(addrA, "10.1.0.2:2")
		silent.share(f)
		alive.share(f)
		for range 6 {
			w.pass(15 * time.Second)
			alive.ok(renew(f), nil)
		}
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f, "10.1.0.2:2+")
		}
		if r := silent.do(renew(f), nil); r.GetError() != wire.Error_ERROR_NEED_LIST {
			t.Errorf("renewal of an expired row: %v", r.GetError())
		}
	})
}

func TestClientThatMovedStaysListedWhenItsOldHomeExpiresIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		a := w.call(addrA, "10.1.0.1:1")
		a.share(f)
		w.settle()
		w.kill(addrB)
		w.start(addrB) // B does not dial A: the cut is one-way, then both
		w.kill(addrA)
		b := w.call(addrB, "10.1.0.1:1")
		b.stamp = a.stamp
		b.ok(renew(f), nil)
		w.kill(addrB)
		w.start(addrA)
		w.pass(2 * time.Minute) // A finds the client silent
		w.expect(addrA, f)
		w.kill(addrA)
		w.start(addrB, addrA)
		w.start(addrA, addrB)
		w.settle()
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f, "10.1.0.1:1+")
		}
	})
}
