package tracker

import (
	"testing"
)

func TestAnnouncedThroughOneIsListedByTheOther(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("image", 3)
		w.call(addrA, "10.1.0.1:1").share(f)
		w.call(addrB, "10.1.0.2:2").ok(announceNew(f, false), f.hashes)
		w.settle()
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f, "10.1.0.1:1+", "10.1.0.2:2")
		}
		// B learned the hash string from A: nobody needs to send it again.
		w.call(addrB, "10.1.0.3:3").ok(announce(f, true), nil)
	})
}

func TestTrackerThatWasDownCatchesUp(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		old, now := fileOf("old", 1), fileOf("new", 2)
		w.call(addrB, "10.1.0.1:1").share(old)
		w.settle()
		w.kill(addrB)
		c := w.call(addrA, "10.1.0.2:2")
		c.share(now)
		c.share(old)
		w.start(addrB, addrA)
		w.settle()
		w.expect(addrB, old, "10.1.0.1:1+", "10.1.0.2:2+")
		w.expect(addrB, now, "10.1.0.2:2+")
	})
}

func TestRemovedThroughTheOtherStaysRemoved(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("f", 1)
		a := w.call(addrA, "10.1.0.1:1")
		a.share(f)
		w.settle()
		w.kill(addrA)
		b := w.call(addrB, "10.1.0.1:1")
		b.stamp = a.stamp
		b.ok(renew(f), nil)
		b.ok(remove(f), nil)
		w.kill(addrB)
		w.start(addrA, addrB) // still lists the client
		w.expect(addrA, f, "10.1.0.1:1+")
		w.start(addrB, addrA)
		w.settle()
		w.expect(addrA, f)
		w.expect(addrB, f)
	})
}

func TestRemovalReachesATrackerBeforeTheRowItRemoves(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.start(addrA, addrB)
		f := fileOf("f", 1)
		a := w.call(addrA, "10.1.0.1:1")
		a.share(f)
		w.kill(addrA)
		w.start(addrB, addrA)
		b := w.call(addrB, "10.1.0.1:1")
		b.stamp = a.stamp
		b.ok(remove(f), nil) // B has never heard of f
		w.start(addrA, addrB)
		w.settle()
		w.expect(addrA, f)
		w.expect(addrB, f)
	})
}

func TestLeaveEndsEveryRowAtBothTrackers(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f, g := fileOf("f", 1), fileOf("g", 1)
		c := w.call(addrA, "10.1.0.1:1")
		c.share(f)
		c.share(g)
		c.ok(leave(), nil)
		c.share(g) // came back
		w.settle()
		for _, tracker := range []string{addrA, addrB} {
			w.expect(tracker, f)
			w.expect(tracker, g, "10.1.0.1:1+")
		}
	})
}

func TestEmptyFileIsListed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("empty", 0)
		w.call(addrA, "10.1.0.1:1").share(f)
		w.settle()
		w.expect(addrB, f, "10.1.0.1:1+")
	})
}

func TestLargeHashStringReachesTheOtherTracker(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.pair()
		f := fileOf("large", 200_000) // 4 MB of hash string
		small := fileOf("small", 1)
		c := w.call(addrA, "10.1.0.1:1")
		c.share(f)
		c.share(small)
		w.settle()
		w.kill(addrA)
		w.expect(addrB, f, "10.1.0.1:1+")
		w.expect(addrB, small, "10.1.0.1:1+")
		w.call(addrB, "10.1.0.2:1").ok(announce(f, true), nil)
	})
}
